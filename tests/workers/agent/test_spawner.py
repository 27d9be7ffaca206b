"""Whoever dies, no run stays behind: worker, spawner, and the tree's own functions."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.workers.agent.runs_kit import ends, is_there
from workers.agent import tree

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[3]
DEATH_BUDGET_S = 2.0


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has runs under way."""
    command = [sys.executable, "-m", "tests.workers.agent.lone_worker"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def runs_of(worker: subprocess.Popen[bytes]) -> list[int]:
    """Pids of its run processes and of what they started."""
    assert worker.stdout is not None
    pids = msgspec.json.decode(worker.stdout.readline(), type=list[int])
    assert len(pids) == 6
    assert all(is_there(pid) for pid in pids)
    return pids


def test_when_the_worker_is_killed_its_runs_and_their_daemons_end(
    worker: subprocess.Popen[bytes],
) -> None:
    pids = runs_of(worker)
    (spawner,) = tree.children(worker.pid)
    worker.kill()
    assert [pid for pid in pids if not ends(pid, DEATH_BUDGET_S)] == []
    assert ends(spawner, DEATH_BUDGET_S)


def test_when_the_spawner_is_killed_runs_end_and_the_worker_with_an_error(
    worker: subprocess.Popen[bytes],
) -> None:
    pids = runs_of(worker)
    (spawner,) = tree.children(worker.pid)
    os.kill(spawner, signal.SIGKILL)
    assert [pid for pid in pids if not ends(pid, DEATH_BUDGET_S)] == []
    assert worker.wait(timeout=DEATH_BUDGET_S * 2) == 1
    assert worker.stderr is not None
    assert b"SpawnerLostError" in worker.stderr.read()


def test_a_spawner_that_is_told_to_stop_by_signal_goes_on(
    worker: subprocess.Popen[bytes],
) -> None:
    pids = runs_of(worker)
    (spawner,) = tree.children(worker.pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(spawner, number)
    assert not ends(spawner, 0.1)
    assert all(is_there(pid) for pid in pids)


def test_a_record_kills_its_own_process_and_no_other() -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        started = tree.start_time(sleeper.pid)
        assert started is not None
        assert not tree.kill_if_same(sleeper.pid, started - 1)
        assert sleeper.poll() is None
        assert tree.kill_if_same(sleeper.pid, started)
        assert sleeper.wait(timeout=DEATH_BUDGET_S) == -signal.SIGKILL
    assert not tree.kill_if_same(sleeper.pid, started)


def test_a_process_with_an_odd_name_has_a_start_time(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as sleeper:
        assert tree.start_time(sleeper.pid) == tree.start_time(sleeper.pid)
        assert (tree.start_time(sleeper.pid) or 0) >= (tree.start_time(os.getpid()) or 0) > 0
        sleeper.kill()


def test_descendants_are_the_whole_tree() -> None:
    command = ["sh", "-c", "sh -c 'sleep 1000 & echo x; wait' & wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        below = tree.descendants(shell.pid)
        assert len(below) == 2
        tree.kill_tree(shell.pid)
        assert all(ends(pid, DEATH_BUDGET_S) for pid in below)
