"""What can be told about a gateway that does not answer: its lock, its supervisor, its log."""

import fcntl
import http.client
import os
import socket
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import msgspec

from conf.logs import readable
from conf.paths import Paths
from gatewayd.ctl.logs import tail_of_file
from gatewayd.supervisor.lock import read_note

SUPERVISOR_TIMEOUT_S = 2.0
LOG_LINES = 2_000
LOCK_TABLE = Path("/proc/locks")


@dataclass(frozen=True)
class Offline:
    """What the profile's files and its supervisor say."""

    is_locked: bool
    """Whether a gateway process of the profile lives."""
    owner: str
    """What that process wrote about itself."""
    processes: list[dict[str, Any]] = field(default_factory=list)
    last_error: str | None = None


def look(paths: Paths) -> Offline:
    """Reads the lock, asks the supervisor, finds the last error in the log."""
    is_locked = lock_is_held(paths.lock)
    processes = supervised(paths.supervisor_socket) if is_locked else []
    return Offline(
        is_locked, _owner(paths.lock) if is_locked else "", processes, _last_error(paths)
    )


def lock_is_held(path: Path) -> bool:
    """Whether a process holds the lock file; looking never takes the lock from a starting one."""
    try:
        status = path.stat()
    except OSError:
        return False
    if LOCK_TABLE.exists():
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        rows = (line.split() for line in LOCK_TABLE.read_text(encoding="utf-8").splitlines())
        return any("FLOCK" in row and device in row for row in rows)
    return _is_refused(path)


def _is_refused(path: Path) -> bool:
    """The same where the kernel does not list its locks."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _owner(path: Path) -> str:
    note = read_note(path)
    return ", ".join(f"{name} {note[name]}" for name in ("pid", "port") if name in note)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SUPERVISOR_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SUPERVISOR_TIMEOUT_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


def supervised(path: Path) -> list[dict[str, Any]]:
    """The processes as the supervisor sees them; empty when it does not answer."""
    server = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path))
    try:
        rows: Any = server.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError):
        return []
    return [_row(row) for row in rows]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    state = str(row.get("statename", "unknown")).lower()
    found: dict[str, Any] = {"name": row.get("name", "?"), "state": state}
    if row.get("pid"):
        found["pid"] = row["pid"]
        found["uptimeMs"] = max(int(row.get("now", 0)) - int(row.get("start", 0)), 0) * 1000
    return found


def _last_error(paths: Paths) -> str | None:
    lines = tail_of_file(paths.log, None, LOG_LINES)["lines"]
    for line in reversed(lines):
        try:
            entry = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            return readable(entry)
    return None
