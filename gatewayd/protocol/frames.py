"""Frames of the wire protocol, version 3: what is read from and written to clients. Pure.

The envelope is decoded; params and payloads stay the bytes they came as.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bus.wording import validation_text

PROTOCOL_VERSION = 3
NO_ID = b'"invalid"'
"""Id of the answer to a frame whose own id cannot be told."""

NonEmpty = Annotated[str, Meta(min_length=1)]
encode_id = msgspec.json.Encoder().encode


class RequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`{type:"req", id, method, params?}`; params as the bytes they came as."""

    type: Literal["req"]
    id: NonEmpty
    method: NonEmpty
    params: msgspec.Raw = msgspec.Raw()

    def id_text(self) -> str:
        """The id as JSON text, for an answer that echoes it."""
        return encode_id(self.id).decode()


class BadFrame(msgspec.Struct, frozen=True, gc=False):
    """JSON that is no request frame: the id to answer with, and what is wrong."""

    id: bytes
    problem: str


class NotJson(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no JSON at all."""


class _Identified(msgspec.Struct, frozen=True, gc=False):
    id: msgspec.Raw = msgspec.Raw()


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Any escape; group 1 is half a character whose other half does not follow."""

_decode = msgspec.json.Decoder(RequestFrame).decode
_decode_any = msgspec.json.Decoder().decode
_decode_identified = msgspec.json.Decoder(_Identified).decode


def read_request(message: bytes) -> RequestFrame | BadFrame | NotJson:
    """The request frame in `message` (UTF-8 JSON, text or binary)."""
    try:
        if not message.isascii():
            message.decode()
        return _decode(message)
    except msgspec.ValidationError as error:
        problem = validation_text(str(error))
        if problem.startswith("at /type:"):
            problem = "at /type: must be equal to constant"
        return _explain(message, problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        mended = _without_lone_surrogates(message)
        return NotJson() if mended == message else read_request(mended)


def _without_lone_surrogates(message: bytes) -> bytes:
    """JSON with U+FFFD for each escaped half of a character, as a browser would send it.

    Clients that cut text between two UTF-16 units write such halves: it is JSON, but no text.
    """
    if _SURROGATE.search(message) is None:
        return message
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], message)


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
