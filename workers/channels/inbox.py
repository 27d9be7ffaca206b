"""The life of a message that came in: states and the one table of transitions. Pure."""

from enum import StrEnum

from msgspec import Struct

from workers.channels.base import Inbound


class InboxState(StrEnum):
    """Where a message is."""

    RECEIVED = "received"
    """Durable; nothing decided yet."""
    ACCEPTED = "accepted"
    """The sender may talk to the agent; a run is being asked for."""
    RUNNING = "running"
    """The agent has accepted the run."""
    ANSWERED = "answered"
    """The answer, or a sentence about why there is none, is in the outbox."""
    REFUSED = "refused"
    DEAD = "dead"
    """Given up; the person, if accepted, was told."""


class InboxStep(StrEnum):
    """What happens to a message."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    RUN = "run"
    ANSWER = "answer"
    GIVE_UP = "give up"


TRANSITIONS = {
    (InboxState.RECEIVED, InboxStep.ACCEPT): InboxState.ACCEPTED,
    (InboxState.RECEIVED, InboxStep.REFUSE): InboxState.REFUSED,
    (InboxState.RECEIVED, InboxStep.GIVE_UP): InboxState.DEAD,
    (InboxState.ACCEPTED, InboxStep.RUN): InboxState.RUNNING,
    (InboxState.ACCEPTED, InboxStep.ANSWER): InboxState.ANSWERED,
    (InboxState.ACCEPTED, InboxStep.GIVE_UP): InboxState.DEAD,
    (InboxState.RUNNING, InboxStep.RUN): InboxState.RUNNING,  # asked again with the same key
    (InboxState.RUNNING, InboxStep.ANSWER): InboxState.ANSWERED,
    (InboxState.RUNNING, InboxStep.GIVE_UP): InboxState.DEAD,
}
UNFINISHED = (InboxState.RECEIVED, InboxState.ACCEPTED, InboxState.RUNNING)


class IllegalStepError(RuntimeError):
    """The message is not in a state in which this may happen."""


class InboxRow(Struct, frozen=True):
    """A message that came in, as it is kept."""

    id: int
    channel: str
    account: str
    state: InboxState
    message: Inbound
    received_ms: int

    @property
    def key(self) -> str:
        """The idempotency key under which the agent is asked: same message, same run."""
        return f"{self.channel}:{self.account}:{self.message.update_key}"


def step(state: InboxState, what: InboxStep) -> InboxState:
    """The state after `what`. Raises IllegalStepError if it cannot happen in `state`."""
    after = TRANSITIONS.get((state, what))
    if after is None:
        raise IllegalStepError(f"inbox: cannot {what} what is {state}")
    return after
