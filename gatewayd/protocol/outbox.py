"""What may still be sent to a client that reads slowly. Pure."""

from enum import Enum

MAX_BUFFERED_BYTES = 1_572_864
"""Unsent bytes at which a client is cut off: `policy.maxBufferedBytes` of protocol 3."""
SOFT_BUFFERED_BYTES = 262_144
"""Unsent bytes above which events that may be dropped are dropped."""


class Verdict(Enum):
    """What to do with one more frame."""

    SEND = 0
    SKIP = 1
    CUT = 2


def verdict(buffered_bytes: int, *, drop_if_slow: bool) -> Verdict:
    """Whether a frame goes out to a client with that much unsent."""
    if buffered_bytes > MAX_BUFFERED_BYTES:
        return Verdict.SKIP if drop_if_slow else Verdict.CUT
    if drop_if_slow and buffered_bytes > SOFT_BUFFERED_BYTES:
        return Verdict.SKIP
    return Verdict.SEND
