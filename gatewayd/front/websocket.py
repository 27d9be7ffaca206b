"""One WebSocket, server side, without a socket: bytes in, messages and bytes out (RFC 6455).

`ServerProtocol` of the `websockets` package is the authority for the handshake, control frames,
fragmentation and closing. A short fast path takes the common case by itself: a complete, masked,
unfragmented data frame while no other frame or message is under way. The protocol object exists
only while something uncommon is under way, which makes an idle connection small.

It must not know the gateway's own frames, sockets or clocks.
"""

import codecs
import logging
import struct

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from gatewayd.front.head import refusal

MAX_REASON_BYTES = 120  # the gateway protocol's cut; RFC 6455 would allow 123

_TEXT = 0x81  # FIN and opcode 1
_PING = 0x89  # FIN and opcode 9
_COMMON = frozenset((_TEXT, 0x82))  # complete text or binary messages
_MASKED = 0x80
_MAX_CONTROL_BYTES = 125
_LENGTH_16 = 126  # in place of the length: it follows in 16 bits
_LENGTH_64 = 127  # in place of the length: it follows in 64 bits
_MAX_16_BITS = 0xFFFF
_SHORT_BYTES = 6  # of head and mask before a payload of up to 125 bytes
_HEAD_END = b"\r\n\r\n"
_SHORT_HEADS = tuple(bytes((_TEXT, length)) for length in range(_LENGTH_16))
_pack_16 = struct.Struct("!BBH").pack
_pack_64 = struct.Struct("!BBQ").pack
_Utf8Decoder = codecs.getincrementaldecoder("utf-8")

# The protocol tells of every connection at INFO; only its errors are news here.
_protocol_log = logging.getLogger("gatewayd.front.websocket")
_protocol_log.setLevel(logging.WARNING)


def frame_text(payload: bytes) -> bytes:
    """An unmasked text frame around `payload`; the same bytes serve every client."""
    length = len(payload)
    if length < _LENGTH_16:
        return _SHORT_HEADS[length] + payload
    if length <= _MAX_16_BITS:
        return _pack_16(_TEXT, _LENGTH_16, length) + payload
    return _pack_64(_TEXT, _LENGTH_64, length) + payload


class WebSocket:
    """The server's end of one WebSocket connection.

    The owner writes what `accept`, `close`, `ping` and (after each `feed`) `take_output` return,
    and closes the transport once `must_close_transport` is true and the output is written.
    """

    __slots__ = (
        "_decoder",
        "_fast",
        "_held",
        "_left",
        "_max_size",
        "_message",
        "_need",
        "_protocol",
        "last_pong",
        "open",
        "pong_seen",
    )

    def __init__(self, max_size: int, *, fast: bool = True) -> None:
        """`max_size` bounds a received message in bytes; `fast` switches the fast path."""
        self._max_size = max_size
        self._fast = fast
        # None before `accept`, and while open at a frame boundary with no fragmented message.
        self._protocol: ServerProtocol | None = None
        self._held: bytearray | None = None  # a frame of which only the start has arrived
        self._need = 0  # bytes until looking at `_held` again makes sense
        self._left = 0  # bytes still missing of the frame that the protocol is reading
        self._message: bytearray | None = None  # a fragmented message under way
        self._decoder: codecs.IncrementalDecoder | None = None  # and its check, when it is text
        self.open = False
        """Whether messages may be sent and are received."""
        self.pong_seen = True
        """Whether a pong has arrived since the last `ping` (true before the first)."""
        self.last_pong = b""
        """The payload of the last pong."""

    @property
    def max_size(self) -> int:
        """Largest accepted message in bytes; may be changed at any time, for the next frame."""
        return self._max_size

    @max_size.setter
    def max_size(self, size: int) -> None:
        self._max_size = size
        if self._protocol is not None:
            self._protocol.max_message_size = size

    @property
    def closing(self) -> bool:
        """Whether the connection is about to end: close the transport after a short timeout."""
        return self._protocol is not None and self._protocol.close_expected()

    @property
    def closed(self) -> bool:
        """Whether the peer's end of stream has arrived: nothing more comes or goes."""
        return self._protocol is not None and self._protocol.state is State.CLOSED

    @property
    def must_close_transport(self) -> bool:
        """Whether to close the transport now, after writing the output."""
        return self._protocol is not None and self._protocol.eof_sent

    @property
    def close_code(self) -> int | None:
        """The code of whoever closed first; 1005 without a code, 1006 for a lost connection."""
        first = self._first_close()
        return first[0] if first else None

    @property
    def close_reason(self) -> str | None:
        """The reason of whoever closed first, None while nobody did."""
        first = self._first_close()
        return first[1] if first else None

    def accept(self, head: bytes) -> bytes:
        """Answer a complete HTTP request head: 101 and `open`, or an error and a closed WebSocket.

        Bytes after the head are kept for the next `feed`, which may be `feed(b"")`.
        """
        found = head.find(_HEAD_END)
        if found < 0:
            raise ValueError("accept() needs a complete request head, ending in an empty line")
        end = found + len(_HEAD_END)
        protocol = ServerProtocol(max_size=self._max_size, logger=_protocol_log)
        protocol.receive_data(head[:end])
        events = protocol.events_received()
        if not events or not isinstance(events[0], Request):
            self._protocol = protocol
            return b"".join(protocol.data_to_send()) or self._refuse_head(protocol)
        protocol.send_response(protocol.accept(events[0]))
        answer = b"".join(protocol.data_to_send())
        if protocol.state is State.OPEN:
            # The handshake's protocol, request and headers are let go: they are most of what an
            # idle connection would cost.
            self.open = True
            self._held = bytearray(head[end:]) or None
            protocol.parser.close()
        else:
            self._protocol = protocol
        return answer

    def accepted(self) -> None:
        """The owner has answered the usual request itself (`upgrade.py`): frames come next."""
        self.open = True

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the messages that `data` completes, in order; text is valid UTF-8."""
        if self._held is not None:
            self._held += data
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
            self._held = None
            self._need = 0
        messages: list[bytes] = []
        taken = 0
        if self._fast and self._protocol is None and self.open:
            taken = self._feed_common(data, messages)
        if taken < len(data):
            self._feed_rest(data, taken, messages)
        return messages

    def feed_eof(self) -> None:
        """The peer will send nothing more."""
        protocol = self._engage()
        self._pass_held(protocol)
        protocol.receive_eof()
        protocol.events_received()
        self.open = False

    def take_output(self) -> bytes:
        """What must be written now: pongs, close frames. Call it after each `feed`."""
        protocol = self._protocol
        if protocol is None:
            return b""
        output = b"".join(protocol.data_to_send())
        if self.open and not self._left and protocol.current_size is None:
            self._protocol = None
            protocol.parser.close()  # it refers to the protocol: freed now, not by a collection
        return output

    def ping(self, data: bytes = b"") -> bytes:
        """A ping frame to write; `pong_seen` turns true again when the peer answers."""
        if len(data) > _MAX_CONTROL_BYTES:
            raise ValueError(f"a ping carries at most {_MAX_CONTROL_BYTES} bytes, not {len(data)}")
        if not self.open:
            return b""
        self.pong_seen = False
        return bytes((_PING, len(data))) + data

    def close(self, code: int = 1000, reason: str = "") -> bytes:
        """All output to write, ending in a close frame; messages that still come are dropped.

        The reason is cut to 120 bytes between two characters.
        """
        if self.open:
            protocol = self._engage()
            protocol.send_close(code, _cut(reason))
            self.open = False
            self._pass_held(protocol)
        return self.take_output()

    def _feed_common(self, data: bytes, messages: list[bytes]) -> int:
        """Take common frames from the start of `data`, stop at the first other; bytes taken.

        It fails nothing: what it does not understand is left to the protocol.
        """
        size = len(data)
        start = 0
        while size - start >= _SHORT_BYTES:
            first = data[start]
            if first not in _COMMON:
                break
            length = data[start + 1] - _MASKED
            if length < 0:
                break
            body = start + _SHORT_BYTES
            if length >= _LENGTH_16:
                body, length = _long_length(data, start)
            end = body + length
            if end > size or length > self._max_size:
                break
            payload = apply_mask(data[body:end], data[body - 4 : body])
            if first == _TEXT and not payload.isascii() and not _is_utf8(payload):
                break
            messages.append(payload)
            start = end
        return start

    def _feed_rest(self, data: bytes, start: int, messages: list[bytes]) -> None:
        """Give the protocol frame after frame, so that a bad message ends what follows it."""
        if self._protocol is None and not self.open:
            raise RuntimeError("feed() before accept()")
        size = len(data)
        while start < size and self.open:
            left = self._left or _frame_bytes(data, start)
            if left == 0 or (start + left > size and self._keeps(data, start, left)):
                self._held = bytearray(data[start:])
                self._need = left
                return
            if self._message is not None and self._left == 0:
                self._abandon_before_close(data[start])
            end = min(start + left, size)
            self._left = start + left - end
            self._receive(data[start:end], messages)
            start = end
        if start < size and self._protocol is not None and not self.closed:
            self._protocol.receive_data(data[start:])
            self._protocol.events_received()

    def _keeps(self, data: bytes, start: int, frame_bytes: int) -> bool:
        """Whether the incomplete frame at `start` waits here, for the fast path."""
        return (
            self._fast
            and self._left == 0
            and self._message is None
            and data[start] in _COMMON
            and data[start + 1] >= _MASKED
            and frame_bytes <= self._max_size + _payload_start(data[start + 1])
        )

    def _abandon_before_close(self, first: int) -> None:
        """Let a client close in the middle of a fragmented message, as RFC 6455 5.4 allows.

        The protocol would answer 1002; Autobahn 7.1.5 wants the close echoed.
        """
        if first & 0x0F == Opcode.CLOSE and self._protocol is not None:
            self._protocol.current_size = None
            self._message = self._decoder = None

    def _receive(self, chunk: bytes, messages: list[bytes]) -> None:
        protocol = self._engage()
        protocol.receive_data(chunk)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                try:
                    self._take_frame(event, messages)
                except UnicodeDecodeError as error:
                    protocol.fail(
                        CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}"
                    )
        self.open = protocol.state is State.OPEN

    def _take_frame(self, frame: Frame, messages: list[bytes]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.PONG:
            self.pong_seen = True
            self.last_pong = bytes(frame.data)
        elif opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if opcode is Opcode.TEXT:
                self._decoder = _Utf8Decoder()
            self._add_fragment(frame, messages)
        elif opcode is Opcode.CONT:
            self._add_fragment(frame, messages)

    def _add_fragment(self, frame: Frame, messages: list[bytes]) -> None:
        data = bytes(frame.data)
        if self._decoder is not None:
            self._decoder.decode(data, frame.fin)
        if frame.fin:
            messages.append(data if self._message is None else bytes(self._message) + data)
            self._message = self._decoder = None
        elif self._message is None:
            self._message = bytearray(data)
        else:
            self._message += data

    def _engage(self) -> ServerProtocol:
        if self._protocol is None:
            self._protocol = ServerProtocol(
                state=State.OPEN, max_size=self._max_size, logger=_protocol_log
            )
        return self._protocol

    def _pass_held(self, protocol: ServerProtocol) -> None:
        """Once nothing is decided here any more, the protocol needs the bytes held back."""
        if self._held is not None:
            protocol.receive_data(self._held)
            protocol.events_received()
            self._held = None
            self._need = 0

    def _refuse_head(self, protocol: ServerProtocol) -> bytes:
        cause = protocol.handshake_exc and protocol.handshake_exc.__cause__
        return refusal(400, f"Failed to open a WebSocket connection: {cause}.")

    def _first_close(self) -> tuple[int, str] | None:
        protocol = self._protocol
        if protocol is None:
            return None
        first, second = protocol.close_sent, protocol.close_rcvd
        if protocol.close_rcvd_then_sent:
            first, second = second, first
        close = first or second
        if close is not None:
            return int(close.code), close.reason
        return (int(CloseCode.ABNORMAL_CLOSURE), "") if self.closed else None


def _frame_bytes(data: bytes, start: int) -> int:
    """Length of the frame at `start`, head and payload; 0 while its length has not arrived."""
    have = len(data) - start
    if have <= 1:
        return 0
    mask_bytes = 4 if data[start + 1] & _MASKED else 0
    length = data[start + 1] & 0x7F
    if length < _LENGTH_16:
        return 2 + mask_bytes + length
    head = 4 if length == _LENGTH_16 else 10
    if have < head:
        return 0
    return head + mask_bytes + int.from_bytes(data[start + 2 : start + head])


def _payload_start(second: int) -> int:
    """Bytes of head and mask before the payload of a masked frame, told by its second byte."""
    length = second - _MASKED
    return _SHORT_BYTES if length < _LENGTH_16 else 8 if length == _LENGTH_16 else 14


def _long_length(data: bytes, start: int) -> tuple[int, int]:
    """Where the payload starts and its length, of a masked frame with a 16 or 64-bit length.

    While the length itself is cut off, the payload is said to lie beyond all data.
    """
    body = start + _payload_start(data[start + 1])
    if body > len(data):
        return len(data), 1
    return body, int.from_bytes(data[start + 2 : body - 4])


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
