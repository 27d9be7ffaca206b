"""Starts and stops what is measured: the gateway's tree and the Node yardstick."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.bench.client import Client
from tests.bench.generator import Port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_TIMEOUT_S = 30.0
POLL_S = 0.002


class NotServingError(Exception):
    """A server did not come up, or did not come back."""


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S
) -> None:
    """Poll a condition until it holds; raises NotServingError after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotServingError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)


class Gateway:
    """One profile in a folder of its own; start and stop it as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(32)
        self.number = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700, parents=True)
        config = folder / "gatewayd.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        config.chmod(0o600)

    def _config(self) -> dict[str, Any]:
        scripted = {"api": "scripted", "models": [{"id": "bench"}], "script": [{"text": "done"}]}
        return {
            "gateway": {"port": self.number, "auth": {"mode": "token", "token": self.token}},
            "models": {"providers": {"scripted": scripted}},
            "agents": {"defaults": {"model": {"primary": "scripted/bench"}}},
        }

    @property
    def port(self) -> Port:
        """Where the load generator connects."""
        return Port(self.number, self.token)

    @property
    def environment(self) -> dict[str, str]:
        """What the gateway and its command line are started with."""
        outer = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAYD_")}
        return {**outer, "GATEWAYD_STATE_DIR": str(self.folder)}

    def start(self) -> None:
        """Start the tree and return at once."""
        command = [str(Path(sys.executable).parent / "gatewayd"), "--profile", "bench"]
        with (self.folder / "stdout.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for whatever of the tree is left."""
        if self._process is None:
            return
        tree = self.tree()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    def tree(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        if self._process is None or self._process.poll() is not None:
            return []
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def answers(self, path: str) -> bool:
        """Whether an HTTP GET is answered with 200."""
        if self._process is not None and self._process.poll() is not None:
            raise NotServingError(f"gatewayd exited: {self.last_words()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def last_words(self) -> str:
        """The end of what the tree printed."""
        lines = (self.folder / "stdout.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-5:])

    def wait_ready(self) -> None:
        """Until every worker is heard from."""
        wait_until(lambda: self.answers("/readyz"), "/readyz")

    def client(self, timeout_s: float = 30.0) -> Client:
        """A connected operator."""
        return Client(self.number, self.token, timeout_s)

    def pid(self, name: str) -> int:
        """The pid of a process of the tree, as `gatewayctl status` names it; 0 when it is down."""
        command = [str(Path(sys.executable).parent / "gatewayctl"), "status", "--json"]
        ran = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        try:
            processes = json.loads(ran.stdout)["processes"]
        except (ValueError, KeyError) as error:
            raise NotServingError(f"gatewayctl status --json: {ran.stderr.strip()}") from error
        return next((one["pid"] or 0 for one in processes if one["name"] == name), 0)


def cpu_s(processes: list[psutil.Process]) -> float:
    """CPU seconds the processes have used."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    """A gateway that is ready to serve."""
    gateway = Gateway(folder)
    try:
        gateway.start()
        gateway.wait_ready()
        yield gateway
    finally:
        gateway.stop()


@contextlib.contextmanager
def yardstick(
    node: str, payloads: dict[str, Any], folder: Path
) -> Iterator[tuple[Port, psutil.Process]]:
    """npm ws in one Node process, answering with the given payloads."""
    file = folder / "payloads.json"
    file.write_text(json.dumps(payloads), encoding="utf-8")
    command = [node, str(HERE / "ws_server.mjs"), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise NotServingError("the Node server did not start; its message is above")
            yield Port(int(line)), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
