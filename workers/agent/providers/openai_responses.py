"""OpenAI's responses API."""

from collections.abc import Iterator
from typing import Any

import openai.resources.responses  # noqa: F401 - the SDK would import it at the first call

from workers.agent.contract import Delta, Done, Spec, Usage
from workers.agent.providers.errors import ProviderError
from workers.agent.providers.openai_client import SDK, client
from workers.agent.providers.remote import broken_off, messages, most_tokens, place, plain_errors


def stream(spec: Spec) -> Iterator[Delta | Done]:
    """Asks for a streamed response and yields it."""
    said: list[str] = []
    last: Done | None = None
    with plain_errors(spec, SDK), client(spec).responses.create(**_request(spec)) as events:
        for event in events:
            match event.type:
                case "response.output_text.delta" | "response.refusal.delta":
                    said.append(event.delta)
                    yield Delta(event.delta)
                case "response.completed" | "response.incomplete":
                    last = _done("".join(said), event.response)
                case "response.failed":
                    raise _failed(spec, event.response.error)
                case "error":
                    raise _failed(spec, event)
                case _:
                    pass
    if last is None:
        raise broken_off(spec)
    yield last


def _request(spec: Spec) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": spec.model,
        "input": messages(spec),
        "stream": True,
        "store": False,
    }
    if spec.system:
        request["instructions"] = spec.system
    limit = most_tokens(spec)
    if limit is not None:
        request["max_output_tokens"] = limit
    return request


def _done(text: str, response: Any) -> Done:
    details = response.incomplete_details
    counted = response.usage
    usage = Usage()
    if counted is not None:
        usage = Usage(counted.input_tokens, counted.output_tokens, counted.total_tokens)
    return Done(text, details.reason if details is not None else "stop", usage)


def _failed(spec: Spec, error: Any) -> ProviderError:
    return ProviderError(f"{place(spec)} failed: {getattr(error, 'message', None) or 'no reason'}")
