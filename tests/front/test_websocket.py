"""The WebSocket engine by example: handshake, messages, limits, pings, closing, memory."""

import gc
import tracemalloc

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gatewayd.front.websocket import MAX_REASON_BYTES, WebSocket, frame_text
from tests.front.frames import HEAD, MAX_SIZE, accepted, cut, frame, text


def closed_with(output: bytes) -> Close:
    """The close frame that the output of a server ends in."""
    client = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN)
    client.receive_data(output)
    close = [event for event in client.events_received() if isinstance(event, Frame)][-1]
    assert close.opcode is Opcode.CLOSE
    return Close.parse(bytes(close.data))


def test_a_handshake_accepts_any_path_and_refuses_extensions_and_subprotocols() -> None:
    websocket = WebSocket(MAX_SIZE)
    offers = b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: x\r\n\r\n"
    answer = websocket.accept(HEAD[:-2] + offers)
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert b"Extensions" not in answer
    assert b"Protocol:" not in answer
    assert websocket.open


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"GET", b"POST"), b"405"),
        ((b"Upgrade: websocket\r\n", b""), b"426"),
        ((b"Connection: Upgrade\r\n", b""), b"426"),
        ((b"Version: 13", b"Version: 8"), b"400"),
        ((b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400"),
        ((b"Host: localhost", b"Content-Length: 5"), b"400"),
        ((b"GET /any/path HTTP/1.1", b"nonsense"), b"400"),
        ((b"HTTP/1.1", b"HTTP/1.0"), b"505"),
    ],
)
def test_a_bad_handshake_is_answered_and_ends(change: tuple[bytes, bytes], status: bytes) -> None:
    websocket = WebSocket(MAX_SIZE)
    answer = websocket.accept(HEAD.replace(*change))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Failed to open a WebSocket connection: " in answer
    assert (websocket.open, websocket.must_close_transport) == (False, True)
    assert websocket.feed(text(b"{}")) == []
    websocket.feed_eof()
    assert websocket.closed


def test_bytes_after_the_head_are_the_first_frames() -> None:
    websocket = WebSocket(MAX_SIZE)
    websocket.accept(HEAD + text(b"one") + text(b"two")[:3])
    assert websocket.feed(b"") == [b"one"]
    assert websocket.feed(text(b"two")[3:]) == [b"two"]


def test_calls_in_the_wrong_order_are_errors() -> None:
    with pytest.raises(ValueError, match="complete request head"):
        WebSocket(MAX_SIZE).accept(HEAD[:-2])
    with pytest.raises(RuntimeError, match="before accept"):
        WebSocket(MAX_SIZE).feed(text(b"{}"))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_messages_of_every_length_come_through_whole_or_in_bytes(*, size: int, fast: bool) -> None:
    payload = b"x" * size
    websocket = accepted(200_000, fast=fast)
    assert websocket.feed(text(payload) + frame(Opcode.BINARY, payload)) == [payload, payload]
    pieces = cut(text(payload), [1] if size < 200 else [1, 4096])
    assert [m for piece in pieces for m in websocket.feed(piece)] == [payload]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "stream",
    [text(b"a" * 11), frame(1, b"a" * 6, first=0) + frame(0, b"a" * 5)],
    ids=["one frame", "fragments"],
)
def test_a_raised_limit_holds_from_then_on_and_oversize_closes_1009(
    *, stream: bytes, fast: bool
) -> None:
    websocket = accepted(10, fast=fast)
    assert websocket.feed(text(b"a" * 10)) == [b"a" * 10]
    websocket.max_size = 11
    assert websocket.feed(stream) == [b"a" * 11]
    websocket.max_size = 10
    assert websocket.feed(stream) == []
    assert closed_with(websocket.take_output()).code == 1009
    assert (websocket.close_code, websocket.must_close_transport) == (1009, True)


def test_a_limit_raised_while_the_protocol_is_engaged_reaches_it() -> None:
    websocket = accepted(10)
    websocket.feed(frame(1, b"a" * 8, first=0))
    websocket.max_size = 20
    assert websocket.feed(frame(0, b"b" * 12)) == [b"a" * 8 + b"b" * 12]


@pytest.mark.parametrize("fast", [True, False])
def test_bad_text_closes_1007_and_nothing_after_it_counts(*, fast: bool) -> None:
    websocket = accepted(fast=fast)
    assert websocket.feed(text(b"ok") + text(b"\xc3(") + text(b"late")) == [b"ok"]
    assert closed_with(websocket.take_output()).code == 1007
    assert websocket.feed(text(b"later")) == []
    assert websocket.take_output() == b""


def test_a_bad_character_in_a_fragment_closes_before_the_message_is_complete() -> None:
    websocket = accepted()
    websocket.feed(frame(1, b"\xff", first=0))
    assert closed_with(websocket.take_output()).code == 1007


def test_binary_messages_need_not_be_utf8() -> None:
    assert accepted().feed(frame(Opcode.BINARY, b"\xff")) == [b"\xff"]


def test_a_ping_is_answered_and_our_ping_notes_the_pong() -> None:
    websocket = accepted()
    assert websocket.feed(frame(Opcode.PING, b"hi")) == []
    assert websocket.take_output() == b"\x8a\x02hi"
    assert websocket.pong_seen
    assert websocket.ping(b"7") == b"\x89\x017"
    assert not websocket.pong_seen
    websocket.feed(frame(Opcode.PONG, b"7"))
    assert (websocket.pong_seen, websocket.last_pong) == (True, b"7")
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        websocket.ping(b"x" * 126)


def test_a_client_that_closes_is_answered_and_its_words_are_kept() -> None:
    websocket = accepted()
    assert websocket.feed(text(b"last") + frame(Opcode.CLOSE, b"\x0f\xa8tick timeout")) == [b"last"]
    close = closed_with(websocket.take_output())
    assert (close.code, close.reason) == (4008, "tick timeout")
    assert (websocket.close_code, websocket.close_reason) == (4008, "tick timeout")
    assert (websocket.open, websocket.must_close_transport) == (False, True)
    assert websocket.ping() == b""


def test_a_client_may_close_in_the_middle_of_a_message() -> None:
    websocket = accepted()
    websocket.feed(frame(1, b"half", first=0) + frame(Opcode.CLOSE, b"\3\xe8"))
    assert closed_with(websocket.take_output()).code == 1000


def test_our_close_waits_for_the_answer_and_drops_messages() -> None:
    websocket = accepted()
    websocket.feed(frame(Opcode.PING, b"p") + text(b"start of a frame")[:5])
    output = websocket.close(1008, "slow consumer")
    assert output.startswith(b"\x8a\x01p\x88")
    assert closed_with(output).reason == "slow consumer"
    assert (websocket.closing, websocket.must_close_transport) == (True, False)
    assert websocket.feed(text(b"start of a frame")[5:] + text(b"x")) == []
    websocket.feed(frame(Opcode.CLOSE, b"\3\xe8"))
    assert websocket.must_close_transport
    assert (websocket.close_code, websocket.close_reason) == (1008, "slow consumer")
    assert websocket.close(1000) == b""


@pytest.mark.parametrize("reason", ["r" * 200, "\u20ac" * 50, "x" + "\u20ac" * 50, "\ud800" * 9])
def test_a_close_reason_is_cut_between_characters(reason: str) -> None:
    close = closed_with(accepted().close(1008, reason))
    cut_reason = close.reason.encode()
    assert reason.encode("utf-8", "replace").startswith(cut_reason)
    assert min(len(reason.encode("utf-8", "replace")), MAX_REASON_BYTES - 2) <= len(cut_reason)
    assert len(cut_reason) <= MAX_REASON_BYTES


def test_a_lost_connection_is_1006() -> None:
    websocket = accepted()
    websocket.feed(text(b"half")[:4])
    assert websocket.close_code is None
    websocket.feed_eof()
    websocket.feed_eof()
    assert (websocket.closed, websocket.open) == (True, False)
    assert websocket.close_reason == ""
    assert [websocket.close_code] == [1006]
    assert websocket.feed(text(b"x")) == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_our_text_frames_are_those_of_the_library(size: int) -> None:
    payload = b"x" * size
    assert frame_text(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_an_idle_connection_is_small() -> None:
    accepted().feed(frame(Opcode.PONG))
    gc.disable()  # what is let go must be freed at once, without a collection
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        idle = [accepted() for _ in range(100)]
        for websocket in idle:
            websocket.feed(text(b"{}") + frame(Opcode.PING, b"x"))
            websocket.take_output()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert grown / len(idle) < 512


def test_a_trickled_message_costs_no_more_than_its_size() -> None:
    size = 1 << 20
    websocket = accepted(size)
    stream = text(b"a" * size)
    tracemalloc.start()
    try:
        for start in range(0, size, 4096):
            assert websocket.feed(stream[start : start + 4096]) == []
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()
    assert websocket.feed(stream[size:]) == [b"a" * size]
