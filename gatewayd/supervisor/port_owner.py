"""Finds the process that listens on a port, for the message that refuses to start."""

import os
import re
from pathlib import Path

LISTEN_STATE = "0A"
LONGEST_COMMAND_CHARS = 160
SECRET_FLAGS = ("--token", "--password")


def describe_owner(port: int) -> str:
    """`pid 123 (python3 -m http.server)`, or what else can be said about who listens."""
    inodes = _listening_inodes(port)
    for pid in _pids():
        if inodes.keys() & _socket_inodes(pid):
            return f"pid {pid} ({command_line(pid)})"
    if inodes:
        return f"a process of uid {next(iter(inodes.values()))} that we may not inspect"
    return "a process outside our view (another container or network namespace)"


def command_line(pid: int) -> str:
    """The command line of a process, secrets masked; its short name when there is none."""
    place = Path(f"/proc/{pid}")
    try:
        raw = (place / "cmdline").read_bytes()
        words = [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")]
        text = " ".join(_masked(words)) or (place / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "gone"
    return text[:LONGEST_COMMAND_CHARS]


def _masked(words: list[str]) -> list[str]:
    masked = [re.sub(r"^(--(?:token|password)=).*", r"\1***", word) for word in words]
    for index, word in enumerate(words[:-1]):
        if word in SECRET_FLAGS:
            masked[index + 1] = "***"
    return masked


def _listening_inodes(port: int) -> dict[str, int]:
    """Inode and owner (uid) of every socket that listens on `port`."""
    found: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                found[fields[9]] = int(fields[7])
    return found


def _pids() -> list[int]:
    """All processes, oldest pid first: of a tree that shares the socket, the parent."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _socket_inodes(pid: int) -> set[str]:
    place = f"/proc/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(place):
            target = os.readlink(f"{place}/{name}")  # noqa: PTH115 - hundreds of them, quickly
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return found
    return found
