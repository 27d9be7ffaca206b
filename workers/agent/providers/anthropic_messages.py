"""Anthropic's messages API, with its SDK when that is installed."""

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from workers.agent.contract import Delta, Done, Spec, Usage
from workers.agent.providers.errors import ProviderError
from workers.agent.providers.remote import (
    CONNECT_S,
    READ_IDLE_S,
    RETRIES_COUNT,
    Sdk,
    broken_off,
    key,
    messages,
    most_tokens,
    place,
    plain_errors,
)

DEFAULT_URL = "https://api.anthropic.com"
ANSWER_TOKENS = 8192
"""The API wants a limit; this one when the model's entry has none."""

try:
    _sdk: ModuleType | None = importlib.import_module("anthropic")
except ImportError:
    _sdk = None


def stream(spec: Spec) -> Iterator[Delta | Done]:
    """Asks for a streamed message and yields it."""
    if _sdk is None:
        raise ProviderError(
            f"{place(spec)} needs the package anthropic: pip install 'gatewayd[anthropic]', "
            "then restart the gateway"
        )
    said: list[str] = []
    stop_reason: str | None = None
    counts = [0, 0]
    with plain_errors(spec, _errors(_sdk)), _open(_sdk, spec) as events:
        for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                said.append(event.delta.text)
                yield Delta(event.delta.text)
            elif event.type == "message_start":
                counts[0] = event.message.usage.input_tokens or 0
            elif event.type == "message_delta":
                stop_reason = event.delta.stop_reason or stop_reason
                counts[1] = event.usage.output_tokens or counts[1]
    if stop_reason is None:
        raise broken_off(spec)
    yield Done("".join(said), stop_reason, Usage(counts[0], counts[1], sum(counts)))


def _open(sdk: ModuleType, spec: Spec) -> Any:
    client = sdk.Anthropic(
        api_key=key(spec, DEFAULT_URL),
        base_url=(spec.provider.base_url or DEFAULT_URL).removesuffix("/v1"),
        timeout=sdk.Timeout(READ_IDLE_S, connect=CONNECT_S),
        max_retries=RETRIES_COUNT,
    )
    request: dict[str, Any] = {
        "model": spec.model,
        "messages": messages(spec),
        "max_tokens": most_tokens(spec) or ANSWER_TOKENS,
        "stream": True,
    }
    if spec.system:
        request["system"] = spec.system
    return client.messages.create(**request)


def _errors(sdk: ModuleType) -> Sdk:
    return Sdk(sdk.APITimeoutError, sdk.APIConnectionError, sdk.APIStatusError, sdk.APIError)
