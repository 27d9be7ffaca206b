"""Frames of the wire protocol, version 3: what is read from and written to clients. Pure.

The envelope is decoded; params and payloads stay the bytes they came as.
"""

from typing import Literal

import msgspec

from bus.wording import validation_text

PROTOCOL_VERSION = 3
NO_ID = b'"invalid"'
"""Id of the answer to a frame whose own id cannot be told."""


EMPTY_TEXT_BYTES = 2
"""An empty JSON string: two quotes."""


class RequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`{type:"req", id, method, params?}`; id and params as the bytes they came as."""

    type: Literal["req"]
    id: msgspec.Raw
    method: str
    params: msgspec.Raw = msgspec.Raw()


class BadFrame(msgspec.Struct, frozen=True, gc=False):
    """JSON that is no request frame: the id to answer with, and what is wrong."""

    id: bytes
    problem: str


class NotJson(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no JSON at all."""


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(RequestFrame).decode
_decode_any = msgspec.json.Decoder().decode
_decode_identified = msgspec.json.Decoder(_Identified).decode


def read_request(message: bytes) -> RequestFrame | BadFrame | NotJson:
    """The request frame in `message` (UTF-8 JSON, text or binary)."""
    try:
        if not message.isascii():
            message.decode()
        frame = _decode(message)
    except msgspec.ValidationError as error:
        problem = validation_text(str(error))
        if problem.startswith("at /type:"):
            problem = "at /type: must be equal to constant"
        return _explain(message, problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NotJson()
    raw = bytes(frame.id)
    if raw[:1] != b'"':
        return _explain(message, "at /id: must be string")
    if len(raw) == EMPTY_TEXT_BYTES:
        return _explain(message, "at /id: must NOT have fewer than 1 characters")
    if not frame.method:
        return _explain(message, "at /method: must NOT have fewer than 1 characters")
    return frame


def _explain(message: bytes, problem: str) -> BadFrame | NotJson:
    try:
        _decode_any(message)
    except (msgspec.DecodeError, RecursionError):
        return NotJson()
    try:
        raw = bytes(_decode_identified(message).id)
    except msgspec.DecodeError:
        raw = b""
    return BadFrame(raw if raw not in (b"", b"null") else NO_ID, problem)


def event_frame(
    topic: str, payload: bytes, sequence: int | None = None, versions: tuple[int, int] | None = None
) -> bytes:
    """An `event` frame; `versions` are those of presence and health."""
    tail = b"" if sequence is None else b',"seq":%d' % sequence
    if versions is not None:
        tail += b',"stateVersion":{"presence":%d,"health":%d}' % versions
    return b'{"type":"event","event":"%b","payload":%b%b}' % (topic.encode(), payload, tail)
