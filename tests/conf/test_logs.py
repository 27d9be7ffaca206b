"""Log lines: one each, escaped, without secrets, never waiting for their reader."""

import json
import logging
import os
import time

import pytest

from conf.logs import LONGEST_FIELD_CHARS, PipeHandler, encode, readable, redact


def record(event: str = "event", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("front", logging.INFO, "", 0, "%s", (event,), None)
    made.fields = fields
    return made


def entry(**fields: object) -> dict:
    line = encode(record(**fields), "front")
    assert line.count(b"\n") == 1
    return json.loads(line)


def test_a_line_says_when_who_and_what():
    told = entry(worker="agent", calls=3, lag=1.5, ok=True, gone=None)
    assert (told["level"], told["process"], told["event"]) == ("info", "front", "event")
    assert told["time"].endswith("+00:00")
    assert (told["worker"], told["calls"], told["lag"], told["ok"]) == ("agent", 3, 1.5, True)


@pytest.mark.parametrize(
    "value", ["a\r\nb\x00\x1b[31m", "\ud800 lone", 10**40, float("nan"), ["a\n"], b"\xff", object()]
)
def test_no_value_breaks_a_line(value: object):
    assert "value" in entry(value=value)


def test_fields_are_bounded():
    assert len(entry(value="x" * 10_000_000)["value"]) == LONGEST_FIELD_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "token=CANARY-123456", 'auth: {"token": "CANARY-123456"}', "password: 'CANARY-123456'",
        "Authorization: Bearer CANARY-123456", "authorization: Basic CANARY-123456",
        "http://localhost/#token=CANARY-123456", "api_key=CANARY-123456&x=1",
        "https://user:CANARY-123456@host/", "apiKey:CANARY-123456", "sk-CANARY1234567890",
        "bot 123456789:CANARYcanaryCANARYcanaryCANARYcan",
    ],
)  # fmt: skip
def test_secrets_do_not_reach_the_log(text: str):
    assert "CANARY" not in redact(text)
    assert "CANARY" not in encode(record(text, note=text), "front").decode()


def test_a_field_that_is_named_a_secret_is_not_shown():
    told = entry(token="abcdef", bot_token="xyz", password="p", token_count=3, tokens="many")
    assert (told["token"], told["bot_token"], told["password"]) == ("***", "***", "***")
    assert (told["token_count"], told["tokens"]) == (3, "many")


def test_ordinary_text_is_left_alone():
    for text in ("gateway token mismatch (set gateway.remote.token)", "12:30:45 ok", "a: b"):
        assert redact(text) == text


def test_what_people_read_has_no_control_characters():
    shown = readable({**entry(value="a\x1b[31m\nb"), "event": "x\ry"})
    assert shown.isprintable()


def test_a_full_pipe_drops_lines_and_says_so():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handler = PipeHandler("front", writing)
    started = time.perf_counter()
    for _ in range(2_000):
        handler.emit(record(value="x" * 500))
    assert time.perf_counter() - started < 2
    assert handler.dropped_count > 0
    seen = os.read(reading, 1_000_000)
    handler.emit(record("after"))
    seen += os.read(reading, 1_000_000)
    lines = [line for line in seen.split(b"\n") if line]
    assert json.loads(lines[-1])["lines_dropped"] > 0
    broken = [line for line in lines if not line.endswith(b"}")]
    assert len(broken) <= 1
    os.close(reading)
    handler.emit(record("nobody reads"))
    os.close(writing)
