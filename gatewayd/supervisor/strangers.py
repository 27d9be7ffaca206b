"""Strangers: children of ours that we did not start, orphans of a process of ours that died.

As child subreaper we become the parent of every descendant that lost its own. They are killed
at once, with the process group they lead, and then reaped like any child of ours.
"""

import os
import signal
import threading
from collections.abc import Collection
from pathlib import Path

import psutil

from conf.logs import Log
from gatewayd.supervisor.port_owner import command_line


class Strangers:
    """Kills the strangers among our children."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # Who executed us may have left us children; they are not orphans of our tree.
        self._innocent = frozenset(children())
        self._killed: frozenset[int] = frozenset()

    def kill(self, known: Collection[int]) -> int:
        """Kills every child that is not among the `known` pids; returns how many there are."""
        found = [pid for pid in children() if pid not in known and pid not in self._innocent]
        for pid in found:
            self._kill(pid)
        self._killed = frozenset(found)
        return len(found)

    def _kill(self, pid: int) -> None:
        # Not reaped yet, so the pid cannot have passed to another process.
        if pid not in self._killed:
            self._log.warning("orphan killed", child_pid=pid, command=command_line(pid))
        try:
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def children() -> list[int]:
    """Pids of all children of this process, dead ones that were not reaped yet included."""
    place = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    try:
        return [int(pid) for pid in place.read_bytes().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [child.pid for child in psutil.Process().children()]
