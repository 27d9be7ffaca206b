"""Processes as the kernel shows them; a signal reaches the judged process or nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.health import machine
from workers.health.recovery import Action, Identity, Signal


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A child that waits for the end of its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def identity(pid: int) -> Identity:
    found = machine.child_of(os.getpid(), pid)
    assert found is not None
    return found


def test_the_judged_process_gets_the_signal(child: subprocess.Popen[bytes]) -> None:
    action = Action("agent", identity(child.pid), Signal.KILL)
    assert machine.send(action, os.getpid())
    assert child.wait(10) == -signal.SIGKILL


def test_a_process_with_another_start_time_gets_none(child: subprocess.Popen[bytes]) -> None:
    wrong = Identity(child.pid, identity(child.pid).started_ticks + 1)
    assert not machine.send(Action("agent", wrong, Signal.KILL), os.getpid())
    assert child.poll() is None


def test_a_process_of_another_parent_gets_none(child: subprocess.Popen[bytes]) -> None:
    action = Action("agent", identity(child.pid), Signal.KILL)
    assert not machine.send(action, os.getppid())
    assert child.poll() is None


def test_a_process_that_is_gone_is_no_error(child: subprocess.Popen[bytes]) -> None:
    action = Action("agent", identity(child.pid), Signal.KILL)
    child.kill()
    child.wait()
    assert not machine.send(action, os.getpid())


def test_the_tree_shows_children_and_grandchildren() -> None:
    script = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()']);"
        "print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        rows = {row.process.pid: row for row in machine.tree(os.getpid())}
        parent.communicate()
    assert rows[parent.pid].parent_pid == os.getpid()
    assert rows[grandchild].parent_pid == parent.pid


def test_a_dead_child_nobody_waited_for_is_a_zombie(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    rows = {row.process.pid: row for row in machine.tree(os.getpid())}
    assert rows[child.pid].is_zombie
    assert machine.child_of(os.getpid(), child.pid) is None


def test_the_size_of_a_folder_that_does_not_exist_is_nothing(tmp_path: Path) -> None:
    assert machine.logs_bytes(tmp_path / "none") == 0


def test_the_size_of_all_log_files_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 10)
    (tmp_path / "a.log.1").write_bytes(b"x" * 5)
    assert machine.logs_bytes(tmp_path) == 15
