"""The log file and the terminal: what processes say is kept, and nobody waits for a reader."""

import json
import logging
import os
import pty
from pathlib import Path

import pytest

from gatewayd.supervisor.journal import (
    KEPT_COUNT,
    LARGEST_BACKLOG_BYTES,
    LONGEST_LINE_BYTES,
    Console,
    Journal,
    Lines,
    LogFile,
)
from tests.kit.waiting import wait_until
from tests.supervisor.gateway import Gateway

ENTRY = b'{"time":"2026-01-01T10:11:12.000+00:00","level":"info","process":"agent","event":"hi"}'


def journal_at(path: Path, output: Path) -> Journal:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    return Journal(LogFile(path, 1_000_000), Console(descriptor))


def test_a_log_entry_is_kept_as_it_is_and_shown_readably(tmp_path: Path) -> None:
    log, shown = tmp_path / "log", tmp_path / "shown"
    journal_at(log, shown).take("agent", 7, ENTRY)
    assert log.read_bytes() == ENTRY + b"\n"
    assert shown.read_text() == "10:11:12 info    agent      hi\n"
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"Segmentation fault", "Segmentation fault"),
        (b'{"no": "entry"}', '{"no": "entry"}'),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"password=hunter2hunter2", "password=***"),
    ],
)
def test_anything_else_becomes_an_error_entry(tmp_path: Path, line: bytes, event: str) -> None:
    log = tmp_path / "log"
    journal_at(log, tmp_path / "shown").take("agent", 7, line)
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["process"], entry["pid"]) == ("error", "agent", 7)
    assert entry["event"] == event


def test_the_supervisors_own_records_are_entries_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    journal = journal_at(log, tmp_path / "shown")
    journal.emit(logging.LogRecord("supervisor", logging.INFO, "", 0, "begun", None, None))
    entry = json.loads(log.read_text())
    assert (entry["process"], entry["event"], entry["pid"]) == ("supervisor", "begun", os.getpid())


def test_a_full_file_is_rotated_and_a_bounded_number_is_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", rotate_bytes=100)
    for number in range(40):
        file.append(b"%039d\n" % number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", *(f"log.{number}" for number in range(1, KEPT_COUNT + 1))]
    newest_first = [(tmp_path / name).read_text().split() for name in names]
    assert [int(line) for lines in reversed(newest_first) for line in lines] == [*range(32, 40)]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_file_that_stands_there_already_is_continued(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old\n")
    LogFile(tmp_path / "log", 1000).append(b"new\n")
    assert (tmp_path / "log").read_text() == "old\nnew\n"


def test_a_symlink_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    file = LogFile(tmp_path / "log", 1000)
    file.append(b"line\n")
    assert file.lost_count == 1
    assert not (tmp_path / "elsewhere").exists()


def test_lines_a_full_disk_does_not_take_are_counted_and_reported_later(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()  # cannot be opened for writing, like a disk without space
    journal = journal_at(log, tmp_path / "shown")
    journal.take("agent", 7, ENTRY)
    journal.take("agent", 7, ENTRY)
    log.rmdir()
    journal.take("agent", 7, ENTRY)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["event"] for entry in entries] == [
        "hi",
        "2 lines before this one could not be written to the log file",
    ]


def test_a_terminal_nobody_reads_does_not_stop_us_and_says_later_what_it_missed() -> None:
    reader, terminal = pty.openpty()
    console = Console(terminal)
    for number in range(3 * LARGEST_BACKLOG_BYTES // 100):
        console.show(f"{number:099}")
    assert os.get_blocking(terminal)  # the shell's own view of it is unchanged
    text = b""
    while b"are only in the log file" not in text:
        text += os.read(reader, 65_536)
        console.show("later")
    os.close(reader)
    os.close(terminal)


def test_a_pipe_whose_reader_left_is_no_error() -> None:
    reader, writer = os.pipe()
    console = Console(writer)
    os.close(reader)
    console.show("nobody hears this")
    assert console._backlog == b""
    os.close(writer)


def test_lines_are_put_together_and_bounded() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw") == [b"one"]
    assert lines.feed(b"o\n\n  \nthree") == [b"two"]
    assert lines.end() == [b"three"]
    assert [len(line) for line in lines.feed(b"x" * (LONGEST_LINE_BYTES + 9))] == [
        LONGEST_LINE_BYTES
    ]
    assert lines.end() == []


@pytest.mark.processes
def test_all_a_process_says_reaches_the_log_file(tmp_path: Path) -> None:
    commands = {"front": "serve", "one": "speak"}
    gateway = Gateway(tmp_path / "state", commands)
    try:
        wait_until(lambda: "unfinished" in gateway.events())
        said = [e for e in gateway.entries() if e["process"] in ("one", "test")][:5]
        events = [entry["event"] for entry in said]
    finally:
        gateway.close()
    assert said[0]["answer"] == 42
    assert events[:3] == ["spoken", "a plain line", r"\xff\xfe broken bytes " + "\x1b[31m"]
    assert set(events[3]) == {"x"}
    assert "\x1b" not in gateway.text()
