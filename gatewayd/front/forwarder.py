"""Between the router's decisions and the bus: calls out, answers and events in."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from bus.broker import Broker
from bus.capabilities import CAPABILITIES
from bus.errors import RpcError, invalid
from bus.messages import (
    Caller,
    Cancel,
    Event,
    Goodbye,
    Message,
    Method,
    Partial,
    Ready,
    Refused,
    Reply,
    Request,
    Snapshot,
    Welcome,
)
from bus.rpc import Bound, error_frame, result_frame
from conf.logs import Log
from gatewayd.front.audience import Audience
from gatewayd.front.deaths import Deaths
from gatewayd.front.local import LocalCall
from gatewayd.front.methods import FrontMethods
from gatewayd.protocol.hello import Hello
from gatewayd.protocol.quota import Quota
from gatewayd.protocol.router import ClientOrigin, Lost, Origin, Router, WorkerOrigin

SOON_S = 0.2
"""How long changes of presence and health are gathered before everyone is told."""
HEALTH_SOON_S = 2.0
log = Log("front")


class Forwarder:
    """The front's side of the bus."""

    encode = staticmethod(msgspec.json.Encoder().encode)

    def __init__(
        self, router: Router, audience: Audience, methods: FrontMethods, hello: Hello
    ) -> None:
        self.router = router
        self.broker: Broker
        self.for_workers: dict[str, Bound] = methods.methods.bind(methods)
        """Methods of the front, for the workers that may call their family."""
        self._audience = audience
        self._methods = methods
        self._hello = hello
        self._loop = asyncio.get_running_loop()
        self._pending: dict[str, asyncio.TimerHandle] = {}
        self._quotas: dict[bytes, Quota] = {}
        self._subscribers: dict[str, set[bytes]] = {}
        self._topics: dict[bytes, tuple[str, ...]] = {}
        self._was_ready = False
        self._deaths = Deaths(lambda identity: self._gone(identity, "process ended"))
        self.counters = {"forwarded": 0, "lost": 0, "late": 0, "garbage": 0, "over_quota": 0}

    def advertise(self) -> None:
        """Renews what `hello-ok` says can be called."""
        self._hello.set_methods([*self._methods.bound(), *sorted(self.router.methods)])

    # Clients' calls

    def forward(
        self, method: Method, frame_id: str, caller: msgspec.Raw, origin: Origin, params: bytes
    ) -> None:
        """Sends a call to the worker that owns the method. Raises RpcError when none can serve."""
        identity, request = self.router.open(method, frame_id, caller, origin, time.monotonic())
        self.counters["forwarded"] += 1
        self.broker.send(identity, request, params)

    def send_notices(self) -> None:
        """Passes events of the front to the workers that subscribed their topic."""
        for event, payload in self._methods.notices:
            self._to_subscribers(event, payload)
        self._methods.notices.clear()

    def presence_changed(self) -> None:
        """Tells everyone soon; many changes in a row are one event."""
        self._later("presence", SOON_S, self._methods.publish_presence)

    # The bus

    def receive(self, identity: bytes, message: Message, body: bytes) -> None:
        """Takes one message of a worker."""
        if isinstance(message, Reply):  # the most frequent by far; only the callee's counts
            self._answer(self.router.reply(identity, message.call_id), body, is_last=True)
            return
        if isinstance(message, Ready):
            self._announce(identity, message)
            return
        name = self.router.name_of(identity)
        if name is None:
            self.garbage(identity, f"{type(message).__name__} before Ready")
            return
        match message:
            case Partial():
                self._answer(self.router.partial(identity, message.call_id), body, is_last=False)
            case Goodbye():
                self._gone(identity, message.reason)
            case Event() | Request() | Snapshot() | Cancel():
                self._metered(identity, name, message, body)
            case _:
                self.garbage(identity, f"{type(message).__name__} from a worker")

    def garbage(self, identity: bytes, reason: str) -> None:
        """Counts what is not for us; a hostile peer fills no log."""
        self.counters["garbage"] += 1
        self._later(
            "garbage",
            1.0,
            lambda: log.warning("bus garbage", peer=identity.hex()[:128], reason=reason[:128]),
        )

    def unreachable(self, identity: bytes) -> None:
        """The bus has no such peer any more."""
        self._gone(identity, "unreachable")

    def sweep(self) -> None:
        """Once a second: calls past their deadline, workers silent for too long."""
        cancels, lost = self.router.expire(time.monotonic())
        for identity, call_id in cancels:
            self.broker.send(identity, Cancel(call_id))
        self._tell_lost(lost)
        if lost or self._is_ready() != self._was_ready:
            self._state_changed()

    def publish_workers(self) -> None:
        """Tells the workers that watch the others (topic `workers`) who was heard from when."""
        now = time.monotonic()
        rows = []
        for name in self.router.liveness.names():
            peer = self.router.liveness.peer(name)
            state = self.router.liveness.state(name, now)
            if peer is not None:
                silent_ms = int((now - peer.heard_at) * 1000)
                rows.append({"name": name, "pid": peer.ready.pid, "state": state.value,
                             "lastSeenMs": silent_ms})  # fmt: skip
        self._to_subscribers(Event("workers"), self.encode({"workers": rows}))

    def _announce(self, identity: bytes, ready: Ready) -> None:
        result = self.router.announce(identity, ready, time.monotonic())
        if result.refusal is not None:
            self.broker.send(identity, Refused(result.refusal))
            self.garbage(identity, f"{ready.name}: {result.refusal}")
            return
        self._tell_lost(result.lost)
        self._subscribe(identity, ready.topics)
        if result.is_new:
            self.broker.send(identity, Welcome(self.router.epoch))
            self._quotas = {i: q for i, q in self._quotas.items() if self.router.name_of(i)}
            self._quotas[identity] = Quota()
            self._deaths.watch(identity, ready.pid)
            self.advertise()
            log.info("worker ready", worker=ready.name, worker_pid=ready.pid,
                     restarts=ready.restart_count, methods=len(ready.methods))  # fmt: skip
        if result.changed_state:
            self._state_changed()

    def _metered(
        self, identity: bytes, name: str, message: Event | Request | Snapshot | Cancel, body: bytes
    ) -> None:
        if not self._quotas[identity].take(time.monotonic()):
            self.counters["over_quota"] += 1
            self._later("quota", 1.0, lambda: log.error("worker over its quota", worker=name))
            return
        capability = CAPABILITIES[name]
        match message:
            case Event() if message.topic in capability.topics:
                self._publish(message, body)
            case Snapshot() if message.part in capability.parts:
                self._snapshot(name, message.part, body)
            case Request():
                self._worker_call(identity, name, message, body)
            case Cancel():
                pass  # the callee goes on; its late answer is dropped
            case _:
                self.garbage(identity, f"{name} may not send this {type(message).__name__}")

    def _publish(self, event: Event, body: bytes) -> None:
        if event.connections:
            self._audience.publish_to(event.connections, event.topic, body)
        else:
            self._audience.publish(
                event.topic, body, scope=event.scope, drop_if_slow=event.drop_if_slow
            )
        self._to_subscribers(event, body)

    def _snapshot(self, name: str, part: str, body: bytes) -> None:
        if self._methods.snapshots.put(part, body):
            self._later("health", HEALTH_SOON_S, self._methods.publish_health)
        else:
            log.warning("snapshot cannot be read", worker=name, part=part)

    def _worker_call(self, identity: bytes, name: str, request: Request, body: bytes) -> None:
        origin = WorkerOrigin(identity, request.call_id, request.frame_id)
        try:
            method = self.router.methods.get(request.method)
            if not self.router.may_call(name, request.method):
                raise invalid(f"worker {name} may not call {request.method}")
            if request.method in self.for_workers:
                self._answer_here(identity, name, request, body)
                return
            if method is None:
                raise self.router.unknown(request.method, time.monotonic())
            self.forward(method, request.frame_id, request.caller, origin, body)
        except RpcError as error:
            frame = error_frame(request.frame_id, error)
            self.broker.send(identity, Reply(request.call_id, ok=False), frame)

    def _answer_here(self, identity: bytes, name: str, request: Request, body: bytes) -> None:
        """Answers a worker's call of a method of the front. Raises RpcError."""
        call = LocalCall(Caller("worker", name), request.method)
        result = self.for_workers[request.method](call, body)
        if self._methods.notices:
            self.send_notices()
        self.broker.send(
            identity, Reply(request.call_id, ok=True), result_frame(request.frame_id, result)
        )

    def _answer(self, origin: Origin | None, frame: bytes, *, is_last: bool) -> None:
        if isinstance(origin, ClientOrigin):
            client = self._audience.get(origin.connection_id)
            if client is not None:
                client.open_calls -= is_last
                client.open_bytes -= is_last * origin.size_bytes
                self._audience.answer(client, frame)
        elif isinstance(origin, WorkerOrigin):
            kind = Reply(origin.call_id, ok=True) if is_last else Partial(origin.call_id)
            self.broker.send(origin.identity, kind, frame)
        else:
            self.counters["late"] += 1

    def _tell_lost(self, lost: Iterable[Lost]) -> None:
        for call in lost:
            self.counters["lost"] += 1
            frame = error_frame(call.origin.frame_id, call.error)
            self._answer(call.origin, frame, is_last=True)

    def _gone(self, identity: bytes, reason: str) -> None:
        name, lost = self.router.gone(identity)
        self._quotas.pop(identity, None)
        self._deaths.forget(identity)
        self._subscribe(identity, ())
        self._topics.pop(identity, None)
        self._tell_lost(lost)
        if name is not None:
            log.warning("worker down", worker=name, reason=reason, calls_lost=len(lost))
            self._state_changed()

    def _subscribe(self, identity: bytes, topics: tuple[str, ...]) -> None:
        """Passes a worker the events of these topics and no others."""
        if self._topics.get(identity, ()) == topics:
            return
        self._topics[identity] = topics
        for subscribers in self._subscribers.values():
            subscribers.discard(identity)
        for topic in topics:
            self._subscribers.setdefault(topic, set()).add(identity)

    def _to_subscribers(self, event: Event, body: bytes) -> None:
        for identity in self._subscribers.get(event.topic, ()):
            self.broker.send(identity, event, body)

    def _state_changed(self) -> None:
        self._later("health", SOON_S, self._methods.publish_health)
        self._later("workers", 0.0, self.publish_workers)
        is_ready = self._is_ready()
        if is_ready and not self._was_ready:
            log.info("gateway ready", workers=len(self.router.liveness.expected))
        self._was_ready = is_ready

    def _is_ready(self) -> bool:
        return not self.router.liveness.troubles(time.monotonic())

    def _later(self, name: str, delay_s: float, act: Any) -> None:
        """Runs `act` once after `delay_s`, however often it is asked for meanwhile."""
        if name in self._pending:
            return

        def run() -> None:
            del self._pending[name]
            act()

        self._pending[name] = self._loop.call_later(delay_s, run)
