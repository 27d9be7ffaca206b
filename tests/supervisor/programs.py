"""Small programs that stand in for front and workers: `python -m tests.supervisor.programs NAME`.

Each runs forked or executed, like the real ones.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from conf.environment import listen_descriptors


def main(arguments: list[str] | None = None) -> int:
    """Runs the program named by the first argument."""
    name, *rest = sys.argv[1:] if arguments is None else arguments
    return {
        "serve": serve,
        "idle": idle,
        "stubborn": stubborn,
        "parent": parent,
        "crash": crash,
        "speak": speak,
        "describe": describe,
    }[name](*rest)


def serve() -> int:
    """Answers each connection on the inherited sockets with our pid, one at a time."""
    sockets = [socket.socket(fileno=fd) for fd in listen_descriptors()]
    sockets[0].setblocking(True)
    while True:
        connection, _ = sockets[0].accept()
        with connection:
            connection.sendall(b"%d\n" % os.getpid())


def idle() -> int:
    """Waits for SIGTERM or SIGUSR1."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    say(event="ready")
    signal.sigwait({signal.SIGTERM, signal.SIGUSR1})
    return 0


def stubborn() -> int:
    """Cannot be asked to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    say(event="ready")
    while True:
        signal.pause()


def parent(record: str) -> int:
    """Starts a grandchild in its own session and a child in our group; records their pids."""
    grandchild = "import os, subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True);"
    grandchild += "os.read(0, 1)"
    away = subprocess.Popen(
        [sys.executable, "-c", grandchild],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    near = subprocess.Popen(["sleep", "600"])
    assert away.stdout is not None
    deep = int(away.stdout.readline())
    draft = Path(f"{record}.draft")
    draft.write_text(json.dumps([away.pid, deep, near.pid]))
    draft.replace(record)
    while True:
        signal.pause()


def crash() -> int:
    """Dies at once."""
    raise RuntimeError("on purpose, token=abcdefghijkl")


def speak() -> int:
    """Says things in every form a process may."""
    say(event="spoken", answer=42)
    sys.stderr.write("a plain line\n")
    os.write(1, b"\xff\xfe broken bytes \x1b[31m\n")
    os.write(1, b"x" * 200_000 + b"\n")
    os.write(1, b"unfinished")
    return 0


def describe(record: str) -> int:
    """Writes what we were started with, then idles."""
    fields = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    status = dict(fields)
    draft = Path(f"{record}.draft")
    facts = {
        "environment": dict(os.environ),
        "descriptors": dict(descriptors()),
        "comm": Path("/proc/self/comm").read_text().strip(),
        "session": os.getsid(0),
        "pid": os.getpid(),
        "blocked": int(status["SigBlk"], 16),
        "ignored": int(status["SigIgn"], 16),
        "caught": int(status["SigCgt"], 16),
        "umask": int(status["Umask"], 8),
        "threads": int(status["Threads"]),
        "arguments": sys.argv,
        "preloaded": "zmq" in sys.modules,
    }
    draft.write_text(json.dumps(facts))
    draft.replace(record)
    return idle()


def descriptors() -> Iterator[tuple[str, str]]:
    """Our open descriptors and what they are."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield link.name, str(link.readlink())


def say(**fields: object) -> None:
    """One log line as our processes write them."""
    entry = {"time": "2026-01-01T00:00:00.000+00:00", "level": "info", "process": "test"} | fields
    os.write(1, json.dumps(entry).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
