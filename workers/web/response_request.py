"""Responses (the newer of the two APIs): what clients send, as a prompt and a session. Pure."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from workers.web.headers import DEFAULT_MODEL
from workers.web.prompt import Content, Prompt, PromptError, Said, build, text_of

PREFIX = "openresponses"
_CONTINUED = re.compile(r"resp_([0-9a-f]{32})_[0-9a-f]{32}")


class Item(Struct, frozen=True):
    """One item of `input`: a message, or what a tool was asked or said."""

    type: str = "message"
    role: str | None = None
    content: Content = None
    name: str | None = None
    arguments: str | None = None
    output: Content = None


class ResponseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request; members that only tune a model are taken and not passed on."""

    input: str | tuple[Item, ...]
    model: str = DEFAULT_MODEL
    instructions: str | None = None
    stream: bool | None = None
    user: str | None = None
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    store: bool | None = None
    reasoning: Any = None
    truncation: Any = None
    include: Any = None
    parallel_tool_calls: Any = None
    prompt_cache_key: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    stream_options: Any = None
    text: Any = None
    top_logprobs: Any = None


def prompt_of(request: ResponseRequest) -> Prompt:
    """The prompt of a request. Raises PromptError."""
    _check(request)
    if isinstance(request.input, str):
        return build([Said("user", request.input)], "input", request.instructions)
    said = [_said(item, at) for at, item in enumerate(request.input)]
    return build([one for one in said if one is not None], "input", request.instructions)


def fresh_ids(previous: str | None, session: str, answer: str) -> tuple[str, str]:
    """Id of the answer and of its session, which is that of the `previous` answer if there is one.

    `session` and `answer` are fresh, 32 hex digits each. Raises PromptError for a previous
    answer that is not one of ours.
    """
    if previous is not None:
        match = _CONTINUED.fullmatch(previous)
        if match is None:
            raise PromptError(f"previous_response_id: no response has the id {previous[:100]!r}")
        session = match[1]
    return f"resp_{session}_{answer}", session


def _check(request: ResponseRequest) -> None:
    if request.background:
        raise PromptError("background: not supported; leave it out and stream instead")
    choice = request.tool_choice
    if isinstance(choice, dict) or choice not in (None, "auto", "none"):
        raise PromptError(
            f"tool_choice: the agent does not call tools of clients, so {_shown(choice)}"
            " cannot be fulfilled; use auto or none"
        )


def _said(item: Item, at: int) -> Said | None:
    place = f"input[{at}]"
    if item.type == "message":
        if item.role is None:
            raise PromptError(f"{place}.role: missing")
        return Said(item.role, text_of(item.content, f"{place}.content"))
    if item.type == "function_call":
        return Said("assistant", f"[called {item.name} with {item.arguments}]")
    if item.type == "function_call_output":
        return Said("tool", text_of(item.output, f"{place}.output"))
    if item.type in ("reasoning", "item_reference"):
        return None
    raise PromptError(f"{place}.type: {item.type[:40]!r} is not supported")


def _shown(choice: str | dict[str, Any] | None) -> str:
    return msgspec.json.encode(choice).decode()[:100]
