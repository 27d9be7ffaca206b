"""A real supervisor with test programs under it, and what tests ask of it."""

import json
import os
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from tests.kit.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def program_list(commands: Mapping[str, str]) -> str:
    """A list of programs with the defaults of the real one; `commands` are our test programs."""
    real = RawConfigParser()
    real.read_string((ROOT / "conf/supervisord.conf").read_text())
    defaults = "\n".join(f"{key}={value}" for key, value in real.defaults().items())
    blocks = [
        f"[program:{name}]\ncommand=%(python)s -m tests.supervisor.programs {command}\n"
        f"priority={priority}"
        for priority, (name, command) in enumerate(commands.items(), 10)
    ]
    return "\n\n".join([f"[DEFAULT]\n{defaults}", *blocks])


class Gateway:
    """A running supervisor; `close` ends it whatever its state."""

    def __init__(self, state_dir: Path, commands: Mapping[str, str], how: str = "fork") -> None:
        self.state_dir = state_dir
        self.port = free_port()
        self.output = state_dir.with_name(f"{state_dir.name}.out")
        listing = state_dir.with_name(f"{state_dir.name}.conf")
        listing.write_text(program_list(commands))
        self.command = [sys.executable, "-m", "tests.supervisor.launcher", how, str(listing)]
        self.environment = {**os.environ, "GATEWAYD_STATE_DIR": str(state_dir)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*self.command, str(self.port)],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def socket_path(self) -> Path:
        return self.state_dir / "run/supervisor.sock"

    def __enter__(self) -> "Gateway":
        try:
            self.wait_running()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; its children die with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def wait_running(self) -> None:
        """Until every program was started once and stays up."""
        wait_until(
            lambda: self.process.poll() is not None or self._is_running(),
            what="running: " + self.text(),
        )
        assert self.process.poll() is None, self.text()

    def _is_running(self) -> bool:
        states = self.states() if self.socket_path.exists() else {}
        return bool(states) and all(one["pid"] for one in states.values())

    def rpc(self, method: str, *arguments: object) -> Any:
        """Calls a method of supervisor's RPC interface with its own client."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket_path}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def states(self) -> dict[str, dict[str, Any]]:
        """All processes as supervisor sees them, by name."""
        try:
            return {one["name"]: one for one in self.rpc("getAllProcessInfo")}
        except OSError:
            return {}

    def pids(self) -> dict[str, int]:
        return {name: one["pid"] for name, one in self.states().items()}

    def wait_new_pid(self, name: str, old: int, timeout_s: float = 5.0) -> int:
        """The pid of the process that follows `old`."""
        return wait_until(
            lambda: (pid := self.pids().get(name, 0)) != old and pid,
            timeout_s,
            f"a new {name}",
        )

    def wait_ready(self, count: int) -> None:
        """Until `count` programs have said that they are ready."""
        wait_until(
            lambda: len([e for e in self.entries() if e["event"] == "ready"]) >= count,
            what="ready",
        )

    def text(self) -> str:
        """What people saw so far."""
        return self.output.read_text(errors="replace")

    def entries(self) -> list[dict[str, Any]]:
        """The log file so far."""
        path = self.state_dir / "logs/gatewayd.log"
        if not path.exists():
            return []
        complete = path.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines()]

    def events(self) -> list[str]:
        """The names of what was logged."""
        return [entry["event"] for entry in self.entries()]


def is_alive(pid: int) -> bool:
    """Whether a process exists, zombies included."""
    return Path(f"/proc/{pid}").exists()


def children_of(pid: int) -> list[int]:
    """The children of a process, zombies included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
