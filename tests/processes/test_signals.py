"""Stopping, replacing, and processes that hang."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from gatewayd.client import Client, ClientError, ClosedError
from tests.kit.gateway import STOP_LIMIT_S, Tree, running, scripted
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.processes

SLOW = [{"text": "one "}, {"sleep_ms": 1000}, {"text": "two"}]
ENDLESS = [{"text": "one "}, {"sleep_ms": 600_000}]


def farewell(client: Client) -> tuple[list[str], int]:
    """Topics a client hears until it is closed, and the close code."""
    heard = []
    try:
        heard.extend(event.name for event in client.events(timeout_s=10))
    except ClosedError as error:
        return heard, error.code
    return heard, 0


def test_sigterm_says_goodbye_to_everyone_and_ends_the_tree(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "s", scripted(endless=ENDLESS))
    tree.start()
    assert tree.process is not None
    with ExitStack() as closing:
        clients = [closing.enter_context(tree.client()) for _ in range(20)]
        params = {"message": "hi", "sessionKey": "main", "idempotencyKey": "k"}
        clients[0].call("agent", params)
        everyone = tree.everyone()
        started = time.monotonic()
        tree.process.terminate()
        for client in clients:
            heard, code = farewell(client)
            assert "shutdown" in heard
            assert code == 1012
    assert tree.process.wait(10) == 0
    assert time.monotonic() - started < STOP_LIMIT_S
    wait_until(lambda: not any(p.is_running() for p in everyone), 1, "all are gone")
    tree.start()
    try:
        assert tree.outcome("k")["status"] == "error"
    finally:
        tree.stop()


def test_sigterm_ends_a_tree_whose_workers_hang(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "s", scripted(slow=SLOW))
    tree.start()
    assert tree.process is not None
    everyone = tree.everyone()
    for name in ("agent", "web"):
        tree.kill(name, signal.SIGSTOP)
    started = time.monotonic()
    tree.process.terminate()
    assert tree.process.wait(10) == 0
    assert time.monotonic() - started < STOP_LIMIT_S
    assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_sigusr1_replaces_every_worker_and_no_client_notices(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(slow=SLOW)) as tree, tree.client() as client:
        params = {"message": "hi", "sessionKey": "main", "idempotencyKey": "k"}
        client.call("agent", params)
        before = tree.pids()
        assert tree.process is not None
        os.kill(tree.process.pid, signal.SIGUSR1)
        workers = ("agent", "channels", "web", "health")
        wait_until(
            lambda: all((now := tree.pids())[n] not in (None, before[n]) for n in workers) and now,
            30,
            "every worker was replaced",
        )
        after = tree.pids()
        assert after["front"] == before["front"]
        assert after["supervisor"] == before["supervisor"]
        assert client.call("health") is not None
        # What had begun was finished by the old process before it left.
        assert tree.outcome("k")["status"] == "ok"


@pytest.mark.parametrize("how", ["stopped", "spinning"])
def test_a_hung_worker_does_not_move_the_front(tmp_path: Path, how: str) -> None:
    script = [{"spin_ms": 4000}, {"text": "x"}]
    with running(tmp_path / "s", scripted(spinning=script)) as tree, tree.client() as client:
        if how == "stopped":
            tree.kill("agent", signal.SIGSTOP)
        else:
            for number in range(4):
                key = f"k{number}"
                params = {"message": "hi", "sessionKey": key, "idempotencyKey": key}
                client.call("agent", params)
        took = sorted(_timed(client) for _ in range(300))
        # Two cores are shared with everything else here; a blocked front would show seconds.
        assert took[-3] < 0.25
        if how == "stopped":
            wait_until(lambda: "silent" in str(client.call("status")["problems"]), 10)


def _timed(client: Client) -> float:
    started = time.monotonic()
    client.call("health")
    return time.monotonic() - started


def test_supervisorctl_lists_and_restarts(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(slow=SLOW)) as tree:
        before = tree.pids()
        socket_url = f"unix://{tree.state_dir}/run/supervisor.sock"

        def control(*words: str) -> str:
            command = [sys.executable, "-m", "supervisor.supervisorctl", "-s", socket_url, *words]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout

        listed = control("status")
        for name in ("front", "agent", "channels", "web", "health"):
            assert name in listed
        assert listed.count("RUNNING") == 5
        assert "agent: started" in control("restart", "agent")
        wait_until(tree.is_ready, 10)
        assert tree.pids()["agent"] != before["agent"]


def test_a_client_that_never_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "s", scripted(slow=SLOW))
    tree.start()
    assert tree.process is not None
    with ExitStack() as closing:
        deaf = [closing.enter_context(tree.client()) for _ in range(5)]
        started = time.monotonic()
        tree.process.terminate()
        assert tree.process.wait(10) == 0
        assert time.monotonic() - started < STOP_LIMIT_S
        for client in deaf:
            with pytest.raises(ClientError):
                client.call("health")
