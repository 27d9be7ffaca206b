"""The socket between the agent worker and its spawner: messages, descriptors, framing."""

import socket
from typing import Literal

import msgspec
from msgspec import Struct

LONGEST_MESSAGE_BYTES = 65_536
FRAME_HEAD_BYTES = 4
"""Length of a report, big endian, before each report of a run."""
GO = b"g"
"""What a prepared process waits for."""

Kind = Literal["run", "model"]


class Spawn(Struct, frozen=True, tag="spawn"):
    """Make a process; with it come its descriptors: report socket, stderr, spec[, listener]."""

    id: int
    kind: Kind


class Kill(Struct, frozen=True, tag="kill"):
    """End a process and all that is below it, now."""

    id: int


class Preload(Struct, frozen=True, tag="preload"):
    """Import what processes of these provider apis need, so that they find it there."""

    apis: tuple[str, ...]


class Born(Struct, frozen=True, tag="born"):
    """The process exists and waits for GO."""

    id: int
    pid: int
    started: int
    """Clock ticks since boot, field 22 of /proc/<pid>/stat."""


class Unborn(Struct, frozen=True, tag="unborn"):
    """The process could not be made."""

    id: int
    error: str


class Gone(Struct, frozen=True, tag="gone"):
    """The process was reaped and nothing of its tree is left."""

    id: int
    status: int
    """Exit code, or minus the signal."""


Order = Spawn | Kill | Preload
Notice = Born | Unborn | Gone

encode = msgspec.msgpack.Encoder().encode
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
decode_order = _orders.decode
_notices: msgspec.msgpack.Decoder[Notice] = msgspec.msgpack.Decoder(Notice)
decode_notice = _notices.decode


class SpawnerLink(Struct, frozen=True):
    """The agent worker's end."""

    socket: socket.socket
    pid: int
    """The spawner, a child of this process."""


def frame(payload: bytes) -> bytes:
    """A report as it goes through the report socket."""
    return len(payload).to_bytes(FRAME_HEAD_BYTES) + payload
