"""What the agent's answer means for the person who asked. Pure."""

import msgspec
from msgspec import Struct

from bus.errors import UNAVAILABLE, RpcError

SILENCE = "NO_REPLY"
"""With this text the agent says that nothing is to be said."""
LONGEST_REASON_CHARS = 200
NO_TEXT = "The agent finished without an answer."
STOPPED = "The run was stopped."
UNREACHABLE = "Sorry, this could not be answered: the agent was not reachable for 30 minutes."
BROKEN = "Sorry, something went wrong here while answering this message."


class _Payload(Struct, frozen=True):
    text: str | None = None


class _Meta(Struct, frozen=True):
    aborted: bool = False


class _Result(Struct, frozen=True):
    payloads: tuple[_Payload, ...] = ()
    meta: _Meta = _Meta()


class _Final(Struct, frozen=True):
    result: _Result = _Result()


_decode = msgspec.json.Decoder(_Final).decode


def text_of(final: bytes) -> str:
    """The text of a run that ended well; empty when the agent wants to say nothing."""
    result = _decode(final).result
    text = "\n\n".join(p.text.strip() for p in result.payloads if p.text and p.text.strip())
    if text == SILENCE:
        return ""
    return text or (STOPPED if result.meta.aborted else NO_TEXT)


def is_worth_retrying(error: RpcError) -> bool:
    """True if nothing is wrong with the question: the other side is away for a moment."""
    return error.code == UNAVAILABLE and error.retry_after_ms is not None


def sentence(error: RpcError) -> str:
    """One short sentence for a person about a run that failed."""
    reason = error.message.strip().partition("\n")[0].rstrip(".")
    if len(reason) > LONGEST_REASON_CHARS:
        reason = reason[: LONGEST_REASON_CHARS - 1] + "…"
    return f"Sorry, this could not be answered: {reason}." if reason else BROKEN
