"""The parent of a profile's processes: starts them, replaces them, and ends with them.

It has one thread, no event loop and no ZeroMQ context, because its image is what they fork from.
"""

import logging
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from urllib.parse import quote

from conf.child_environment import describe_tree, inherited
from conf.environment import log_level, secrets_override
from conf.logs import Log
from conf.paths import Paths
from conf.processes import FRONT
from conf.profile import create_bus_key, keep_last_good
from conf.schema import Auth, Settings
from conf.settings import ConfigError, load
from gatewayd.exit_codes import ExitCode, RefusalError
from gatewayd.supervisor import kernel
from gatewayd.supervisor.child import ENTRIES
from gatewayd.supervisor.embedding import IDLE_TURN_S, Embedded
from gatewayd.supervisor.journal import Console, Journal, LogFile
from gatewayd.supervisor.preload import AT_START, modules_for_restarts, preload
from gatewayd.supervisor.replacement import Replacement, Step, View
from gatewayd.supervisor.sockets import Listening
from gatewayd.supervisor.strangers import Strangers
from gatewayd.supervisor.surroundings import Surroundings
from gatewayd.version import version

MOST_DESCRIPTORS_COUNT = 1_048_576
FRONT_STOP_BUDGET_S = 1.5
"""The front tells its clients `shutdown` and closes them, before any worker goes."""
WORKER_STOP_BUDGET_S = 2.0
DRAINED_STOP_BUDGET_S = 2.0
"""After a drain that took too long."""
STOP_BUDGET_S = 4.5
"""Then we end whatever hangs; the kernel kills what is left with us (death signal)."""
STDOUT = 1
STOPPING_TURN_S = 0.1
PRELOAD_AFTER_S = 1.0
"""By then the processes have started; until then they need the processor more."""
REPLACING_TURN_S = 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def _program_list() -> str:
    return resources.files("conf").joinpath("supervisord.conf").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Launch:
    """What the command line decided."""

    paths: Paths
    listening: Listening
    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    is_verbose: bool = False
    is_token_hidden: bool = False
    """Somebody keeps our output: the link is shown without the token."""
    entries: Mapping[str, str] = field(default_factory=lambda: dict(ENTRIES))
    """Programs that run in a forked image; empty: all are executed."""
    programs: str = field(default_factory=_program_list, repr=False)
    """Text of the list of programs."""


class Tree(Embedded):
    """The main loop's decisions: signals, shutdown, replacement, strangers."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._log = surroundings.log
        self._strangers = Strangers(surroundings.log)
        self._replacement: Replacement | None = None
        self._is_replacement_wanted = False
        self._stopping_since_s: float | None = None
        self._are_workers_asked = False
        self._to_preload = deque(surroundings.preloaded_later)
        self._preload_at_s = time.monotonic() + PRELOAD_AFTER_S
        self.is_clean = True
        """Whether everything had ended when we did."""

    def turn(self, signals: list[int]) -> bool:
        """Signals, strangers, then stopping or replacing; returns whether to go on."""
        now_s = time.monotonic()
        self._take_signals(signals)
        strangers_count = self._strangers.kill(self.known_pids)
        self.surroundings.journal.turn()
        if self.is_asked_to_stop:
            return self._stop_turn(now_s, strangers_count)
        if self.take_reload_request():
            self._is_replacement_wanted = True
        self._replace_turn(now_s)
        self._preload_turn(now_s)
        return True

    def due_s(self) -> float:
        """Seconds until the next turn is due without any input."""
        if self.is_asked_to_stop:
            return STOPPING_TURN_S
        return REPLACING_TURN_S if self._replacement else IDLE_TURN_S

    def _preload_turn(self, now_s: float) -> None:
        """One module per turn: while it loads, nothing is restarted."""
        if self._to_preload and self._replacement is None and now_s >= self._preload_at_s:
            preload([self._to_preload.popleft()], self._log)

    def _take_signals(self, signals: list[int]) -> None:
        for number in signals:
            if number == signal.SIGINT and self.is_asked_to_stop:
                self._kill_all("second SIGINT")
            elif number in STOP_SIGNALS and not self.is_asked_to_stop:
                self._log.info("stopping", reason=signal.Signals(number).name)
                self.request_stop()
            elif number == signal.SIGUSR1:
                self._is_replacement_wanted = True
            elif number == signal.SIGUSR2:
                self.surroundings.journal.reopen()

    def _kill_all(self, reason: str) -> None:
        self._log.warning("killing all processes", reason=reason, pids=sorted(self.known_pids))
        for process in self.processes.values():
            process.kill_now()

    def _stop_turn(self, now_s: float, strangers_count: int) -> bool:
        """Front first, then all workers together; whatever hangs, an end within the budget."""
        if self._stopping_since_s is None:
            self._stopping_since_s = now_s
            self.processes[FRONT].stop_within(FRONT_STOP_BUDGET_S)
        since_s = now_s - self._stopping_since_s
        is_front_gone = self.processes[FRONT] not in self.unstopped()
        if not self._are_workers_asked and (is_front_gone or since_s >= FRONT_STOP_BUDGET_S):
            self._are_workers_asked = True
            for process in self.processes.values():
                process.stop_within(WORKER_STOP_BUDGET_S)
        if self._are_workers_asked and not self.unstopped() and not strangers_count:
            return False
        if since_s < STOP_BUDGET_S:
            return True
        self.is_clean = False
        self._kill_all(f"not ended after {STOP_BUDGET_S} s")
        return False

    def _replace_turn(self, now_s: float) -> None:
        if self._replacement is None and self._is_replacement_wanted:
            self._is_replacement_wanted = False
            self._log.info("replacing workers")
            self._replacement = Replacement(name for name in self.processes if name != FRONT)
        while self._replacement is not None:
            name = self._replacement.current
            if name is None:
                self._replacement = None
                self._log.info("workers replaced")
            elif not self._replace(self._replacement, name, now_s):
                return

    def _replace(self, replacement: Replacement, name: str, now_s: float) -> bool:
        """Does the next step for one worker; returns whether there may be another one now."""
        process = self.processes[name]
        step = replacement.step(View(process.pid, process.is_stopped), now_s)
        if step is Step.DRAIN:
            process.is_asked_to_drain = True
            process.signal(signal.SIGUSR1)
        elif step is Step.STOP:
            process.stop_within(DRAINED_STOP_BUDGET_S)
        elif step is Step.START:
            process.start_anew()
        return replacement.current != name


def run(launch: Launch) -> int:
    """Runs the tree of one profile until it is stopped; returns the exit code."""
    settings = _settings(launch)
    auth = _auth(launch, settings)
    _prepare_files(launch.paths)
    _raise_descriptor_limit()
    kernel.become_subreaper()
    level = "debug" if launch.is_verbose else log_level(settings.logging.level)
    journal = _journal(launch.paths, settings, level)
    tree = Tree(_surroundings(launch, journal, level if launch.is_verbose else None))
    tree.signals.catch()
    for line in _banner(launch, auth):
        journal.show(line)
    log = tree.surroundings.log
    if launch.paths.config.stat().st_mode & 0o077:
        log.warning("others may read the config", fix=f"chmod 600 {launch.paths.config}")
    preload(AT_START, log)
    tree.run()
    log.info("stopped", is_clean=tree.is_clean)
    return ExitCode.STOPPED if tree.is_clean else ExitCode.FAILED


def _settings(launch: Launch) -> Settings:
    try:
        return load(launch.paths.config).settings
    except ConfigError as error:
        count = len(error.problems)
        raise RefusalError(
            f"the config has {count} problem{'s' * (count > 1)}:\n{error}"
        ) from error


def _auth(launch: Launch, settings: Settings) -> Auth:
    """The secrets that count: flag over environment over config. RefusalError without one."""
    configured = settings.gateway.auth
    token, password = secrets_override()
    token = launch.token or token or configured.token
    password = launch.password or password or configured.password
    mode = configured.mode or ("password" if password else "token")
    if not (password if mode == "password" else token):
        raise RefusalError(
            f"nobody could connect: gateway.auth.{mode} is not set in {launch.paths.config}. "
            f"Set it there, or GATEWAYD_{mode.upper()} in the environment, or give --{mode}"
        )
    return Auth(mode=mode, token=token, password=password)


def _prepare_files(paths: Paths) -> None:
    try:
        create_bus_key(paths)
        keep_last_good(paths)
    except OSError as error:
        message = f"state directory {paths.state_dir} cannot be written: {error}"
        raise RefusalError(f"{message}. Free space or correct its rights") from error


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS_COUNT if hard == resource.RLIM_INFINITY else hard
    wanted = min(wanted, MOST_DESCRIPTORS_COUNT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _journal(paths: Paths, settings: Settings, level: str) -> Journal:
    file = LogFile(paths.log, settings.logging.max_bytes)
    journal = Journal(file, Console(STDOUT))
    root = logging.getLogger()
    root.handlers[:] = [journal]
    root.setLevel(level.upper())
    return journal


def _surroundings(launch: Launch, journal: Journal, level: str | None) -> Surroundings:
    secrets = (launch.token, launch.password)
    told = describe_tree(launch.paths, launch.listening.port, secrets, level)
    return Surroundings(
        identifier=f"gatewayd-{launch.paths.profile}",
        socket_path=launch.paths.supervisor_socket,
        environment=lambda: inherited(told),
        sockets=tuple(one.fileno() for one in launch.listening.sockets),
        journal=journal,
        log=Log("supervisor"),
        entries=launch.entries,
        preloaded_later=modules_for_restarts() if "workers" in launch.entries else (),
        programs=launch.programs,
    )


def _banner(launch: Launch, auth: Auth) -> list[str]:
    paths, port = launch.paths, launch.listening.port
    link = f"http://127.0.0.1:{port}/"
    if launch.is_token_hidden or auth.mode == "password" or auth.token is None:
        link += f"  (the secret is in {paths.config})"
    else:
        link += f"#token={quote(auth.token, safe='')}"
    return [
        f"gatewayd {version()}, profile {paths.profile}, pid {os.getpid()}",
        f"State:     {paths.state_dir}",
        f"Config:    {paths.config}",
        f"Listening: {', '.join(launch.listening.addresses)}",
        f"Web chat:  {link}",
    ]
