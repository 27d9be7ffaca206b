"""supervisord, embedded: the one file that touches the internals of supervisor 4.3.

What we change: processes are forked from our preloaded image, a dead one is replaced at once,
their output goes to the journal, and the main loop turns on signals instead of once a second.
States, RPC and `supervisorctl` are supervisor's own.
"""

import contextlib
import os
import select
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from supervisor.dispatchers import PDispatcher
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.options import ProcessConfig, ServerOptions, UnhosedConfigParser, decode_wait_status
from supervisor.process import Subprocess
from supervisor.rpcinterface import make_main_rpcinterface
from supervisor.states import STOPPED_STATES, ProcessStates, SupervisorStates
from supervisor.supervisord import Supervisor

from conf.logs import Log
from conf.processes import FRONT
from gatewayd.supervisor.child import Order, become, entry_of
from gatewayd.supervisor.intensity import Intensity
from gatewayd.supervisor.journal import Journal, Lines
from gatewayd.supervisor.logger import Logger, QuietLogger
from gatewayd.supervisor.signals import SignalPipe
from gatewayd.supervisor.surroundings import Surroundings

IDLE_TURN_S = 1.0
"""The loop turns at least this often: clock, terminal and strangers are looked after."""
RPC_TURN_S = 0.05
"""While somebody waits for an RPC answer that supervisor defers by polling."""


class Options(ServerOptions):
    """supervisord's options, from code instead of a command line and a file."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self.surroundings = surroundings
        self.logger = Logger(surroundings.log)
        self.identifier = surroundings.identifier
        self.nodaemon = self.nocleanup = self.first = True
        self.uid = self.pidfile = self.logfile = self.directory = self.umask = None
        self.strip_ansi = self.test = False
        self.loglevel = self.minfds = 0
        self.here = str(Path(__file__).parent)
        self.serverurl = f"unix://{surroundings.socket_path}"
        no_settings: dict[str, str] = {}
        self.rpcinterface_factories = [("supervisor", make_main_rpcinterface, no_settings)]
        self.server_configs = [_unix_server(surroundings.socket_path)]
        self.process_group_configs = self.process_groups_from_parser(_parser(surroundings))

    def _processes_from_section(
        self, parser: Any, section: str, group_name: str, _klass: Any = None
    ) -> Any:
        return super()._processes_from_section(parser, section, group_name, Config)

    def process_config(self, **_: object) -> None:
        """`supervisorctl reread`: the list of programs is part of the program."""
        raise ValueError("gatewayd's list of processes is fixed; use `gatewayctl config`")

    def write_pidfile(self) -> None:
        """The lock file says who runs; a pid file would say it again."""

    def setsignals(self) -> None:
        """The main loop owns the signals."""

    def openhttpservers(self, supervisord: Any) -> None:
        """Opens the RPC socket; one that is there is stale, because we hold the lock."""
        self.surroundings.socket_path.unlink(missing_ok=True)
        # supervisor calls a socket without a password critical; ours has mode 0600.
        logger, self.logger = self.logger, QuietLogger(self.surroundings.log)
        super().openhttpservers(supervisord)
        self.logger = logger

    def kill(self, pid: int, number: int) -> None:
        """Signals a child; as a group also when the child has not become its leader yet."""
        if pid < 0:
            try:
                os.killpg(-pid, number)
            except ProcessLookupError:
                os.kill(-pid, number)
        else:
            os.kill(pid, number)

    def waitpid(self) -> tuple[int | None, int | None]:
        """Reaps one child; before that kills what is left of the process group it led."""
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None, None
        if dead is None:
            return None, None
        if dead.si_pid in self.pidhistory:
            # While it is a zombie its number cannot belong to anybody else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(dead.si_pid, signal.SIGKILL)
        return os.waitpid(dead.si_pid, 0)


class Config(ProcessConfig):
    """One program: makes our process, and a single pipe for what it says."""

    def make_process(self, group: Any = None) -> "Process":
        """One of our processes."""
        process = Process(self)
        process.group = group
        return process

    def make_dispatchers(self, proc: "Process") -> tuple[dict[int, Any], dict[str, int | None]]:
        """A pipe for stdout and stderr together; stdin is empty."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        pipes = {"stdout": ours, "child_stdout": theirs, "stdin": None, "stderr": None}
        return {ours: Output(proc, ours)}, pipes


class Output(PDispatcher):
    """Reads what one process says."""

    def __init__(self, process: "Process", descriptor: int) -> None:
        super().__init__(process, "stdout", descriptor)
        self._lines = Lines()

    def readable(self) -> bool:
        """Until the process has closed its end."""
        return not self.closed

    def writable(self) -> bool:
        """Never: we only read."""
        return False

    def handle_read_event(self) -> None:
        """Takes what there is."""
        data = self.process.config.options.readfd(self.fd)
        self._take(self._lines.feed(data))
        if not data:
            self.close()

    def close(self) -> None:
        """Takes the last, unfinished line too."""
        self._take(self._lines.end())
        super().close()

    def _take(self, lines: list[bytes]) -> None:
        journal: Journal = self.process.config.options.surroundings.journal
        for line in lines:
            journal.take(self.process.config.name, self.process.pid, line)


class Process(Subprocess):
    """One supervised process."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.is_asked_to_drain = False
        """Its next exit is one we asked for: not counted."""
        self.start_count = 0
        self._started_s = 0.0
        self._not_before_s = 0.0
        self._intensity = Intensity(is_never_given_up=config.name == FRONT)
        self._log: Log = config.options.surroundings.log

    @property
    def is_stopped(self) -> bool:
        """Stopped, and not about to start by itself."""
        return bool(self.state == ProcessStates.STOPPED)

    @property
    def due_s(self) -> float:
        """Seconds until something has to be done about it without any signal."""
        is_waiting = self.state == ProcessStates.BACKOFF and self._may_start
        if is_waiting or self.state == ProcessStates.STOPPING:
            return max(0.0, float(self.delay) - _wall_s())
        if self.state == ProcessStates.FATAL and self._may_start:
            return max(0.0, self._not_before_s - time.monotonic())
        is_restarting = self.state == ProcessStates.EXITED and self._may_start
        return 0.0 if is_restarting or self.state == ProcessStates.STARTING else IDLE_TURN_S

    @property
    def _may_start(self) -> bool:
        is_running = self.config.options.mood == SupervisorStates.RUNNING
        return bool(is_running and self.config.autorestart)

    def spawn(self) -> int | None:
        """Starts it; returns the pid, or None when it could not be started (state BACKOFF)."""
        self._started_s = time.monotonic()
        sys.stdout.flush()
        pid: int | None = super().spawn()
        if pid:
            self.start_count += 1
            name = self.config.name
            self._log.info("process started", name=name, child_pid=pid, starts=self.start_count)
        elif self.state == ProcessStates.BACKOFF:
            self._log.error("process not started", name=self.config.name, reason=self.spawnerr)
            delay_s = self._intensity.on_exit(self._started_s, self._started_s).delay_s
            self.delay = _wall_s() + max(1.0, delay_s)
        return pid

    def _spawn_as_child(self, filename: str, argv: list[str]) -> None:
        options = self.config.options
        surroundings: Surroundings = options.surroundings
        own = {"GATEWAYD_RESTARTS": str(self.start_count), "SUPERVISOR_ENABLED": "1"}
        own |= {"SUPERVISOR_PROCESS_NAME": self.config.name, **(self.config.environment or {})}
        become(
            Order(
                name=self.config.name,
                arguments=tuple(argv),
                executable=filename,
                environment=surroundings.environment() | own,
                output=self.pipes["child_stdout"],
                sockets=surroundings.sockets if self.config.name == FRONT else (),
                supervisor_pid=options.supervisor_pid,
                entry=entry_of(tuple(argv), surroundings.entries),
                directory=self.config.directory,
            )
        )

    def finish(self, pid: int, sts: int) -> None:
        """It was reaped: decides when it starts again."""
        was_asked = self.killing or self.is_asked_to_drain
        self.is_asked_to_drain = False
        super().finish(pid, sts)
        now_s = time.monotonic()
        fields = {"name": self.config.name, "child_pid": pid, "how": decode_wait_status(sts)[1]}
        write = self._log.info if was_asked else self._log.warning
        write("process ended", **fields, lived_s=round(now_s - self._started_s, 1))
        if self.state == ProcessStates.EXITED and not was_asked:
            self._decide(now_s)

    def _decide(self, now_s: float) -> None:
        decision = self._intensity.on_exit(self._started_s, now_s)
        name, wait_s = self.config.name, decision.delay_s
        if decision.is_degraded:
            self.change_state(ProcessStates.FATAL)
            self._not_before_s = now_s + wait_s
            self._log.error("process degraded: it keeps dying", name=name, next_try_s=wait_s)
        elif wait_s:
            self.change_state(ProcessStates.BACKOFF)
            self.delay = _wall_s() + wait_s
            self._log.error("process delayed: it keeps dying", name=name, next_try_s=wait_s)

    def transition(self) -> None:
        """Moves to the next state when it is time, degraded programs included."""
        is_due = time.monotonic() >= self._not_before_s
        if self.state == ProcessStates.FATAL and is_due and self._may_start:
            self.spawn()
        super().transition()

    def start_anew(self) -> None:
        """Starts it now, whatever happened before."""
        self._intensity = Intensity(is_never_given_up=self.config.name == FRONT)
        self.spawn()

    def stop_within(self, budget_s: float) -> None:
        """Asks it to end; it is killed, with its group, after `budget_s`."""
        if self.pid and self.state != ProcessStates.STOPPING:
            self.stop()
            self.delay = _wall_s() + budget_s
        elif self.state == ProcessStates.STOPPING:
            self.delay = min(self.delay, _wall_s() + budget_s)
        elif self.state in (ProcessStates.BACKOFF, ProcessStates.EXITED, ProcessStates.FATAL):
            self.change_state(ProcessStates.STOPPED)

    def kill_now(self) -> None:
        """Kills it with its group."""
        if self.pid:
            self.stop_within(0.0)
            self.config.options.kill(-self.pid, signal.SIGKILL)


class Embedded(Supervisor):
    """supervisord with a main loop that turns when a signal arrives."""

    def __init__(self, surroundings: Surroundings) -> None:
        options = Options(surroundings)
        options.supervisor_pid = os.getpid()
        super().__init__(options)
        self.surroundings = surroundings
        self.signals = SignalPipe()

    @property
    def processes(self) -> dict[str, Process]:
        """All processes by name, in the order of their priority."""
        groups = sorted(self.process_groups.values())
        return {name: one for group in groups for name, one in group.processes.items()}

    @property
    def known_pids(self) -> set[int]:
        """Children we started and have not reaped."""
        return set(self.options.pidhistory)

    def runforever(self) -> None:
        """Turns until `turn` says that all is over."""
        timeout_s = 0.0
        while True:
            signals = self._wait(timeout_s)
            self.reap()
            if not self.turn(signals):
                return
            for process in self.processes.values():
                process.transition()
            timeout_s = self._timeout_s()

    def turn(self, signals: list[int]) -> bool:
        """One turn of the loop: what arrived; returns whether to go on. For the subclass."""
        raise NotImplementedError

    def due_s(self) -> float:
        """Seconds until the subclass wants its next turn."""
        return IDLE_TURN_S

    def take_reload_request(self) -> bool:
        """Whether somebody asked by RPC to restart everything (`supervisorctl reload`)."""
        if self.options.mood == SupervisorStates.RESTARTING:
            self.options.mood = SupervisorStates.RUNNING
            return True
        return False

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether a stop was requested, by `request_stop` or by RPC."""
        return bool(self.options.mood == SupervisorStates.SHUTDOWN)

    def request_stop(self) -> None:
        """From now on nothing is started."""
        self.options.mood = SupervisorStates.SHUTDOWN

    def unstopped(self) -> list[Process]:
        """Processes that have not ended yet."""
        return [one for one in self.processes.values() if one.state not in STOPPED_STATES]

    def _timeout_s(self) -> float:
        channels_count = len(asyncore.socket_map) - len(self.options.httpservers)
        waits_s = [one.due_s for one in self.processes.values()]
        return min(RPC_TURN_S if channels_count else IDLE_TURN_S, self.due_s(), *waits_s)

    def _wait(self, timeout_s: float) -> list[int]:
        """Waits for input, has it handled, and returns the signals that arrived."""
        dispatchers = self._dispatchers()
        poller = select.poll()
        poller.register(self.signals.descriptor, select.POLLIN)
        for descriptor, one in dispatchers.items():
            mask = (one.readable() and select.POLLIN) | (one.writable() and select.POLLOUT)
            if mask:
                poller.register(descriptor, mask)
        for descriptor, mask in poller.poll(timeout_s * 1000):
            one = dispatchers.get(descriptor)
            # An RPC in this turn may have ended a process and reused its descriptor.
            if one is not None and self._dispatchers().get(descriptor) is one:
                self._dispatch(one, mask)
        return self.signals.take()

    def _dispatchers(self) -> dict[int, Any]:
        return {**self.options.get_socket_map(), **self.get_process_map()}

    def _dispatch(self, dispatcher: Any, mask: int) -> None:
        try:
            if mask & (select.POLLIN | select.POLLHUP | select.POLLERR):
                dispatcher.handle_read_event()
            if mask & select.POLLOUT:
                dispatcher.handle_write_event()
        except asyncore.ExitNow:
            self.request_stop()
        except Exception:  # noqa: BLE001 - one channel's error must not end the supervisor
            dispatcher.handle_error()


def _parser(surroundings: Surroundings) -> Any:
    parser = UnhosedConfigParser()
    parser.expansions = {"python": shlex.quote(sys.executable)}
    parser.read_string(surroundings.programs)
    return parser


def _unix_server(path: Path) -> dict[str, object]:
    return {
        "name": None,
        "family": socket.AF_UNIX,
        "file": str(path),
        "chmod": 0o600,
        "chown": (-1, -1),
        "username": None,
        "password": None,
        "section": "unix_http_server",
    }


def _wall_s() -> float:
    """supervisor keeps its delays in wall-clock time, and corrects them when it jumps back."""
    return time.time()
