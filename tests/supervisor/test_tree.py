"""The tree with real processes: kills, orphans, replacement, the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.waiting import wait_until
from tests.supervisor.gateway import ROOT, Gateway, children_of, is_alive

pytestmark = pytest.mark.processes

FORK_AND_EXEC = pytest.mark.parametrize("how", ["fork", "exec"])
TREE = {"front": "serve", "one": "idle", "two": "idle"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "state", TREE) as gateway:
        gateway.wait_ready(2)
        yield gateway


def ask(port: int, timeout_s: float = 5.0) -> int:
    """The pid of the front that answers a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        return int(connection.makefile().readline())


@FORK_AND_EXEC
def test_a_killed_process_is_replaced_and_the_others_keep_their_pid(
    tmp_path: Path, how: str
) -> None:
    with Gateway(tmp_path / "state", TREE, how) as gateway:
        before = gateway.pids()
        os.kill(before["one"], signal.SIGKILL)
        gateway.wait_new_pid("one", before["one"])
        after = gateway.pids()
    assert after | {"one": 0} == before | {"one": 0}


def test_after_the_front_is_killed_the_next_connect_waits_and_is_served(tree: Gateway) -> None:
    gaps_s = []
    for _ in range(5):
        front = ask(tree.port)
        killed_s = time.monotonic()
        os.kill(front, signal.SIGKILL)
        # The dying front may still hold the socket for a moment; a refused connect would raise.
        served = wait_until(lambda old=front: ask_newer(tree.port, old))
        gaps_s.append(time.monotonic() - killed_s)
        assert served != front
    assert sorted(gaps_s)[2] < 0.3, gaps_s


def ask_newer(port: int, old: int) -> int:
    """The pid of the front that answers, unless it is the old one or the answer was cut off."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        try:
            line = connection.makefile().readline()
        except ConnectionResetError:  # accepted by the old front just before it died
            return 0
    return int(line) if line and int(line) != old else 0


def test_connects_while_no_front_lives_are_served_by_the_next_one(tree: Gateway) -> None:
    front = tree.pids()["front"]
    tree.rpc("stopProcess", "front")
    waiting = [socket.create_connection(("127.0.0.1", tree.port), 5) for _ in range(50)]
    tree.rpc("startProcess", "front")
    answers = {int(one.makefile().readline()) for one in waiting}
    for one in waiting:
        one.close()
    assert answers == {tree.pids()["front"]}
    assert front not in answers


@FORK_AND_EXEC
def test_what_a_killed_process_leaves_behind_is_gone_and_no_zombie_stays(
    tmp_path: Path, how: str
) -> None:
    record = tmp_path / "pids"
    commands = {"front": "serve", "one": f"parent {record}"}
    with Gateway(tmp_path / "state", commands, how) as gateway:
        left_behind = json.loads(wait_until(lambda: record.exists() and record.read_text()))
        assert len(left_behind) == 3
        old = gateway.pids()["one"]
        record.unlink()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, left_behind)), 5, f"{left_behind} gone")
        gateway.wait_new_pid("one", old)
        ours = set(gateway.pids().values())
        wait_until(lambda: set(children_of(gateway.pid)) == ours, 5, "no strangers")
        assert "orphan killed" in gateway.events()


def test_a_child_we_were_born_with_is_no_stranger(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "probe", {"front": "serve"})
    gateway.close()
    script = f'sleep 600 & echo $! > {tmp_path}/pid; exec "$@"'
    command = ["sh", "-c", script, "sh", *gateway.command, str(gateway.port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=gateway.environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(gateway._is_running)
        front = gateway.pids()["front"]
        os.kill(front, signal.SIGKILL)
        gateway.wait_new_pid("front", front)
        sleeper = int((tmp_path / "pid").read_text())
        assert sleeper in children_of(process.pid)
    finally:
        process.kill()
        process.wait(10)
        os.kill(sleeper, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_the_tree_with_code_0(tree: Gateway, number: signal.Signals) -> None:
    pids = tree.pids()
    tree.process.send_signal(number)
    assert tree.process.wait(5) == 0
    assert not any(map(is_alive, pids.values()))
    assert tree.events()[-1] == "stopped"
    ended = [entry["name"] for entry in tree.entries() if entry["event"] == "process ended"]
    assert ended[0] == "front"


@FORK_AND_EXEC
def test_the_tree_ends_within_5_s_whatever_hangs(tmp_path: Path, how: str) -> None:
    commands = {"front": "stubborn", "one": "stubborn", "two": "idle", "three": "idle"}
    with Gateway(tmp_path / "state", commands, how) as gateway:
        gateway.wait_ready(4)
        pids = gateway.pids()
        os.kill(pids["two"], signal.SIGSTOP)
        gateway.process.terminate()
        asked_s = time.monotonic()
        assert gateway.process.wait(6) == 0
        assert time.monotonic() - asked_s < 5
        assert not any(map(is_alive, pids.values()))


def test_a_second_sigint_kills_at_once(tmp_path: Path) -> None:
    with Gateway(tmp_path / "state", {"front": "stubborn", "one": "stubborn"}) as gateway:
        gateway.wait_ready(2)
        pids = gateway.pids()
        gateway.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in gateway.events())
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(1) == 0
        assert not any(map(is_alive, pids.values()))


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with Gateway(tmp_path / "state", {"front": "stubborn", "one": "stubborn"}) as gateway:
        gateway.wait_ready(2)
        pids = gateway.pids()
        gateway.process.kill()
        wait_until(lambda: not any(map(is_alive, pids.values())), 5)


def test_sigusr1_replaces_the_workers_one_by_one_and_not_the_front(tree: Gateway) -> None:
    before = tree.pids()
    tree.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "workers replaced" in tree.events())
    after = tree.pids()
    assert after["front"] == before["front"]
    assert after["one"] != before["one"]
    assert after["two"] != before["two"]
    steps = [(e["name"], e["event"]) for e in tree.entries() if e["event"].startswith("process ")]
    started, ended = "process started", "process ended"
    assert steps[-4:] == [("one", ended), ("one", started), ("two", ended), ("two", started)]


def test_a_stop_beats_a_replacement_under_way(tmp_path: Path) -> None:
    with Gateway(tmp_path / "state", {"front": "serve", "one": "stubborn"}) as gateway:
        gateway.wait_ready(1)
        old = gateway.pids()["one"]
        gateway.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "replacing workers" in gateway.events())
        gateway.process.terminate()
        assert gateway.process.wait(5) == 0
        assert not is_alive(old)
        assert gateway.events().count("process started") == 2


def test_stock_supervisorctl_lists_and_restarts(tree: Gateway) -> None:
    old = tree.pids()["one"]
    assert supervisorctl(tree, "status").count("RUNNING") == 3
    assert supervisorctl(tree, "restart", "one").splitlines() == ["one: stopped", "one: started"]
    assert tree.pids()["one"] not in (0, old)
    assert tree.socket_path.stat().st_mode & 0o777 == 0o600


def test_supervisorctl_reload_replaces_and_shutdown_stops(tree: Gateway) -> None:
    before = tree.pids()
    tree.rpc("restart")
    wait_until(lambda: "workers replaced" in tree.events())
    assert tree.pids()["front"] == before["front"]
    assert "fixed" in supervisorctl(tree, "reread")
    tree.rpc("shutdown")
    assert tree.process.wait(5) == 0


def supervisorctl(gateway: Gateway, *words: str) -> str:
    """What the stock program prints."""
    program = Path(sys.executable).with_name("supervisorctl")
    command = [program, "-s", f"unix://{gateway.socket_path}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout


def test_a_worker_that_keeps_dying_is_degraded_and_the_rest_lives(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "state", {"front": "serve", "one": "crash"})
    with closing(gateway):
        wait_until(lambda: gateway.states().get("one", {}).get("statename") == "FATAL")
        assert ask(gateway.port) == gateway.pids()["front"]
        starts = [e for e in gateway.entries() if e.get("name") == "one" and "starts" in e]
        assert len(starts) == 11
        failed = next(e for e in gateway.entries() if e["event"] == "program failed")
        assert failed["error"] == "RuntimeError: on purpose, token=***"


def test_a_front_that_keeps_dying_is_tried_on(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "state", {"front": "crash", "one": "idle"})
    with closing(gateway):
        wait_until(lambda: gateway.events().count("process delayed: it keeps dying") >= 3)
        assert gateway.states()["front"]["statename"] in ("BACKOFF", "EXITED", "RUNNING")
