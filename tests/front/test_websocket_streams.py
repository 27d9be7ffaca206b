"""Any byte stream, cut anyhow: both paths, and the library alone, see the same in it."""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gatewayd.front.websocket import WebSocket
from tests.front.frames import MAX_SIZE, accepted, cut, frame, text


@dataclass
class Trace:
    """All that the owner of a WebSocket can see of it."""

    messages: list[bytes] = field(default_factory=list)
    output: bytes = b""
    states: list[object] = field(default_factory=list)


def run(websocket: WebSocket, pieces: list[bytes]) -> Trace:
    trace = Trace()
    for piece in pieces:
        trace.messages += websocket.feed(piece)
        trace.output += websocket.take_output()
        trace.states.append(
            (
                websocket.open,
                websocket.closing,
                websocket.must_close_transport,
                websocket.close_code,
                websocket.close_reason,
                websocket.last_pong,
            )
        )
    websocket.feed_eof()
    trace.output += websocket.take_output()
    trace.states.append((websocket.closed, websocket.close_code, websocket.close_reason))
    return trace


payloads = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(str.encode),
    st.sampled_from(
        [b"", b"{}", "h\u00e9\u20ac\U0001f600".encode(), b"\xff", b"\xe2\x82", b"a" * 125]
    ),
    st.sampled_from([b"a" * 126, b"a" * 200, b"\xc3\xa9" * 100, b"a" * MAX_SIZE]),
)
data_opcodes = st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.BINARY])
common = st.builds(frame, data_opcodes, payloads, mask=st.binary(min_size=4, max_size=4))
control = st.builds(frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=20))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in fragments, cut anywhere in a character, control frames between them."""
    payload = draw(payloads)
    middle = draw(st.integers(0, len(payload)))
    return (
        frame(draw(data_opcodes), payload[:middle], first=0)
        + b"".join(draw(st.lists(control, max_size=2)))
        + b"".join(draw(st.lists(st.just(frame(Opcode.CONT, first=0)), max_size=2)))
        + frame(Opcode.CONT, payload[middle:])
    )


close_frames = st.one_of(
    st.just(frame(Opcode.CLOSE)),
    st.builds(
        lambda code, reason: frame(Opcode.CLOSE, code.to_bytes(2) + reason),
        st.sampled_from([1000, 1001, 1008, 3000, 4008, 1005, 1006, 999, 5000]),
        st.sampled_from([b"", b"bye", b"\xff"]),
    ),
    st.just(frame(Opcode.CLOSE, b"\x03")),
)
bad = st.one_of(
    st.builds(frame, data_opcodes, payloads, mask=st.none()),
    st.builds(frame, data_opcodes, payloads, first=st.sampled_from([0x00, 0xC0, 0xA0, 0x90, 0xF0])),
    st.builds(frame, st.integers(0, 15), payloads, first=st.sampled_from([0x80, 0x00])),
    st.just(text(b"a" * (MAX_SIZE + 1))),
    st.just(b"\x81\xff" + (2**63).to_bytes(8) + b"mask"),
    st.just(b"\x81\xfe\x00\x05maskhello"),  # a length in more bytes than it needs
    st.binary(max_size=20),
)
good_streams = st.lists(st.one_of(common, common, fragmented(), control), max_size=12)
ends = st.one_of(st.just(b""), close_frames, bad)
streams = st.one_of(
    st.builds(
        lambda frames, end, rest: b"".join([*frames, end, *rest]), good_streams, ends, good_streams
    ),
    st.lists(st.one_of(common, fragmented(), control, bad, close_frames)).map(b"".join),
)
sizes = st.lists(st.integers(1, 400), min_size=1, max_size=6)


@settings(max_examples=400, deadline=None)
@given(stream=streams, pieces=sizes)
@example(stream=text(b"{}") + b"\x81", pieces=[1])
@example(stream=frame(Opcode.TEXT, b"a", first=0) + frame(Opcode.CLOSE, b"\3\xe8"), pieces=[1])
@example(stream=text(b"\xff") + frame(Opcode.PING) + text(b"late"), pieces=[400])
def test_both_paths_see_the_same_in_every_byte_stream(stream: bytes, pieces: list[int]) -> None:
    fast = run(accepted(fast=True), cut(stream, pieces))
    slow = run(accepted(fast=False), cut(stream, pieces))
    assert fast == slow


@settings(max_examples=200, deadline=None)
@given(stream=streams, pieces=sizes)
def test_how_the_stream_is_cut_makes_no_difference(stream: bytes, pieces: list[int]) -> None:
    whole = run(accepted(), [stream])
    parts = run(accepted(), cut(stream, pieces))
    assert (whole.messages, whole.output) == (parts.messages, parts.output)
    assert whole.states[-1] == parts.states[-1]


def library(stream: bytes) -> tuple[list[bytes], bytes]:
    """What `websockets` alone makes of the stream, with text checked message by message."""
    protocol = ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
    messages: list[bytes] = []
    parts: list[bytes] = []
    is_text = False
    for position in range(len(stream)):  # byte by byte: no frame is read ahead of its check
        protocol.receive_data(stream[position : position + 1])
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                is_text = event.opcode is Opcode.TEXT
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                parts.append(bytes(event.data))
                if event.fin:
                    messages.append(b"".join(parts))
                    parts = []
                    if is_text:
                        messages[-1].decode()
    protocol.receive_eof()
    return messages, b"".join(protocol.data_to_send())


valid_text = st.text(max_size=40).map(str.encode)
valid_messages = st.one_of(
    st.builds(frame, st.just(Opcode.BINARY), payloads),
    st.builds(frame, st.just(Opcode.TEXT), valid_text),
    st.builds(
        lambda start, between, end: (
            frame(Opcode.TEXT, start, first=0) + between + frame(Opcode.CONT, end)
        ),
        valid_text,
        control,
        valid_text,
    ),
    control,
)
library_ends = st.one_of(
    close_frames,
    st.builds(frame, st.integers(2, 15), payloads, first=st.sampled_from([0x80, 0xC0, 0x00])),
    st.builds(frame, data_opcodes, valid_text, mask=st.none()),
    st.just(text(b"a" * (MAX_SIZE + 1))),
)


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(valid_messages, max_size=12), end=library_ends, pieces=sizes)
def test_the_library_alone_says_the_same(
    frames: list[bytes], end: bytes, pieces: list[int]
) -> None:
    stream = b"".join([*frames, end])
    trace = run(accepted(), cut(stream, pieces))
    assert (trace.messages, trace.output) == library(stream)
