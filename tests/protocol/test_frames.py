"""Frames of clients: what is a request, what is answered, what is passed over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.protocol.frames import BadFrame, NotJson, RequestFrame, event_frame, read_request

REQUEST = {"type": "req", "id": "1", "method": "health"}


def read(**changes: object) -> RequestFrame | BadFrame | NotJson:
    frame = {**REQUEST, **changes}
    return read_request(json.dumps({k: v for k, v in frame.items() if v is not ...}).encode())


def problem(**changes: object) -> str:
    frame = read(**changes)
    assert isinstance(frame, BadFrame)
    return frame.problem


def test_a_request_keeps_its_id_and_the_bytes_of_its_params():
    frame = read_request(b'{"type":"req", "id":"\\u00e9\\n" ,"method":"m","params": {"a" : 1.0}}')
    assert isinstance(frame, RequestFrame)
    assert (frame.id, bytes(frame.params)) == ("é\n", b'{"a" : 1.0}')
    assert frame.id_text() == '"é\\n"'


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"type": "res"}, "at /type: must be equal to constant"),
        ({"type": ...}, "must have required property 'type'"),
        ({"id": ...}, "must have required property 'id'"),
        ({"id": 7}, "at /id: must be string"),
        ({"id": ""}, "at /id: must NOT have fewer than 1 characters"),
        ({"method": 7}, "at /method: must be string"),
        ({"method": ""}, "at /method: must NOT have fewer than 1 characters"),
        ({"more": 1}, "at root: unexpected property 'more'"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_protocol(changes: dict, text: str):
    assert problem(**changes) == text


@pytest.mark.parametrize(
    ("message", "frame_id"),
    [
        (b'{"id":7}', b"7"), (b'{"id":null}', b'"invalid"'), (b"{}", b'"invalid"'),
        (b"[1]", b'"invalid"'), (b"3.0", b'"invalid"'), (b'{"id":{"a":1}}', b'{"a":1}'),
    ],
)  # fmt: skip
def test_the_id_of_a_bad_frame_is_echoed_as_it_came(message: bytes, frame_id: bytes):
    frame = read_request(message)
    assert isinstance(frame, BadFrame)
    assert frame.id == frame_id


@pytest.mark.parametrize(
    "message",
    [
        b"", b"{", b"nonsense", b'{"type":"req","id":"\xff","method":"m"}', b"\xef\xbb\xbf{}",
        b"[" * 100_000, b'{"type":"req","id":"1","method":"m","params":' + b"[" * 100_000,
        b'{"a":' * 100_000, b'{"a":"\\ud800"', b'{"a":"\\uZZZZ"}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_not_answered(message: bytes):
    assert isinstance(read_request(message), NotJson)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\udE00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\\ud83d \uDBFF", "\\ud83d \ufffd"),
        (r"\ud83d\n", "\ufffd\n"),
    ],
)
def test_half_a_character_is_replaced_and_the_request_answered(escaped: str, text: str):
    message = f'{{"type":"req","id":"1","method":"m","params":{{"a":"{escaped}"}}}}'
    frame = read_request(message.encode())
    assert isinstance(frame, RequestFrame)
    assert json.loads(bytes(frame.params)) == {"a": text}


def test_a_million_keys_are_read():
    keys = b",".join(b'"%d":1' % number for number in range(1_000_000))
    assert isinstance(read_request(b'{"type":"req","id":"1","method":"m","params":{%b}}' % keys),
                      RequestFrame)  # fmt: skip


def test_of_a_repeated_key_the_last_counts():
    frame = read_request(b'{"type":"req","id":"1","id":"2","method":"a","method":"b"}')
    assert isinstance(frame, RequestFrame)
    assert (frame.id, frame.method) == ("2", "b")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(message: bytes):
    assert isinstance(read_request(message), RequestFrame | BadFrame | NotJson)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["type", "id", "method", "params", "x"]), json_values))
def test_every_bad_frame_can_be_answered(frame: dict):
    read_back = read_request(json.dumps(frame).encode())
    if isinstance(read_back, BadFrame):
        json.loads(read_back.id)
        assert read_back.problem


def test_events_leave_out_what_they_do_not_have():
    assert event_frame("tick", b'{"ts":1}') == b'{"type":"event","event":"tick","payload":{"ts":1}}'
    full = json.loads(event_frame("health", b"{}", 3, (1, 2)))
    assert full == {"type": "event", "event": "health", "payload": {}, "seq": 3,
                    "stateVersion": {"presence": 1, "health": 2}}  # fmt: skip
