"""Pairing codes: how a stranger becomes someone the agent answers. Pure."""

from collections.abc import Callable, Sequence

from msgspec import Struct

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 symbols; without O, 0, I and 1, which people mix up."""
CODE_LENGTH = 8
TTL_MS = 3_600_000
MAX_PENDING = 3
"""Per channel: a flood of strangers must not hide the one who was invited."""


class PairingRequest(Struct, frozen=True):
    """A stranger who waits for approval."""

    channel: str
    code: str
    sender: str
    sender_name: str
    chat: str
    created_ms: int
    last_seen_ms: int


def new_code(pick: Callable[[int], int], taken: Sequence[str] = ()) -> str:
    """A code not in `taken`; `pick(n)` gives an unpredictable number below n."""
    while True:
        code = "".join(ALPHABET[pick(len(ALPHABET))] for _ in range(CODE_LENGTH))
        if code not in taken:
            return code


def is_expired(request: PairingRequest, now_ms: int) -> bool:
    """True from exactly TTL_MS after creation on."""
    return now_ms - request.created_ms >= TTL_MS


def find(pending: Sequence[PairingRequest], code: str) -> PairingRequest | None:
    """The request with this code, which people may type in small letters or with spaces."""
    wanted = "".join(code.split()).upper()
    return next((request for request in pending if request.code == wanted), None)


def has_room(pending: Sequence[PairingRequest]) -> bool:
    """True if one more stranger of the channel may get a code."""
    return len(pending) < MAX_PENDING


def invitation(label: str, request: PairingRequest) -> str:
    """What the stranger is told."""
    return (
        "This agent answers only people its owner has approved.\n\n"
        f"Your {label} id: {request.sender}\n"
        f"Pairing code: {request.code}\n\n"
        "The owner approves it within an hour with:\n"
        f"gatewayctl pairing approve {request.channel} {request.code}"
    )


APPROVAL = "You are approved: send a message and the agent will answer."
