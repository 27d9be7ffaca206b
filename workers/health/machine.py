"""Reads the facts: disk, logs, clocks, processes; signals the one process that was judged."""

import functools
import os
import signal
import time
from pathlib import Path

import psutil

from workers.health.findings import Child, Disk
from workers.health.recovery import Action, Identity, Signal

SIGNALS = {Signal.TERM: signal.SIGTERM, Signal.KILL: signal.SIGKILL}
LARGEST_TREE = 2_000
"""Processes looked at; a tree larger than that has another problem."""


def disk(path: Path) -> Disk:
    """Space of the file system that holds `path`."""
    usage = os.statvfs(path)
    return Disk(usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize)


def logs_bytes(log_dir: Path) -> int:
    """Size of all log files together."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(log_dir) if entry.is_file())
    except FileNotFoundError:
        return 0  # rotated away while we looked, or not written yet


def clocks() -> tuple[float, float]:
    """Wall clock and steady clock, in seconds; the steady one also counts a suspended machine."""
    return time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime(time.CLOCK_BOOTTIME)


def identify(pid: int) -> tuple[Identity, int, str, bool] | None:
    """Identity, parent, name and whether it is a zombie; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    before, _, after = text.rpartition(")")
    fields = after.split()
    name = before.partition("(")[2]
    return Identity(pid, int(fields[19])), int(fields[1]), name, fields[0] == "Z"


def child_of(supervisor_pid: int, pid: int) -> Identity | None:
    """The process if it is a living child of the supervisor."""
    found = identify(pid)
    if found is None or found[1] != supervisor_pid or found[3]:
        return None
    return found[0]


def tree(supervisor_pid: int) -> list[Child]:
    """All processes below the supervisor."""
    found: list[Child] = []
    waiting = list(_children(supervisor_pid))
    while waiting and len(found) < LARGEST_TREE:
        pid = waiting.pop()
        facts = identify(pid)
        if facts is not None:
            process, parent_pid, name, is_zombie = facts
            found.append(Child(process, parent_pid, name, is_zombie))
            waiting += _children(pid)
    return found


@functools.cache
def _kernel_lists_children() -> bool:
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _children(pid: int) -> list[int]:
    """Pids of the children; the kernel's own list where it keeps one, else a look at them all."""
    try:
        if not _kernel_lists_children():
            return [child.pid for child in psutil.Process(pid).children()]
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (OSError, psutil.Error):
        return []  # it ended while we looked


def send(action: Action, supervisor_pid: int) -> bool:
    """Sends the signal if the process is still the one that was judged; tells whether it did."""
    try:
        descriptor = os.pidfd_open(action.process.pid)
    except OSError:
        return False
    try:
        # The descriptor pins the process: checked after it was opened, it cannot be another.
        if child_of(supervisor_pid, action.process.pid) != action.process:
            return False
        signal.pidfd_send_signal(descriptor, SIGNALS[action.signal])
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
