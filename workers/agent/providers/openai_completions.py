"""OpenAI's chat completions: also ollama, vLLM, llama.cpp, OpenRouter and many others."""

from collections.abc import Iterator
from typing import Any

import openai
import openai.resources.chat.completions  # the SDK would import it at the first call

from workers.agent.contract import Delta, Done, Spec, Usage
from workers.agent.providers.openai_client import DEFAULT_URL, SDK, client
from workers.agent.providers.remote import broken_off, messages, most_tokens, plain_errors

USAGE_OPTION = "stream_options"


def stream(spec: Spec) -> Iterator[Delta | Done]:
    """Asks for a streamed completion and yields it."""
    said: list[str] = []
    stop_reason: str | None = None
    usage = Usage()
    with plain_errors(spec, SDK), _open(client(spec), _request(spec)) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta is not None and choice.delta.content:
                    said.append(choice.delta.content)
                    yield Delta(choice.delta.content)
                stop_reason = choice.finish_reason or stop_reason
            if chunk.usage is not None:
                usage = _usage(chunk.usage)
    if stop_reason is None:
        raise broken_off(spec)
    yield Done("".join(said), stop_reason, usage)


def _request(spec: Spec) -> dict[str, Any]:
    system = [{"role": "system", "content": spec.system}] if spec.system else []
    request: dict[str, Any] = {
        "model": spec.model,
        "messages": system + messages(spec),
        "stream": True,
        USAGE_OPTION: {"include_usage": True},
    }
    limit = most_tokens(spec)
    if limit is not None:
        # OpenAI's newer models refuse the old name, other services know no other.
        is_openai = (spec.provider.base_url or DEFAULT_URL).startswith(DEFAULT_URL)
        request["max_completion_tokens" if is_openai else "max_tokens"] = limit
    return request


def _open(service: openai.OpenAI, request: dict[str, Any]) -> Any:
    """The stream; some services refuse to count tokens while they stream."""
    try:
        return service.chat.completions.create(**request)
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        if USAGE_OPTION not in str(error) and "include_usage" not in str(error):
            raise
        reduced = {name: value for name, value in request.items() if name != USAGE_OPTION}
        return service.chat.completions.create(**reduced)


def _usage(counted: Any) -> Usage:
    return Usage(
        counted.prompt_tokens or 0, counted.completion_tokens or 0, counted.total_tokens or 0
    )
