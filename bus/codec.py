"""Messages as bytes: many of them in one blob, because a send per message is what costs. Pure.

A blob is a sequence of: u32 header length, u32 body length (little endian), header (MessagePack),
body.
"""

from collections.abc import Iterator
from struct import Struct as Layout

import msgspec

from bus.messages import MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, Message

_lengths = Layout("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class BadBlobError(ValueError):
    """Bytes on the bus that are not messages."""


def pack(message: Message, body: bytes = b"") -> bytes:
    """One message, ready to be joined with others into a blob."""
    header = _encode(message)
    return b"".join((_lengths.pack(len(header), len(body)), header, body))


def unpack(blob: bytes) -> Iterator[tuple[Message, bytes]]:
    """The messages of a blob in order. Raises BadBlobError at the first that is none."""
    at, end = 0, len(blob)
    while at < end:
        if end - at < _lengths.size:
            raise BadBlobError("cut in the lengths")
        header_bytes, body_bytes = _lengths.unpack_from(blob, at)
        start = at + _lengths.size
        at = start + header_bytes + body_bytes
        if at > end or header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_MESSAGE_BYTES:
            raise BadBlobError("lengths beyond the blob or the limit")
        try:
            message = _decode(blob[start : start + header_bytes])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadBlobError(f"header: {error}") from error
        yield message, blob[start + header_bytes : at]
