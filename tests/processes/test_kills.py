"""kill -9 of each process with clients connected and runs under way."""

import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gatewayd.client import Client, ClientError, GatewayError
from tests.kit.gateway import Tree, running, scripted
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.processes

SLOW = [{"text": "one "}, {"sleep_ms": 1500}, {"text": "two"}]
QUICK = [{"text": "done"}]
WORKERS = ("agent", "channels", "web", "health")


def zombies_and_strangers(tree: Tree) -> list[str]:
    """Children of the supervisor that are dead but not reaped, or that nobody supervises."""
    known = set(tree.pids().values())
    assert tree.process is not None
    children = psutil.Process(tree.process.pid).children()
    dead = [f"zombie {p.pid}" for p in children if p.status() == psutil.STATUS_ZOMBIE]
    return dead + [f"stranger {p.pid}" for p in children if p.pid not in known]


def begin(client: Client, key: str, session: str) -> None:
    """Starts a run and returns once it was accepted."""
    params = {"message": "hello", "sessionKey": session, "idempotencyKey": key}
    said = client.call("agent", params)
    assert said["status"] == "accepted"


def await_start(client: Client, key: str) -> None:
    """Returns once the run has begun; one that has not is simply run by the next worker."""
    for event in client.events(timeout_s=10):
        if event.name == "agent" and event.payload["runId"] == key:
            return
    raise AssertionError(f"run {key} did not begin")


@pytest.mark.parametrize("name", WORKERS)
def test_a_killed_worker_comes_back_alone_and_clients_stay(tmp_path: Path, name: str) -> None:
    script = [{"sleep_ms": 60_000}] if name == "agent" else SLOW
    with running(tmp_path / "s", scripted(slow=script)) as tree, tree.client() as client:
        begin(client, "run-1", "main")
        await_start(client, "run-1")
        before = tree.pids()
        after = tree.replaced(name, tree.kill(name))
        others = set(before) - {name}
        assert {n: after[n] for n in others} == {n: before[n] for n in others}
        assert client.call("health")["sessions"] is not None
        said = tree.outcome("run-1")
        assert said["status"] == ("error" if name == "agent" else "ok")
        wait_until(lambda: not zombies_and_strangers(tree), 5, "nobody is left behind")


class Knocking:
    """Connects to a port again and again from a thread of its own."""

    def __init__(self, port: int) -> None:
        self.refused: list[str] = []
        self.count = 0
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._knock)

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._stop.is_set():
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
                self.count += 1
            except OSError as error:
                self.refused.append(str(error))


def test_the_front_is_back_and_no_connect_was_refused(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(slow=SLOW)) as tree:
        with tree.client() as client:
            begin(client, "run-1", "main")
        before = tree.pids()
        with Knocking(tree.port) as knocking:
            tree.kill("front")
            with tree.patient_client() as client:
                assert client.call("health") is not None
        assert not knocking.refused
        assert knocking.count > 0
        wait_until(tree.is_ready, 5, "every worker found the new front")
        after = tree.pids()
        assert {n: after[n] for n in WORKERS} == {n: before[n] for n in WORKERS}
        assert after["front"] != before["front"]
        assert tree.outcome("run-1")["status"] == "ok"


def test_callers_of_a_killed_worker_are_told_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(slow=SLOW)) as tree, tree.client() as client:
        begin(client, "run-1", "main")
        waiting = client.send("agent.wait", {"runId": "run-1", "timeoutMs": 60_000})
        tree.kill("agent")
        started = time.monotonic()
        with pytest.raises(GatewayError) as caught:
            client.wait(waiting, "agent.wait", timeout_s=10)
        assert caught.value.code == "UNAVAILABLE"
        assert caught.value.retryable
        assert caught.value.retry_after_ms
        assert time.monotonic() - started < 5


def test_a_repeated_key_is_the_same_run_across_a_restart(tmp_path: Path) -> None:
    params = {"message": "hello", "sessionKey": "main", "idempotencyKey": "once"}
    with running(tmp_path / "s", scripted(quick=QUICK)) as tree:
        with tree.client() as client:
            first = client.call("agent", params, on_accept=lambda _: None)
        tree.replaced("agent", tree.kill("agent"))
        with tree.client() as client:
            again = {**params, "message": "other"}
            assert client.call("agent", again, on_accept=lambda _: None) == first
            messages = client.call("chat.history", {"sessionKey": "main"})["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]


def test_grandchildren_of_a_killed_agent_are_gone(tmp_path: Path) -> None:
    marker = "31415926"
    script = [
        {"exec": ["sleep", marker], "detach": True},
        {"exec": ["sleep", marker]},
        {"text": "started"},
        {"sleep_ms": 60_000},
    ]

    def sleepers() -> list[int]:
        everyone = psutil.process_iter(["cmdline"])
        return [p.pid for p in everyone if marker in (p.info["cmdline"] or ())]

    with running(tmp_path / "s", scripted(spawning=script)) as tree, tree.client() as client:
        begin(client, "run-1", "main")
        wait_until(lambda: len(sleepers()) == 2, 10, "both grandchildren run")
        tree.kill("agent")
        wait_until(lambda: not sleepers(), 5, "the grandchildren are gone")
        assert tree.outcome("run-1")["status"] == "error"
        wait_until(lambda: not zombies_and_strangers(tree), 5)


def test_random_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    seed = 20261123
    dice = random.Random(seed)
    script = [{"text": "a"}, {"sleep_ms": 150}, {"text": "b"}]
    with running(tmp_path / "s", scripted(steady=script)) as tree:
        accepted: list[str] = []
        for number in range(15):
            key = f"run-{number}"
            if _submit(tree, key, f"session-{number % 4}"):
                accepted.append(key)
            if number % 2:
                name = dice.choice(("agent", "front", "agent", "channels", "health"))
                try:
                    tree.kill(name)
                except (ClientError, ProcessLookupError, TypeError):
                    continue  # it was just killed: the status has no pid for it
        wait_until(tree.is_ready, 15, "the tree is whole again")
        assert len(accepted) >= 10, f"seed {seed}"
        for key in accepted:
            assert tree.outcome(key)["status"] in ("ok", "error")
        assert _turns(tree, accepted)
        wait_until(lambda: not zombies_and_strangers(tree), 5)


def _submit(tree: Tree, key: str, session: str) -> bool:
    """Whether the run was accepted; asked again with the same key until it is answered."""
    for _ in range(50):
        try:
            with tree.patient_client() as client:
                begin(client, key, session)
                return True
        except (ClientError, AssertionError):
            continue
    return False


def _turns(tree: Tree, accepted: list[str]) -> bool:
    """Every accepted run left exactly one user turn, and at most one answer."""
    count = answers = 0
    with tree.client() as client:
        for number in range(4):
            params: dict[str, Any] = {"sessionKey": f"session-{number}", "limit": 1000}
            roles = [m["role"] for m in client.call("chat.history", params)["messages"]]
            count += roles.count("user")
            answers += roles.count("assistant")
    assert count == len(accepted)
    assert answers <= count
    return True
