"""The whole seam between the host and an adapter: what comes in, what goes out. Pure types.

An adapter is `workers/channels/<channel>.py` with `open_adapter(settings, clock) -> Adapter`,
and `conf/channels/<channel>.py` with its settings.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Clock = Callable[[], int]
"""Wall clock, ms since the epoch."""


class Inbound(Struct, frozen=True):
    """A chat message that came in."""

    update_key: str
    """Unique within the account for as long as the service may deliver the message again."""
    chat: str
    kind: Literal["dm", "group"]
    sender: str
    """Stable id; never a name, which its owner can change."""
    sender_name: str
    text: str
    sent_ms: int
    thread: str = ""
    is_addressed: bool = True
    """False for a group message that neither mentions nor answers us."""


class Outbound(Struct, frozen=True):
    """A chat message that goes out; short enough for the service."""

    chat: str
    text: str
    thread: str = ""


class Progress(Struct, frozen=True):
    """What an adapter can prove about its connection."""

    last_ok_ms: int | None = None
    """When the service last answered the question for new messages."""
    error: str = ""
    failure_count: int = 0
    """Failures since the service last answered."""
    account_name: str = ""
    """How the service calls this account."""


class NotTakenError(Exception):
    """The service did not take the message; it may later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(Exception):
    """The service will never take this message."""


class LostError(Exception):
    """Nobody knows whether the service took the message."""


class ParkedError(Exception):
    """Nothing works until a person acts; the text says what to do."""


Take = Callable[[Sequence[Inbound], str], Awaitable[None]]
"""Makes messages and the cursor behind them durable; returns after the commit."""


class Adapter(Protocol):
    """One account of one channel, connected."""

    async def receive(self, cursor: str, take: Take) -> None:
        """Hands over messages after `cursor` (empty: from the start) until cancelled."""

    async def send(self, message: Outbound) -> str:
        """Sends once; returns the service's message id. Raises one of the errors above."""

    async def typing(self, chat: str, thread: str) -> None:
        """Shows that an answer is being written; never raises for the service's sake."""

    async def probe(self) -> str:
        """The account's name as the service tells it now. Raises as `send` does."""

    def target(self, text: str) -> str:
        """The chat a person means by `text`. Raises ValueError with what is accepted."""

    def progress(self) -> Progress:
        """What is known about the connection."""

    async def close(self) -> None:
        """Lets go of every connection."""
