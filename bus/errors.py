"""The error a caller can act on, with the codes of the wire protocol. Pure."""

from typing import Any, Final

INVALID_REQUEST: Final = "INVALID_REQUEST"
UNAVAILABLE: Final = "UNAVAILABLE"
NOT_PAIRED: Final = "NOT_PAIRED"
NOT_LINKED: Final = "NOT_LINKED"
AGENT_TIMEOUT: Final = "AGENT_TIMEOUT"

RETRY_SOON_MS: Final = 25
"""A killed worker is back in tens of milliseconds (measured: 35 to 45)."""


class RpcError(Exception):
    """A call failed in a way the caller is told: code, message, and what may help.

    `payload` goes beside the error for methods whose failures carry a result.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Any = None,
        retry_after_ms: int | None = None,
        payload: Any = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retry_after_ms = retry_after_ms
        self.payload = payload

    def shape(self) -> dict[str, Any]:
        """The protocol's error object; absent members are left out, never null."""
        shape: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            shape["details"] = self.details
        if self.retry_after_ms is not None:
            shape["retryable"] = True
            shape["retryAfterMs"] = self.retry_after_ms
        return shape


def invalid(message: str, details: Any = None) -> RpcError:
    """The request itself is wrong; the same request will fail again."""
    return RpcError(INVALID_REQUEST, message, details=details)


def unavailable(message: str, retry_after_ms: int | None = RETRY_SOON_MS) -> RpcError:
    """Something this call needs is not there now; retrying may help."""
    return RpcError(UNAVAILABLE, message, retry_after_ms=retry_after_ms)
