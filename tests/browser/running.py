"""A real gateway for the browser: its own state directory, port and scripted model."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewayd.client import Client, connect
from tests.kit.eventually import eventually, run

TOKEN = "browser-test-token"
STOP_S = 10


@dataclass
class Running:
    """A gateway that runs, until `stop`."""

    port: int
    state_dir: Path
    process: subprocess.Popen[bytes]

    @property
    def page(self) -> str:
        """Address of the web chat, without the token."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def link(self) -> str:
        """Address of the web chat, with the token."""
        return f"{self.page}#token={TOKEN}"

    def connect(self) -> Client:
        """A client with all rights."""
        return connect(f"ws://127.0.0.1:{self.port}", token=TOKEN)

    def pid_of(self, name: str) -> int:
        """Process id of one process of the tree."""
        with self.connect() as client:
            rows = client.call("status")["processes"]
        (pid,) = [row["pid"] for row in rows if row["name"] == name]
        return int(pid)

    def kill(self, name: str) -> None:
        """Kills one process of the tree at once."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    def await_ready(self) -> None:
        """Returns when every worker is heard."""
        # Playwright keeps an event loop in this thread.
        with ThreadPoolExecutor(1) as thread:
            ready = eventually(self._is_ready, f"the gateway on port {self.port} is ready")
            thread.submit(run, ready).result()

    def stop(self) -> None:
        """Ends the whole tree."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.page}readyz", timeout=2) as answer:
                return answer.status == 200
        except (OSError, urllib.error.HTTPError):
            return False


def start(state_dir: Path, script: list[dict[str, Any]]) -> Running:
    """Starts a gateway whose model plays `script`; returns when it is ready."""
    port = free_port()
    state_dir.mkdir(mode=0o700, exist_ok=True)
    (state_dir / "gatewayd.json").write_text(json.dumps(config(port, script)))
    environment = {**os.environ, "GATEWAYD_STATE_DIR": str(state_dir)}
    for name in ("GATEWAYD_PORT", "GATEWAYD_TOKEN", "GATEWAYD_PASSWORD", "GATEWAYD_CONFIG_PATH"):
        environment.pop(name, None)
    with (state_dir / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gatewayd", "--profile", "test"],
            cwd=Path(__file__).resolve().parents[2],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Running(port, state_dir, process)
    try:
        running.await_ready()
    except BaseException as error:
        running.stop()
        raise AssertionError(f"{error}\n{(state_dir / 'output').read_text()}") from error
    return running


def config(port: int, script: list[dict[str, Any]]) -> dict[str, Any]:
    """The config file of such a gateway."""
    return {
        "gateway": {"port": port, "auth": {"token": TOKEN}},
        "models": {"providers": {"play": {"api": "scripted", "script": script}}},
        "agents": {"defaults": {"model": {"primary": "play/script"}}},
    }


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
