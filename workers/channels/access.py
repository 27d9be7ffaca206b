"""Who may talk to the agent: exact stable ids only, never names. Pure."""

from collections.abc import Collection
from enum import StrEnum

from workers.channels.base import Inbound

ANYONE = "*"


class Verdict(StrEnum):
    """What happens to a message."""

    ALLOW = "allow"
    PAIR = "pair"
    """A stranger gets a pairing code, once."""
    REFUSE = "refuse"
    """No answer at all."""


def decide(
    message: Inbound, policy: str, allowed: Collection[str], approved: Collection[str]
) -> Verdict:
    """Verdict on `message` by the channel's `policy`.

    `policy` is about private chats; `allowed` comes from the config, `approved` from pairing.
    A group counts by its own id: who is in a group that is allowed may talk to the agent there
    by addressing it.
    """
    if not message.sender:
        return Verdict.REFUSE
    if message.kind == "group":
        is_welcome = message.is_addressed and message.chat in allowed
        return Verdict.ALLOW if is_welcome else Verdict.REFUSE
    if policy == "disabled":
        return Verdict.REFUSE
    if policy == "open" and ANYONE in allowed:
        return Verdict.ALLOW
    if message.sender in allowed or message.sender in approved:
        return Verdict.ALLOW
    return Verdict.PAIR if policy == "pairing" else Verdict.REFUSE
