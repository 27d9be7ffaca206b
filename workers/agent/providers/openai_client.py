"""The official OpenAI SDK's client, as both OpenAI wire formats use it."""

import openai

from workers.agent.contract import Spec
from workers.agent.providers.remote import CONNECT_S, READ_IDLE_S, RETRIES_COUNT, Sdk, key

DEFAULT_URL = "https://api.openai.com/v1"
SDK = Sdk(openai.APITimeoutError, openai.APIConnectionError, openai.APIStatusError, openai.APIError)


def client(spec: Spec) -> openai.OpenAI:
    """A client for the provider of `spec`."""
    return openai.OpenAI(
        api_key=key(spec, DEFAULT_URL),
        base_url=spec.provider.base_url or DEFAULT_URL,
        timeout=openai.Timeout(READ_IDLE_S, connect=CONNECT_S),
        max_retries=RETRIES_COUNT,
    )
