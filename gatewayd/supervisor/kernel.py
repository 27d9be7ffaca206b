"""The three Linux calls Python has no name for: subreaper, death signal, process name."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
LONGEST_NAME_BYTES = 15

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def become_subreaper() -> None:
    """From now on descendants whose parent dies become our children."""
    _call(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pid: int) -> None:
    """The kernel kills this process when its parent dies; ends it now if that has happened."""
    _call(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def set_process_name(name: str) -> None:
    """The short name that `top` and `ps -e` show."""
    _call(PR_SET_NAME, ctypes.c_char_p(name.encode()[:LONGEST_NAME_BYTES]))


def _call(option: int, argument: int | ctypes.c_char_p) -> None:
    value = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    if _prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
