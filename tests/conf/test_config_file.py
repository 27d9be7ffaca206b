"""Changes of the config file: checked first, one at a time, whole or not at all."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conf import config_file
from conf.config_file import BusyError, ChangeError, change, snapshot
from tests.kit.waiting import wait_until

TEXT = '{ gateway: { auth: { token: "${TOKEN}" }, port: 20000 } } // mine\n'
ENV = {"TOKEN": "t"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "gatewayd.json"
    file.write_text(TEXT)
    file.chmod(0o600)
    return file


def to(text: str) -> Callable[[config_file.Snapshot], str]:
    return lambda _: text


def replaced(path: Path, text: str, base_hash: str | None = None) -> None:
    change(path, base_hash or snapshot(path, ENV).hash, to(text), ENV)


def test_a_snapshot_tells_text_content_and_hash(path: Path):
    found = snapshot(path, ENV)
    assert (found.exists, found.is_valid, found.text) == (True, True, TEXT)
    assert found.hash == hashlib.sha256(TEXT.encode()).hexdigest()
    assert found.examined.written["gateway"]["auth"] == {"token": "${TOKEN}"}
    assert found.examined.resolved["gateway"]["auth"] == {"token": "t"}


def test_a_missing_file_is_valid_and_has_the_hash_of_nothing(tmp_path: Path):
    found = snapshot(tmp_path / "none.json", ENV)
    assert (found.exists, found.is_valid, found.text) == (False, True, None)
    assert found.hash == hashlib.sha256(b"").hexdigest()


def test_a_file_that_lets_nobody_in_is_not_valid_as_the_start_would_refuse_it(path: Path):
    path.write_text("{}")
    (problem,) = snapshot(path, ENV).problems
    assert problem.key == "gateway.auth.token"


def test_a_secret_given_elsewhere_is_no_reason_to_refuse_other_changes(path: Path):
    path.write_text("{}")
    replaced(path, "{gateway: {port: 20001}}")
    assert path.read_text() == "{gateway: {port: 20001}}"
    with pytest.raises(ChangeError, match="invalid config"):
        replaced(path, "{gateway: {port: 0}}")


def test_a_secret_in_the_environment_lets_people_in(path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_text("{}")
    monkeypatch.setenv("GATEWAYD_TOKEN", "t")
    assert snapshot(path, ENV).is_valid


def test_a_file_that_cannot_be_read_is_described(tmp_path: Path):
    found = snapshot(tmp_path, ENV)
    assert (found.exists, found.is_valid, found.text) == (True, False, None)
    with pytest.raises(ChangeError, match="cannot be read"):
        change(tmp_path, found.hash, to(TEXT), ENV)


def test_a_file_open_to_others_is_warned_about_and_closed_by_the_next_change(path: Path):
    path.chmod(0o644)
    found = snapshot(path, ENV)
    assert "chmod 600" in found.warnings[0].message
    replaced(path, TEXT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert snapshot(path, ENV).warnings == ()


def test_a_writer_names_the_text_it_has_read(path: Path):
    with pytest.raises(ChangeError, match=r"^config base hash required; re-run config.get"):
        change(path, None, to(TEXT), ENV)
    with pytest.raises(ChangeError, match=r"^config base hash required"):
        change(path, "  ", to(TEXT), ENV)
    with pytest.raises(ChangeError, match=r"^config changed since last load; re-run config.get"):
        change(path, "0" * 64, to(TEXT), ENV)
    change(path, f" {snapshot(path, ENV).hash}\n", to(TEXT + "\n"), ENV)
    assert path.read_text() == TEXT + "\n"


def test_the_first_file_needs_no_hash_and_is_closed_to_others(tmp_path: Path):
    path = tmp_path / "new.json"
    before = os.umask(0)
    try:
        change(path, "whatever", to(TEXT), ENV)
    finally:
        os.umask(before)
    assert path.read_text() == TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["{", "[]", "{gatway: {}}", "{gateway: {auth: {token: '${NOT_SET}'}}}", "{}", "\ud800"]
)
def test_nothing_is_written_that_the_gateway_would_not_start_with(path: Path, text: str):
    with pytest.raises(ChangeError, match="invalid config") as error:
        replaced(path, text)
    assert error.value.problems
    assert path.read_text() == TEXT


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path):
    link = tmp_path / "link.json"
    link.symlink_to(path)
    replaced(link, TEXT + "//\n")
    assert link.is_symlink()
    assert path.read_text() == TEXT + "//\n"


def test_of_many_writers_with_one_hash_one_wins_and_all_others_are_told(path: Path):
    base, outcomes = snapshot(path, ENV).hash, []
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait(10)
        try:
            change(path, base, to(f"{TEXT}// {number}\n"), ENV)
            outcomes.append(number)
        except ChangeError as error:
            outcomes.append(error.message.partition(";")[0])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    winners = [one for one in outcomes if isinstance(one, int)]
    assert len(winners) == 1
    assert outcomes.count("config changed since last load") == 7
    assert path.read_text() == f"{TEXT}// {winners[0]}\n"


HOLDER = """
import sys
from pathlib import Path
from conf.config_file import change, snapshot
def hold(before):
    print("held", flush=True)
    sys.stdin.read()
    return before.text + "// held"
path = Path(sys.argv[1])
change(path, snapshot(path).hash, hold)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process in the middle of a change."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        env={**os.environ, **ENV},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_that_writes_is_waited_for_only_so_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(config_file, "LOCK_BUDGET_S", 0.1)
    process = holder(path)
    with pytest.raises(BusyError, match="retry"):
        replaced(path, TEXT)
    process.communicate(timeout=20)
    assert path.read_text() == TEXT + "// held"
    replaced(path, TEXT)


def test_a_writer_that_is_killed_leaves_file_and_lock_as_they_were(path: Path):
    process = holder(path)
    process.kill()
    process.communicate(timeout=20)
    assert path.read_text() == TEXT
    replaced(path, TEXT + "// next\n")
    assert path.read_text() == TEXT + "// next\n"


TORN = """
import os, signal, sys
from pathlib import Path
from conf.config_file import change, snapshot
Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
path = Path(sys.argv[1])
change(path, snapshot(path).hash, lambda before: before.text + "// " + "x" * 100_000)
"""


def test_a_crash_between_writing_and_renaming_tears_nothing(path: Path):
    command = [sys.executable, "-c", TORN, str(path)]
    done = subprocess.run(command, check=False, env={**os.environ, **ENV}, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == TEXT
    assert snapshot(path, ENV).is_valid


def test_readers_see_the_old_text_or_the_new_one(path: Path):
    texts = {TEXT, long := TEXT + "//" + "x" * 200_000 + "\n"}
    is_over, seen, bad = threading.Event(), set(), []

    def read() -> None:
        while not is_over.is_set():
            found = snapshot(path, ENV)
            seen.add(found.text)
            if found.text not in texts or not found.is_valid:
                bad.append(found.text)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for text in (long, TEXT) * 5:
            replaced(path, text)
            wait_until(lambda text=text: text in seen or bad, 10, "the reader has seen it")
            seen.clear()
    finally:
        is_over.set()
        reader.join(10)
    assert bad == []
