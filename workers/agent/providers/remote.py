"""What all model services over HTTP have in common: keys, limits, errors in plain words."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from workers.agent.contract import Spec
from workers.agent.providers.errors import ProviderError

CONNECT_S = 10.0
READ_IDLE_S = 120.0
"""Between two pieces of an answer; reasoning models think for a while."""
RETRIES_COUNT = 3
"""For 429, 5xx and connection errors before the first token; the SDKs back off and honour
Retry-After."""
NO_KEY = "none"
"""Sent to services on this machine that want no key: the SDKs want one."""
LONGEST_REASON_CHARS = 300

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
TOO_LARGE = 413
TOO_MANY = 429
SERVER_ERRORS = 500


class Sdk(NamedTuple):
    """The exception classes of a vendor's SDK, most special first."""

    timeout: type[Exception]
    connection: type[Exception]
    status: type[Exception]
    any: type[Exception]


def key(spec: Spec, default_url: str) -> str:
    """The key to send; raises ProviderError when a service elsewhere has none."""
    if spec.provider.api_key is not None:
        return spec.provider.api_key
    if is_loopback(spec.provider.base_url or default_url):
        return NO_KEY
    raise ProviderError(
        f"{place(spec)} needs a key: set models.providers.{spec.provider_id}.apiKey"
    )


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def most_tokens(spec: Spec) -> int | None:
    """The configured limit of an answer of this model."""
    return next((m.max_tokens for m in spec.provider.models if m.id == spec.model), None)


def messages(spec: Spec) -> list[dict[str, str]]:
    """The conversation's turns as role and content."""
    return [{"role": turn.role, "content": turn.text} for turn in spec.turns]


def place(spec: Spec) -> str:
    """Provider and model, as people name them."""
    return f"{spec.provider_id}/{spec.model}"


def broken_off(spec: Spec) -> ProviderError:
    """The stream ended before the model was done."""
    return ProviderError(f"{place(spec)} broke off in the middle of its answer: try again")


@contextmanager
def plain_errors(spec: Spec, sdk: Sdk) -> Iterator[None]:
    """Turns the SDK's exceptions into a ProviderError of one readable sentence."""
    try:
        yield
    except sdk.timeout:
        raise ProviderError(
            f"{place(spec)} did not answer within {READ_IDLE_S:.0f} s: try again later"
        ) from None
    except sdk.connection as error:
        reason = error.__cause__ or error
        raise ProviderError(
            f"{place(spec)} cannot be reached ({_short(str(reason))}): is the service up, and "
            f"models.providers.{spec.provider_id}.baseUrl right?"
        ) from None
    except sdk.status as error:
        said = _without_key(spec, _reason(error))
        raise ProviderError(status_text(spec, _status(error), said)) from None
    except sdk.any as error:
        raise ProviderError(
            f"{place(spec)} failed: {_short(_without_key(spec, _reason(error)))}"
        ) from None


def status_text(spec: Spec, status: int, reason: str) -> str:
    """What an HTTP status means and what to do about it."""
    where = f"models.providers.{spec.provider_id}"
    said = f"{place(spec)} answered {status}"
    detail = f" ({_short(reason)})" if reason else ""
    if status in (UNAUTHORIZED, FORBIDDEN):
        return f"{said}, the key was refused{detail}: check {where}.apiKey"
    if status == NOT_FOUND:
        return f"{said}, no such model or address{detail}: check the model and {where}.baseUrl"
    if status == TOO_LARGE:
        return f"{said}, the conversation is too long{detail}: start a new session"
    if status == TOO_MANY:
        return f"{said}, its limit is reached{detail}: try again later, or check your plan"
    if status >= SERVER_ERRORS:
        return f"{said}, the service is in trouble{detail}: try again later"
    return f"{said}, it refused the request{detail}"


def _status(error: Exception) -> int:
    return int(getattr(error, "status_code", 0))


def _reason(error: Exception) -> str:
    """The service's own words, out of the usual places of a JSON error."""
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
        if isinstance(inner, str):
            return inner
    return str(getattr(error, "message", "")) or str(error)


def _without_key(spec: Spec, text: str) -> str:
    """The service may repeat the key it refused; its words go to every client and into logs."""
    secret = spec.provider.api_key
    return text.replace(secret, "[the key]") if secret else text


def _short(text: str) -> str:
    one_line = " ".join(text.split()).rstrip(".")
    return one_line[:LONGEST_REASON_CHARS]
