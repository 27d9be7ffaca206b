"""What a WebSocket client sends, byte by byte, for the tests of the engine."""

from websockets.frames import Opcode

from gatewayd.front.websocket import WebSocket

HEAD = (
    b"GET /any/path HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
MAX_SIZE = 300  # bytes; small, so that oversize is easy to reach


def accepted(max_size: int = MAX_SIZE, *, fast: bool = True) -> WebSocket:
    websocket = WebSocket(max_size, fast=fast)
    assert websocket.accept(HEAD).startswith(b"HTTP/1.1 101 ")
    assert websocket.open
    return websocket


def frame(
    opcode: int, payload: bytes = b"", *, first: int = 0x80, mask: bytes | None = b"\1\2\3\4"
) -> bytes:
    """A client's frame; `first` gives the FIN and RSV bits, `mask` None leaves it unmasked."""
    masked = 0 if mask is None else 0x80
    length = len(payload)
    if length < 126:
        head = bytes((first | opcode, masked | length))
    elif length < 65536:
        head = bytes((first | opcode, masked | 126)) + length.to_bytes(2)
    else:
        head = bytes((first | opcode, masked | 127)) + length.to_bytes(8)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))


def text(payload: bytes) -> bytes:
    return frame(Opcode.TEXT, payload)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of the given sizes, which are used again and again."""
    pieces, start, turn = [], 0, 0
    while start < len(stream):
        end = start + sizes[turn % len(sizes)]
        pieces.append(stream[start:end])
        start, turn = end, turn + 1
    return pieces
