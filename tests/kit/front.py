"""A real front process alone on a free port, and real test workers beside it."""

import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.waiting import wait_until
from tests.kit.wire import Wire

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "the-token-of-the-tests"
_LAUNCH = (
    "import os, sys\n"
    "given = [int(text) for text in sys.argv[1].split(',')]\n"
    "for at, number in enumerate(given):\n"
    "    os.dup2(number, 3 + at)\n"
    "os.environ['LISTEN_FDS'] = str(len(given))\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'gatewayd.front'])\n"
)


def listeners() -> list[socket.socket]:
    """A free port on 127.0.0.1, and the same one on ::1 where there is IPv6."""
    first = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = first.getsockname()[1]
    try:
        second = socket.create_server(("::1", port), family=socket.AF_INET6, backlog=4096)
    except OSError:
        return [first]
    return [first, second]


class Process:
    """A child process with its log lines."""

    def __init__(self, command: list[str], state_dir: Path, pass_fds: tuple[int, ...] = ()) -> None:
        environ = {**os.environ, "GATEWAYD_STATE_DIR": str(state_dir), "LISTEN_PID": "",
                   "GATEWAYD_LOG_LEVEL": "debug", "PYTHONPATH": str(ROOT)}  # fmt: skip
        for name in ("GATEWAYD_TOKEN", "GATEWAYD_PASSWORD", "GATEWAYD_CONFIG_PATH"):
            environ.pop(name, None)
        self.popen = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, pass_fds=pass_fds,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def entries(self) -> list[dict[str, Any]]:
        """The log so far; lines that are no JSON are shown as `raw`."""
        return [_entry(line) for line in self.lines]

    def events(self) -> list[str]:
        return [str(entry.get("event")) for entry in self.entries()]

    def faults(self) -> list[dict[str, Any]]:
        """Log entries that no well-behaved process writes: tracebacks and plain text."""
        return [entry for entry in self.entries() if "traceback" in entry or "raw" in entry]

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number: int) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.popen.wait(10)
        self._reader.join(5)
        assert self.popen.stdout is not None
        self.popen.stdout.close()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.decode(errors="replace"))


def _entry(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"raw": line}
    return entry


class FrontProcess(Process):
    """The front under test."""

    def __init__(self, config: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="gw")
        self.state_dir = Path(self._directory.name)
        (self.state_dir / "run").mkdir(mode=0o700)
        self.bus_key = secrets.token_bytes(32)
        (self.state_dir / "run/bus.key").write_bytes(self.bus_key)
        text = config or f'{{gateway:{{auth:{{token:"{TOKEN}"}}}}}}'
        (self.state_dir / "gatewayd.json").write_text(text)
        self.listeners = listeners()
        self.port = int(self.listeners[0].getsockname()[1])
        self.workers: list[Process] = []
        self.start()

    def start(self) -> None:
        """Starts (again) with the same sockets and state."""
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 200) for s in self.listeners]
        numbers = ",".join(map(str, high))
        command = [sys.executable, "-c", _LAUNCH, numbers]
        super().__init__(command, self.state_dir, tuple(high))
        for number in high:
            os.close(number)
        wait_until(lambda: "port open" in self.events(), 20)

    @property
    def endpoint(self) -> str:
        return f"ipc://{self.state_dir}/run/bus"

    def connect(self, **params: Any) -> Wire:
        """A client after hello-ok."""
        return Wire.connected(self.port, TOKEN, **params)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of one of the front's own paths."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{sample} "):
                    return float(line.rpartition(" ")[2])
        raise LookupError(sample)

    def worker(self, name: str = "agent") -> Process:
        """A test worker, announced."""
        before = self.events().count("worker ready")
        worker = Process([sys.executable, "-m", "tests.kit.worker", name], self.state_dir)
        self.workers.append(worker)
        wait_until(lambda: self.events().count("worker ready") > before, 20)
        return worker

    def stop(self) -> None:
        """Kills it; `start` brings it back with the same sockets and state."""
        super().end()

    def end(self) -> None:
        for worker in self.workers:
            worker.end()
        super().end()
        for listener in self.listeners:
            listener.close()
        self._directory.cleanup()


@contextmanager
def running(config: str = "") -> Iterator[FrontProcess]:
    """A front for one test; what it must never log is checked at the end."""
    front = FrontProcess(config)
    try:
        yield front
    finally:
        front.end()
    assert front.faults() == []


def state_of(front: FrontProcess, worker: str) -> str:
    """A worker's state as /readyz tells it."""
    return str(front.get("/readyz")[1]["workers"][worker])
