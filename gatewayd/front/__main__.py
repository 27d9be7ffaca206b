"""The front process: owns the port, answers what it can, passes the rest to the workers."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack

import uvloop

from bus.broker import Broker
from conf import logs
from conf.environment import listen_descriptors, log_level, port_override, secrets_override
from conf.paths import Paths, resolve
from conf.processes import worker_names
from conf.profile import default_port, glance
from conf.schema import Settings
from conf.settings import ConfigError, load_or_last_good
from gatewayd.exit_codes import RefusalError
from gatewayd.front.audience import Audience
from gatewayd.front.authorization import Authorization
from gatewayd.front.device_file import DeviceFile
from gatewayd.front.devices import Devices
from gatewayd.front.facts import gather, own_presence
from gatewayd.front.forwarder import Forwarder
from gatewayd.front.gateway import Gateway
from gatewayd.front.methods import FrontMethods
from gatewayd.front.observed import Observed
from gatewayd.front.port import Port
from gatewayd.protocol.auth import Authenticator, Secret
from gatewayd.protocol.hello import TICK_INTERVAL_S, Hello
from gatewayd.protocol.origin import HostRules
from gatewayd.protocol.presence import Presence
from gatewayd.protocol.router import Router
from gatewayd.protocol.snapshot import Snapshots
from gatewayd.supervisor.sockets import listen

MISCONFIGURED = 78
SERVICE_RESTART = 1012
SWEEP_S = 0.25
WATCH_S = 5
HEALTH_REFRESH_S = 60
FAREWELL_S = 1.0
"""How long clients have to read `shutdown` and the close frame."""
BACKLOG = 4096

log = logs.Log("front")


def shared_secret(settings: Settings) -> Secret | None:
    """The secret clients must know: flags and environment over the config file."""
    auth = settings.gateway.auth
    token, password = secrets_override()
    token, password = token or auth.token, password or auth.password
    mode = auth.mode or ("password" if password else "token")
    value = password if mode == "password" else token
    return Secret(mode, value) if value else None


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets the supervisor holds and we share."""
    sockets = [socket.socket(fileno=os.dup(number)) for number in listen_descriptors()]
    for listener in sockets:
        listener.setblocking(False)
    return sockets


def own_sockets(paths: Paths, settings: Settings) -> list[socket.socket]:
    """Sockets of our own, under a supervisor that holds none for us; RefusalError if taken."""
    port = port_override() or glance(paths.config).port or default_port(paths.profile)
    return list(listen(port, settings.gateway.bind).sockets)


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Front:
    """The assembled front and its timers."""

    def __init__(
        self, paths: Paths, settings: Settings, secret: Secret, sockets: list[socket.socket]
    ) -> None:
        self._paths = paths
        self._sockets = sockets
        facts = gather(paths, tuple(_shown(listener) for listener in sockets))
        audience, snapshots = Audience(), Snapshots()
        epoch = int.from_bytes(os.urandom(4)) >> 1
        router = Router(epoch, worker_names(), paths.bus_key.read_bytes())
        hello = Hello(facts.version, facts.host, str(paths.config), str(paths.state_dir))
        self.methods = FrontMethods(facts, router.liveness, snapshots, audience)
        self.methods.presence = Presence(own_presence(facts), facts.started_ms)
        self._device_file = DeviceFile(paths.database("front"))
        self.methods.devices = Devices(self._device_file, audience)
        self.forwarder = Forwarder(router, audience, self.methods, hello)
        self.forwarder.advertise()
        rules = HostRules(
            frozenset(name.lower() for name in settings.gateway.allowed_hosts),
            frozenset(o.lower() for o in settings.gateway.control_ui.allowed_origins),
        )
        auth = Authenticator(secret)
        self.gateway = Gateway(auth, rules, audience, self.methods, self.forwarder, hello)
        authorization = Authorization(auth, self.gateway.refused)
        self.forwarder.for_workers |= authorization.methods.bind(authorization)
        self.audience = audience
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Serves until SIGTERM, then says goodbye."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        forwarder = self.forwarder
        forwarder.broker = Broker(
            self._paths.bus_endpoint, forwarder.receive, forwarder.garbage, forwarder.unreachable
        )
        async with asyncio.TaskGroup() as tasks:
            self.gateway.tasks = self.methods.devices.tasks = tasks
            observed = Observed(self.gateway, self.methods.facts)
            port = Port(self.gateway, observed, str(self._paths.web_socket), tasks)
            observed.strangers = port.admission.counts
            servers = [
                await loop.create_server(port, sock=listener, backlog=BACKLOG)
                for listener in self._sockets
            ]
            timers = [tasks.create_task(self._sweep(port)), tasks.create_task(self._seconds())]
            log.info("port open", listening=", ".join(self.methods.facts.listening))
            await self._stopping.wait()
            for server in servers:
                server.close()
            await self._farewell()
            for timer in timers:
                timer.cancel()
        await self._device_file.close()
        forwarder.broker.close()

    async def _farewell(self) -> None:
        """`shutdown` to everyone before anything closes, then 1012."""
        log.info("stopping", clients=len(self.audience))
        self.audience.publish("shutdown", b'{"reason":"gateway stopping","restartExpectedMs":null}')
        self.audience.flush_all()
        for client in self.audience:
            client.close(SERVICE_RESTART, "service restart")
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self.audience.empty()
        except TimeoutError:
            log.warning("clients did not close in time", clients=len(self.audience))

    async def _sweep(self, port: Port) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_S
            await asyncio.sleep(SWEEP_S)
            self.methods.lag_ms = max(0.0, (loop.time() - due) * 1000)
            port.sweep()

    async def _seconds(self) -> None:
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            self.forwarder.sweep()
            self.audience.ping_some()
            if second % TICK_INTERVAL_S == 0:
                ts = int(time.time() * 1000)
                self.audience.publish("tick", b'{"ts":%d}' % ts, drop_if_slow=True)
            if second % WATCH_S == 0:
                self.forwarder.publish_workers()
            if second % HEALTH_REFRESH_S == 0:
                self.methods.publish_health()


async def _run(
    paths: Paths, settings: Settings, secret: Secret, sockets: list[socket.socket]
) -> None:
    front = Front(paths, settings, secret, sockets)
    # Connection objects are free of cycles; without this a collection would pause everyone.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    await front.serve()


def main() -> int:
    """The whole life of the front; returns its exit code."""
    paths = resolve()
    logs.configure("front")
    try:
        loaded, broken = load_or_last_good(paths)
    except ConfigError as error:
        log.error("config cannot be used", error=str(error))  # noqa: TRY400 - no traceback
        return MISCONFIGURED
    logs.set_level(log_level(loaded.settings.logging.level))
    if broken is not None:
        log.error("config is broken, using the last good one", error=str(broken))
    secret = shared_secret(loaded.settings)
    if secret is None:
        log.error("no shared secret", key="gateway.auth.token", fix="set it, or GATEWAYD_TOKEN")
        return MISCONFIGURED
    with ExitStack() as closing:
        try:
            held = inherited_sockets() or own_sockets(paths, loaded.settings)
        except RefusalError as error:
            log.error("no listening sockets", error=str(error))  # noqa: TRY400 - told, not a bug
            return MISCONFIGURED
        sockets = [closing.enter_context(one) for one in held]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(paths, loaded.settings, secret, sockets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
