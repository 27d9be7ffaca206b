"""A real `gatewayd` tree with its own state directory, port and scripted models."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from gatewayd.client import Client, ClientError, connect
from tests.kit.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
STOP_LIMIT_S = 5.0
"""A tree must be gone this long after SIGTERM."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scripted(**scripts: list[dict[str, Any]]) -> dict[str, Any]:
    """Config with a scripted provider per name; the first one is the default model."""
    providers = {
        name: {"api": "scripted", "models": [{"id": "m"}], "script": script}
        for name, script in scripts.items()
    }
    primary = f"{next(iter(providers))}/m"
    return {
        "models": {"providers": providers},
        "agents": {"defaults": {"model": {"primary": primary}, "maxConcurrent": 8}},
    }


class Tree:
    """The processes of one profile."""

    def __init__(self, state_dir: Path, config: dict[str, Any], token: str | None = None) -> None:
        self.state_dir = state_dir
        self.port = free_port()
        self.token = token or secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        gateway = {"port": self.port, "auth": {"mode": "token", "token": self.token}}
        path = state_dir / "gatewayd.json"
        path.write_text(json.dumps({**config, "gateway": gateway | config.get("gateway", {})}))
        path.chmod(0o600)

    # Life

    def start(self) -> None:
        """Starts it and waits until every worker is heard."""
        outer = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAYD_")}
        with (self.state_dir / "stdout").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gatewayd", "--profile", "test"],
                cwd=ROOT,
                env={**outer, "GATEWAYD_STATE_DIR": str(self.state_dir)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Returns when every worker is heard."""
        wait_until(self.is_ready, 20, "the gateway is ready")

    def stop(self) -> None:
        """Ends it as a service manager does; whatever is left afterwards is an error."""
        if self.process is None:
            return
        everyone = self.everyone()
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S + 5)
        finally:
            left = [process for process in everyone if process.is_running()]
            for process in left:
                process.kill()
            self.process = None
        assert not left, f"left behind: {left}"

    def is_ready(self) -> bool:
        """Whether `/readyz` says yes."""
        assert self.process is not None
        assert self.process.poll() is None, self.output()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as said:
                return bool(said.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    # What it is made of

    def output(self) -> str:
        """What it printed."""
        return (self.state_dir / "stdout").read_text(errors="replace")

    def everyone(self) -> list[psutil.Process]:
        """The supervisor and all below it."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def pids(self) -> dict[str, int]:
        """Process ids by name, as the gateway tells them."""
        with self.client() as client:
            rows = client.call("status")["processes"]
        return {row["name"]: row["pid"] for row in rows}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signals one process of the tree; returns the pid it had."""
        pid = self.pids()[name]
        os.kill(pid, number)
        return pid

    def replaced(self, name: str, old_pid: int, deadline_s: float = 10.0) -> dict[str, int]:
        """The process ids once `name` has a new one and everything is ready."""
        wait_until(
            lambda: self.pids()[name] not in (None, old_pid), deadline_s, f"{name} has a new pid"
        )
        wait_until(self.is_ready, deadline_s, "the tree is whole")
        return self.pids()

    # Clients

    def client(self, **identity: Any) -> Client:
        """A connected operator."""
        return connect(f"ws://127.0.0.1:{self.port}", token=self.token, **identity)

    def patient_client(self, deadline_s: float = 10.0) -> Client:
        """The same, also while the front is being replaced."""

        def attempt() -> Client | None:
            try:
                return self.client()
            except ClientError:
                return None

        client = wait_until(attempt, deadline_s, "a client is connected")
        assert client is not None
        return client

    def outcome(self, run_id: str, deadline_s: float = 20.0) -> dict[str, Any]:
        """How a run ended, asked patiently."""

        def ask() -> dict[str, Any] | None:
            try:
                with self.client() as client:
                    said = client.call("agent.wait", {"runId": run_id, "timeoutMs": 1000})
            except ClientError:
                return None
            return said if said["status"] != "timeout" else None

        said = wait_until(ask, deadline_s, f"run {run_id} has ended")
        assert said is not None
        return said


@contextmanager
def running(state_dir: Path, config: dict[str, Any]) -> Iterator[Tree]:
    """A tree that runs for the length of the block."""
    tree = Tree(state_dir, config)
    try:
        tree.start()
        yield tree
    finally:
        tree.stop()
