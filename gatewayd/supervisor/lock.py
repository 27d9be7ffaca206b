"""The kernel lock that makes a running gateway the only one of its state directory.

Held by the supervisor alone: the kernel drops it when that process ends, however it ends.
The text in the file only informs. Standard library only: a refusal must be quick.
"""

import fcntl
import json
import os
from pathlib import Path

from gatewayd.exit_codes import RefusalError

LARGEST_NOTE_BYTES = 4096


class Lock:
    """The lock, held until the process ends or `release` is called."""

    def __init__(self, path: Path, profile: str) -> None:
        """Takes the lock; raises RefusalError naming the process that holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            message = f"{path} cannot be opened ({error.strerror}): it must be a file of ours"
            raise RefusalError(f"{message} and no symlink; remove it") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            note = read_note(path)
            os.close(self._descriptor)
            raise RefusalError(_already_running(profile, path, note)) from error

    def describe(self, port: int) -> None:
        """Writes who we are into the file: pid, its start time (ticks since boot), port."""
        pid = os.getpid()
        note = {"pid": pid, "startTime": start_time_ticks(pid), "port": port}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(note).encode() + b"\n", 0)

    def release(self) -> None:
        """Empties the file and gives the lock back."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def read_note(path: Path) -> dict[str, int]:
    """What the holder wrote about itself; empty when it has not written yet."""
    try:
        value = json.loads(path.read_bytes()[:LARGEST_NOTE_BYTES])
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def start_time_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; with the pid it is unique."""
    status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(status.rpartition(")")[2].split()[19])


def _already_running(profile: str, path: Path, note: dict[str, int]) -> str:
    pid, port = note.get("pid"), note.get("port")
    who = f"pid {pid}, port {port}" if pid else "it is just starting"
    stop = f"stop it with `kill {pid}`" if pid else "wait for it"
    return (
        f"profile {profile} is already running ({who}; lock {path}): "
        f"{stop}, or start another profile with --profile NAME"
    )
