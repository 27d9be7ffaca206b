"""What a forked process does to itself before it runs anything: limits, descriptors, death."""

import contextlib
import fcntl
import os
import resource
import signal
import sys
from pathlib import Path

from workers.agent import tree
from workers.agent.link import Kind

REPORT_FD = 3
SPEC_FD = 4
LISTENER_FD = 5
MOST_OPEN_FILES = 4096
MODEL_NICENESS = 10
"""The local model burns CPU for seconds; everything else goes first."""
OOM_SCORE = 500
"""When memory runs out, the kernel takes a run before it takes the gateway."""


def become(kind: Kind, parent: int, descriptors: list[int]) -> None:
    """Turns the child just forked by `parent` into a process that stands alone.

    Own session and group, dies with its parent, keeps orphans below itself, has only
    `descriptors`: report socket, stderr, spec and, for the model, the listening socket.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    tree.die_with_parent(parent)
    tree.become_subreaper()
    tree.set_name(f"gatewayd-{kind}")
    _keep(descriptors)
    _limit()
    if kind == "model":
        os.nice(MODEL_NICENESS)


def _keep(descriptors: list[int]) -> None:
    """Moves the descriptors to their numbers and closes all others."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in descriptors]
    report, stderr, spec, *listener = high
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)
    os.dup2(report, REPORT_FD, inheritable=False)
    os.dup2(spec, SPEC_FD, inheritable=False)
    for fd in listener:
        os.dup2(fd, LISTENER_FD, inheritable=False)
    # Whatever Python took for its output until now is another process's.
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
    first_unused = LISTENER_FD + len(listener)
    os.closerange(first_unused, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MOST_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError):  # not allowed in some containers
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
