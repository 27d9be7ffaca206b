"""Where answers come from: one module per wire format, found by its api name."""

import importlib
from collections.abc import Iterator
from typing import Protocol, cast

from workers.agent.contract import Delta, Done, Spec

MODULES = {
    "scripted": "workers.agent.providers.scripted",
    "local-gguf": "workers.agent.providers.local_gguf",
    "openai-completions": "workers.agent.providers.openai_completions",
    "openai-responses": "workers.agent.providers.openai_responses",
    "anthropic-messages": "workers.agent.providers.anthropic_messages",
}
"""Imported when needed: the vendors' SDKs take most of a second and 50 MB."""
LIGHT = ("scripted", "local-gguf")
"""Those that cost nothing to import."""


class Provider(Protocol):
    """A module that can answer: plain blocking code in a process of its own."""

    def stream(self, spec: Spec) -> Iterator[Delta | Done]:
        """Yields the answer as it comes, then Done; raises ProviderError."""
        ...


def find(api: str) -> Provider:
    """The provider of wire format `api`."""
    return cast(Provider, importlib.import_module(MODULES[api]))
