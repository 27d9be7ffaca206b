"""What a run and the shared local model process say to each other, and how."""

import socket
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from workers.agent.contract import Report, Turn
from workers.agent.link import FRAME_HEAD_BYTES, frame

LONGEST_FRAME_BYTES = 67_108_864
READ_BYTES = 65_536


class Question(Struct, frozen=True):
    """One answer wanted from a local model."""

    provider_id: str
    model_path: str | None
    """The weights; None: the demonstration model that set-up installs."""
    context_tokens: int
    system: str
    turns: tuple[Turn, ...]


_encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
decode_report = _reports.decode


def send(connection: socket.socket, message: Question | Report) -> None:
    """Sends one message; raises OSError when the other side is gone or too slow."""
    connection.sendall(frame(_encode(message)))


def receive(connection: socket.socket) -> Iterator[bytes]:
    """Yields each message until the other side closes; raises OSError when it breaks off."""
    buffer = bytearray()
    while data := connection.recv(READ_BYTES):
        buffer += data
        while len(buffer) >= FRAME_HEAD_BYTES:
            end = FRAME_HEAD_BYTES + int.from_bytes(buffer[:FRAME_HEAD_BYTES])
            if end > LONGEST_FRAME_BYTES:
                raise ConnectionError(f"a message of {end} bytes")
            if len(buffer) < end:
                break
            message = bytes(buffer[FRAME_HEAD_BYTES:end])
            del buffer[:end]
            yield message
