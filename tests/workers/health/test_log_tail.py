"""logs.tail: whole lines, a cursor that loses none, the rules for files that shrink or race on."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.health.log_tail import read


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "gatewayd.log"


def test_a_missing_file_is_empty(log: Path) -> None:
    tail = read(log, None, 500, 1000)
    assert (tail.cursor, tail.size, tail.lines, tail.truncated, tail.reset) == (
        0,
        0,
        (),
        False,
        False,
    )


def test_without_a_cursor_the_last_bytes_are_read_from_a_whole_line_on(log: Path) -> None:
    log.write_bytes(b"first line\nsecond\nthird\n")
    assert read(log, None, 500, 13).lines == ("second", "third")
    assert read(log, None, 500, 12).lines == ("third",)
    assert read(log, None, 500, 14).lines == ("second", "third")
    assert read(log, None, 500, 12).cursor == 24


def test_a_cursor_brings_only_what_is_new(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    cursor = read(log, None, 500, 1000).cursor
    assert read(log, cursor, 500, 1000).lines == ()
    with log.open("ab") as file:
        file.write(b"three\n")
    tail = read(log, cursor, 500, 1000)
    assert (tail.lines, tail.reset, tail.truncated) == (("three",), False, False)


def test_a_half_written_line_waits_until_it_is_whole(log: Path) -> None:
    log.write_bytes(b"one\nhalf a li")
    tail = read(log, None, 500, 1000)
    assert (tail.lines, tail.cursor, tail.size) == (("one",), 4, 13)
    with log.open("ab") as file:
        file.write(b"ne\n")
    assert read(log, tail.cursor, 500, 1000).lines == ("half a line",)


def test_a_rotated_file_is_read_anew(log: Path) -> None:
    log.write_bytes(b"new\n")
    tail = read(log, 5000, 500, 1000)
    assert (tail.lines, tail.reset, tail.truncated, tail.cursor) == (("new",), True, False, 4)


def test_a_gap_larger_than_max_bytes_resets_and_truncates(log: Path) -> None:
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    tail = read(log, 0, 500, 50)
    assert (tail.reset, tail.truncated) == (True, True)
    assert tail.lines[-1] == "line 99"


def test_of_more_lines_than_the_limit_the_newest_are_kept(log: Path) -> None:
    log.write_bytes(b"a\nb\nc\n")
    assert read(log, None, 2, 1000).lines == ("b", "c")


def test_bytes_that_are_no_utf8_do_not_stop_the_reader(log: Path) -> None:
    log.write_bytes(b"good\n\xff\xfe bad\n")
    assert read(log, None, 500, 1000).lines[0] == "good"


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=12), max_size=12))
def test_whoever_follows_the_cursor_gets_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    log = tmp_path_factory.mktemp("log") / "gatewayd.log"
    cursor, seen, written = 0, list[str](), b""
    for piece in pieces:
        written += piece
        log.write_bytes(written)
        tail = read(log, cursor, 500, 100_000)
        cursor = tail.cursor
        seen += tail.lines
    whole = written[: written.rfind(b"\n") + 1]
    assert "\n".join([*seen, ""]) == "\n".join(
        [part.decode(errors="replace") for part in whole.split(b"\n")[:-1]] + [""]
    )
