"""How a run ended, as the agent worker's final answer says it. Pure."""

import msgspec
from msgspec import Struct

_LENGTH_REASONS = ("length", "max_tokens", "max_output_tokens")


class _Payload(Struct, frozen=True):
    text: str | None = None


class _Usage(Struct, frozen=True):
    input: int = 0
    output: int = 0
    total: int = 0


class _AgentMeta(Struct, frozen=True):
    usage: _Usage = _Usage()


class _Meta(Struct, frozen=True):
    agent: _AgentMeta = msgspec.field(default=_AgentMeta(), name="agentMeta")
    stop_reason: str | None = msgspec.field(default=None, name="stopReason")


class _Result(Struct, frozen=True):
    payloads: tuple[_Payload, ...] = ()
    meta: _Meta = _Meta()


class _Final(Struct, frozen=True):
    result: _Result = _Result()


class Outcome(Struct, frozen=True):
    """A run that ended well."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    is_cut: bool = False
    """The model stopped at its limit, not at the end of what it wanted to say."""
    is_filtered: bool = False


_decode = msgspec.json.Decoder(_Final).decode


def read_outcome(answer: bytes) -> Outcome:
    """The outcome in the final answer of `agent`."""
    result = _decode(answer).result
    used = result.meta.agent.usage
    return Outcome(
        text="\n".join(payload.text for payload in result.payloads if payload.text),
        input_tokens=used.input,
        output_tokens=used.output,
        total_tokens=used.total,
        is_cut=result.meta.stop_reason in _LENGTH_REASONS,
        is_filtered=result.meta.stop_reason == "content_filter",
    )
