"""Process trees as the kernel knows them: who is below whom, and how all of it ends."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """Start of process `pid` in clock ticks since boot; None when there is no such process.

    With the pid it names one process for ever, although pids are used again.
    """
    stat = _read(f"/proc/{pid}/stat")
    # The name (second field) may hold spaces and parentheses: count from its end.
    return int(stat.rpartition(b")")[2].split()[19]) if stat else None


def children(pid: int) -> list[int]:
    """Direct children of `pid`, dead ones that nobody reaped included."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    texts = (_read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for text in texts for child in text.split()]


def descendants(pid: int) -> list[int]:
    """Everything below `pid`, parents before their children."""
    found = children(pid)
    for child in found:  # grows while we walk
        found.extend(children(child))
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL for `pid` (our own child, so that the pid is not another's), its group and below."""
    below = descendants(pid)
    with contextlib.suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    kill([pid, *below])


def kill(pids: Iterable[int]) -> None:
    """SIGKILL for each of `pids` that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_if_same(pid: int, started: int) -> bool:
    """SIGKILL for the process recorded as `pid` and `started`, and for no other.

    Returns whether it was there. The handle is opened before the start time is compared, so
    the pid cannot pass to another process in between.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(pid) != started:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def reap() -> list[tuple[int, int]]:
    """Reaps every child that has ended: (pid, exit code or minus the signal)."""
    reaped: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if pid == 0:
            return reaped
        reaped.append((pid, os.waitstatus_to_exitcode(status)))


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent` dies; at once when it has died already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def set_name(name: str) -> None:
    """The name that `ps` and `top` show (15 bytes)."""
    _libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def _prctl(option: int, argument: int) -> None:
    unused = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(argument), unused, unused, unused) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - read thousands of times
            return file.read()
    except OSError:
        return b""
