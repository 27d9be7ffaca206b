"""A real gateway as the browser tests see it: its page, its link, one process killed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gatewayd.client import Client
from tests.kit.gateway import Tree

TOKEN = "browser-test-token"


class Running(Tree):
    """A gateway that runs, until `stop`."""

    @property
    def page(self) -> str:
        """Address of the web chat, without the token."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def link(self) -> str:
        """Address of the web chat, with the token."""
        return f"{self.page}#token={self.token}"

    def connect(self) -> Client:
        """A client with all rights."""
        return self.client()

    def pid_of(self, name: str) -> int:
        """Process id of one process of the tree."""
        return self.pids()[name]

    def await_ready(self) -> None:
        """Returns when every worker is heard."""
        with ThreadPoolExecutor(1) as thread:  # Playwright keeps an event loop in this one
            thread.submit(self.wait_ready).result()


def start(state_dir: Path, script: list[dict[str, Any]]) -> Running:
    """Starts a gateway whose model plays `script`; returns when it is ready."""
    play = {"api": "scripted", "models": [{"id": "script"}], "script": script}
    config = {
        "models": {"providers": {"play": play}},
        "agents": {"defaults": {"model": {"primary": "play/script"}}},
    }
    running = Running(state_dir, config, token=TOKEN)
    try:
        running.start()
    except BaseException:
        running.stop()
        raise
    return running
