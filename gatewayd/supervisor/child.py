"""The first moments of a supervised process: between fork and the program's own code.

A program of ours is run in the forked image, whose libraries are loaded already; any other is
executed. Nothing of the supervisor stays open: not its lock, its sockets, its pipes.
"""

import atexit
import fcntl
import gc
import importlib
import logging
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, TextIO, cast

from conf.child_environment import describe_sockets, replace_environment
from conf.logs import encode
from gatewayd.supervisor import kernel

FIRST_LISTEN_FD = 3
HIGH_FD = 200
"""Descriptors are first moved up here, so that none is overwritten while it is placed."""
SPAWN_FAILED = 127
FAILED = 1
RESET_SIGNALS = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

ENTRIES: Mapping[str, str] = {
    "gatewayd.front": "gatewayd.front.__main__",
    "workers": "workers.__main__",
}
"""What `python -m NAME` runs, for the programs that may run in a forked image."""


@dataclass(frozen=True)
class Order:
    """What a child shall become."""

    name: str
    arguments: tuple[str, ...]
    executable: str
    environment: Mapping[str, str]
    output: int
    """Descriptor that becomes stdout and stderr."""
    sockets: tuple[int, ...]
    """Listening sockets, placed at descriptor 3 and up."""
    supervisor_pid: int
    entry: str | None
    """Module whose main() runs in this image; None: execute the program."""
    directory: str | None = None


def entry_of(arguments: tuple[str, ...], entries: Mapping[str, str]) -> str | None:
    """The module to run for `python -m NAME …`, if that may run in a forked image."""
    if arguments[:2] == (sys.executable, "-m") and len(arguments) > 2:  # noqa: PLR2004
        return entries.get(arguments[2])
    return None


def become(order: Order) -> NoReturn:
    """Turns this freshly forked process into what `order` says; never returns."""
    code = SPAWN_FAILED
    try:
        gc.freeze()  # no object of the parent is finalised here: its descriptors are not ours
        _detach(order)
        environment = _place_descriptors(order)
        if order.entry is None:
            os.execve(order.executable, order.arguments, environment)  # noqa: S606
        replace_environment(environment)
        code = FAILED
        code = _run(order.entry, list(order.arguments[2:]))
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not return
        _report(order.name)
    finally:
        os._exit(code)


def _detach(order: Order) -> None:
    signal.set_wakeup_fd(-1)
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    logging.getLogger().handlers.clear()
    os.setsid()
    kernel.die_with_parent(order.supervisor_pid)
    kernel.set_process_name(f"gw-{order.name}")
    if order.directory is not None:
        os.chdir(order.directory)


def _place_descriptors(order: Order) -> dict[str, str]:
    """Leaves open: stdin (nothing to read), stdout, stderr, the listening sockets."""
    output = fcntl.fcntl(order.output, fcntl.F_DUPFD, HIGH_FD)
    sockets = [fcntl.fcntl(one, fcntl.F_DUPFD, HIGH_FD) for one in order.sockets]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for place, one in enumerate(sockets, FIRST_LISTEN_FD):
        os.dup2(one, place)
    os.closerange(FIRST_LISTEN_FD + len(sockets), os.sysconf("SC_OPEN_MAX"))
    names = describe_sockets(["gateway"] * len(sockets)) if sockets else {}
    return dict(order.environment) | names


def _run(entry: str, arguments: list[str]) -> int:
    """Runs `main()` of the entry module as `python -m` would; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        cast("TextIO", stream).reconfigure(line_buffering=True)  # type: ignore[attr-defined]
    random.seed()
    sys.argv = arguments
    try:
        module = importlib.import_module(entry)
        sys.modules["__main__"] = module  # multiprocessing asks it what to load in its children
        code = module.main(*([arguments[1:]] if arguments[1:] else []))
    except SystemExit as stop:
        code = stop.code
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit skips them
    sys.stdout.flush()
    sys.stderr.flush()
    if code is None:
        return 0
    return code if isinstance(code, int) else FAILED


def _report(name: str) -> None:
    """One log event with the traceback, on the output the supervisor reads."""
    record = logging.LogRecord(name, logging.ERROR, "", 0, "program failed", None, sys.exc_info())
    os.write(2, encode(record, name))
