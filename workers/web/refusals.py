"""What an HTTP client is told when it does not get what it asked for. Pure."""

import math
from typing import Any

import msgspec

from bus.errors import INVALID_REQUEST, RpcError

RATE_LIMITED = "AUTH_RATE_LIMITED"
MISSING_SCOPE = "MISSING_SCOPE"
INVALID = "invalid_request_error"
API = "api_error"

_encode = msgspec.json.Encoder().encode


class HttpError(Exception):
    """An answer that refuses: status, JSON body or plain text, further headers."""

    def __init__(
        self, status: int, body: dict[str, Any] | str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.headers = {"Cache-Control": "no-store", **(headers or {})}
        is_text = isinstance(body, str)
        self.media_type = "text/plain; charset=utf-8" if is_text else "application/json"
        self.body = body.encode() if isinstance(body, str) else _encode(body)


def refused(status: int, kind: str, message: str, **headers: str) -> HttpError:
    """A refusal in the shape of the OpenAI API; names in `headers` are written with `_`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpError(status, {"error": {"message": message, "type": kind}}, named)


def invalid(message: str) -> HttpError:
    """The request itself is wrong."""
    return refused(400, INVALID, message)


def method_not_allowed(allowed: str) -> HttpError:
    """Another method is needed here."""
    return HttpError(405, "Method Not Allowed", {"Allow": allowed})


def unauthorized() -> HttpError:
    """No secret or a wrong one; which of both is nobody's business."""
    return refused(401, "unauthorized", "Unauthorized", WWW_Authenticate="Bearer")


def of_authorization(error: RpcError) -> HttpError:
    """The front's refusal to let somebody in."""
    code = error.details.get("code") if isinstance(error.details, dict) else None
    if code == RATE_LIMITED:
        wait = _seconds(error.retry_after_ms)
        return refused(429, "rate_limit_error", error.message, Retry_After=wait)
    if code == MISSING_SCOPE:
        return refused(403, "forbidden", error.message)
    if error.code == INVALID_REQUEST:
        return unauthorized()
    return refused(503, API, error.message, Retry_After=_seconds(error.retry_after_ms))


def of_run(error: RpcError, *, was_accepted: bool) -> HttpError:
    """The end of a run that did not end well; one that had begun is not to be repeated blindly."""
    if error.code == INVALID_REQUEST:
        return invalid(error.message)
    headers = {"x_should_retry": "false"} if was_accepted else {}
    if error.retry_after_ms is not None:
        headers["Retry_After"] = _seconds(error.retry_after_ms)
        return refused(503, API, error.message, **headers)
    return refused(500, API, error.message, **headers)


def _seconds(wait_ms: int | None) -> str:
    return str(max(1, math.ceil((wait_ms or 0) / 1000)))
