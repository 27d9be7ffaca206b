"""What a supervised process finds when it starts, forked or executed."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from gatewayd.supervisor.child import ENTRIES, entry_of
from tests.kit.waiting import wait_until
from tests.supervisor.gateway import Gateway

pytestmark = pytest.mark.processes
FORK_AND_EXEC = pytest.mark.parametrize("how", ["fork", "exec"])


def facts(tmp_path: Path, program: str, how: str) -> dict[str, Any]:
    """What the process `program` of a tree reports about itself."""
    record = tmp_path / "facts"
    commands = {"front": "serve", "one": "idle"} | {program: f"describe {record}"}
    with Gateway(tmp_path / "state", commands, how) as gateway:
        found = json.loads(wait_until(lambda: record.exists() and record.read_text()))
        return found | {"supervisor": gateway.pid, "port": gateway.port}


@FORK_AND_EXEC
def test_the_front_finds_the_listening_sockets_and_nothing_else_of_ours(
    tmp_path: Path, how: str
) -> None:
    found = facts(tmp_path, "front", how)
    told = found["environment"]
    assert (told["LISTEN_PID"], told["LISTEN_FDNAMES"]) == (str(found["pid"]), "gateway:gateway")
    sockets = [fd for fd, target in found["descriptors"].items() if target.startswith("socket:")]
    assert sorted(sockets) == ["3", "4"]
    assert told["LISTEN_FDS"] == "2"
    _check_standard_descriptors(found["descriptors"], others=["3", "4"])


@FORK_AND_EXEC
def test_a_worker_finds_no_socket_no_lock_and_no_pipe_of_the_supervisor(
    tmp_path: Path, how: str
) -> None:
    found = facts(tmp_path, "one", how)
    assert "LISTEN_FDS" not in found["environment"]
    _check_standard_descriptors(found["descriptors"], others=[])


def _check_standard_descriptors(descriptors: dict[str, str], others: list[str]) -> None:
    open_by_listing = {fd for fd, target in descriptors.items() if "/fd" in target}
    assert set(descriptors) - open_by_listing == {"0", "1", "2", *others}
    assert descriptors["0"] == os.devnull
    assert descriptors["1"] == descriptors["2"]
    assert descriptors["1"].startswith("pipe:")


@FORK_AND_EXEC
def test_a_process_is_told_who_it_belongs_to(tmp_path: Path, how: str) -> None:
    found = facts(tmp_path, "one", how)
    told, state = found["environment"], tmp_path / "state"
    assert told["GATEWAYD_PROFILE"] == "main"
    assert told["GATEWAYD_STATE_DIR"] == str(state)
    assert told["GATEWAYD_CONFIG_PATH"] == str(state / "gatewayd.json")
    assert told["GATEWAYD_PORT"] == str(found["port"])
    assert told["GATEWAYD_RESTARTS"] == "0"
    assert told["GATEWAYD_SUPERVISOR_PID"] == str(found["supervisor"])


@FORK_AND_EXEC
def test_a_process_starts_with_clean_signals_in_a_session_of_its_own(
    tmp_path: Path, how: str
) -> None:
    found = facts(tmp_path, "one", how)
    assert found["session"] == found["pid"]
    assert (found["blocked"], found["threads"]) == (0, 1)
    assert found["caught"] == 1 << (signal.SIGINT - 1)  # Python's KeyboardInterrupt
    # The C library's own signals (32 and up) are as whoever started us left them.
    ordinary = (1 << 31) - 1
    assert found["ignored"] & ordinary == 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert found["arguments"][1:] == ["describe", str(tmp_path / "facts")]


def test_a_forked_process_has_its_own_name_and_the_libraries_already(tmp_path: Path) -> None:
    found = facts(tmp_path, "one", "fork")
    assert (found["comm"], found["preloaded"]) == ("gw-one", True)


def test_a_restarted_process_knows_how_often_it_was_started(tmp_path: Path) -> None:
    record = tmp_path / "facts"
    commands = {"front": "serve", "one": f"describe {record}"}
    with Gateway(tmp_path / "state", commands) as gateway:
        first = json.loads(wait_until(lambda: record.exists() and record.read_text()))
        record.unlink()
        os.kill(first["pid"], signal.SIGKILL)
        again = json.loads(wait_until(lambda: record.exists() and record.read_text()))
        assert again["environment"]["GATEWAYD_RESTARTS"] == "1"
        assert gateway.pids()["one"] == again["pid"]


def test_only_our_own_programs_run_in_a_forked_image() -> None:
    python = sys.executable
    assert entry_of((python, "-m", "workers", "agent"), ENTRIES) == "workers.__main__"
    assert entry_of((python, "-m", "gatewayd.front"), ENTRIES) == "gatewayd.front.__main__"
    assert entry_of((python, "-m", "http.server"), ENTRIES) is None
    assert entry_of(("/bin/sleep", "-m", "workers"), ENTRIES) is None
    assert entry_of((python, "-m", "workers", "agent"), {}) is None
