"""Messages as bytes: everything comes back, and nothing else is taken for a message."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bus.codec import BadBlobError, pack, unpack
from bus.messages import (
    MAX_HEADER_BYTES,
    Cancel,
    Event,
    Goodbye,
    Message,
    Method,
    Partial,
    Ready,
    Refused,
    Reply,
    Request,
    Snapshot,
    Welcome,
)

names = st.text(max_size=20)
numbers = st.integers(0, 2**63 - 1)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ready, names, numbers, numbers, names, st.booleans(), numbers,
              st.lists(st.builds(Method, names, names, numbers), max_size=3).map(tuple),
              st.lists(names, max_size=3).map(tuple),
              st.dictionaries(names, st.floats(allow_nan=False), max_size=3)),
    st.builds(Request, numbers, names, names, st.just(Raw(b"\x90")), numbers),
    st.builds(Event, names, names, st.lists(names, max_size=2).map(tuple), st.booleans()),
    st.builds(Reply, numbers, st.booleans()), st.builds(Partial, numbers),
    st.builds(Cancel, numbers), st.builds(Welcome, numbers), st.builds(Refused, names),
    st.builds(Snapshot, names), st.builds(Goodbye, names),
)  # fmt: skip


@given(st.lists(st.tuples(messages, st.binary(max_size=100)), max_size=5))
def test_every_blob_comes_back_as_it_was(given_messages: list[tuple[Message, bytes]]):
    blob = b"".join(pack(message, body) for message, body in given_messages)
    assert list(unpack(blob)) == given_messages


@given(st.binary(max_size=300))
def test_garbage_is_a_bad_blob_or_messages(blob: bytes):
    try:
        for message, body in unpack(blob):
            assert isinstance(message, Message)
            assert isinstance(body, bytes)
    except BadBlobError:
        pass


@given(messages, st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_breaks_nothing(message: Message, at: int, value: int):
    blob = bytearray(pack(message, b"body"))
    blob[at % len(blob)] = value
    with suppress(BadBlobError):
        assert len(list(unpack(bytes(blob)))) >= 1


@pytest.mark.parametrize(
    "blob",
    [b"\1", bytes(8), b"\xff" * 8, pack(Cancel(1))[:-1], b"\5\0\0\0\0\0\0\0\x91\x91\x91\x91\x91"],
)
def test_cut_and_hollow_blobs_are_bad(blob: bytes):
    with pytest.raises(BadBlobError):
        list(unpack(blob))


def test_what_came_before_the_bad_part_is_kept():
    found = unpack(pack(Cancel(1)) + b"\xff")
    assert next(found) == (Cancel(1), b"")
    with pytest.raises(BadBlobError):
        next(found)


def test_a_header_is_bounded():
    with pytest.raises(BadBlobError):
        list(unpack(pack(Refused("x" * MAX_HEADER_BYTES))))


def test_a_very_deep_header_is_bad():
    header = b"\x92\x06" + b"\x91" * 500_000
    with pytest.raises(BadBlobError):
        list(unpack(len(header).to_bytes(4, "little") + bytes(4) + header))
