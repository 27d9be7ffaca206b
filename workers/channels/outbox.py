"""The life of a message that goes out: states, the one table of transitions, ages. Pure.

An attempt is recorded before it is made. What a crash or a lost connection leaves `attempting`
is `unknown`; services without idempotency keys then get it once more, recorded as `reconciled`
before that, so that no message is ever sent more than twice.
"""

from enum import StrEnum

from msgspec import Struct

from workers.channels.base import Outbound

DELAYED_AFTER_MS = 900_000
EXPIRED_AFTER_MS = 86_400_000
"""An answer that is a day old helps nobody."""
DELAYED_MARK = "(delayed) "


class OutboxState(StrEnum):
    """Where a message is."""

    NEW = "new"
    ATTEMPTING = "attempting"
    SENT = "sent"
    UNKNOWN = "unknown"
    RECONCILED = "reconciled"
    FAILED = "failed"
    EXPIRED = "expired"


class OutboxStep(StrEnum):
    """What happens to a message."""

    ATTEMPT = "attempt"
    CONFIRM = "confirm"
    POSTPONE = "postpone"
    """The service did not take it."""
    REJECT = "reject"
    LOSE = "lose"
    """Nobody knows whether the service took it."""
    EXPIRE = "expire"


TRANSITIONS = {
    (OutboxState.NEW, OutboxStep.ATTEMPT): OutboxState.ATTEMPTING,
    (OutboxState.NEW, OutboxStep.EXPIRE): OutboxState.EXPIRED,
    (OutboxState.ATTEMPTING, OutboxStep.CONFIRM): OutboxState.SENT,
    (OutboxState.ATTEMPTING, OutboxStep.POSTPONE): OutboxState.NEW,
    (OutboxState.ATTEMPTING, OutboxStep.REJECT): OutboxState.FAILED,
    (OutboxState.ATTEMPTING, OutboxStep.LOSE): OutboxState.UNKNOWN,
    (OutboxState.UNKNOWN, OutboxStep.ATTEMPT): OutboxState.RECONCILED,
    (OutboxState.UNKNOWN, OutboxStep.EXPIRE): OutboxState.EXPIRED,
    (OutboxState.RECONCILED, OutboxStep.CONFIRM): OutboxState.RECONCILED,
    (OutboxState.RECONCILED, OutboxStep.POSTPONE): OutboxState.UNKNOWN,
    (OutboxState.RECONCILED, OutboxStep.REJECT): OutboxState.FAILED,
    (OutboxState.RECONCILED, OutboxStep.LOSE): OutboxState.RECONCILED,
}
UNFINISHED = (OutboxState.NEW, OutboxState.UNKNOWN)
"""States from which an attempt may be made; `attempting` becomes `unknown` at start."""


class IllegalStepError(RuntimeError):
    """The message is not in a state in which this may happen."""


class OutboxRow(Struct, frozen=True):
    """A message that goes out, as it is kept."""

    id: int
    channel: str
    account: str
    message: Outbound
    state: OutboxState
    attempt_count: int
    next_attempt_ms: int
    origin_ms: int
    """When the message it answers came in, or when it was asked for."""


def step(state: OutboxState, what: OutboxStep) -> OutboxState:
    """The state after `what`. Raises IllegalStepError if it cannot happen in `state`."""
    after = TRANSITIONS.get((state, what))
    if after is None:
        raise IllegalStepError(f"outbox: cannot {what} what is {state}")
    return after


def is_expired(row: OutboxRow, now_ms: int) -> bool:
    """True if it is too old to be sent at all."""
    return now_ms - row.origin_ms >= EXPIRED_AFTER_MS


def as_sent(row: OutboxRow, now_ms: int) -> Outbound:
    """The message, marked if it is old."""
    message = row.message
    if now_ms - row.origin_ms < DELAYED_AFTER_MS:
        return message
    return Outbound(message.chat, DELAYED_MARK + message.text, message.thread)
