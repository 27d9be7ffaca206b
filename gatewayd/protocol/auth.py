"""Whether a connecting client knows the shared secret. Pure."""

import hashlib
import hmac
from dataclasses import dataclass

from bus.errors import INVALID_REQUEST, UNAVAILABLE, RpcError
from gatewayd.protocol.connect import Client, Credentials, is_browser_ui
from gatewayd.protocol.limiter import Limiter

SCOPES = (
    "operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing",
)  # fmt: skip


@dataclass(frozen=True)
class Secret:
    """The profile's shared secret: its kind, `token` or `password`, and value."""

    mode: str
    value: str


def digest(text: str) -> bytes:
    """Fixed-size form in which secrets are compared, so that lengths tell nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Authenticator:
    """Judges shared secrets, one limiter for every way in."""

    def __init__(self, secret: Secret) -> None:
        self._mode = secret.mode
        self._digest = digest(secret.value)
        self._limiter = Limiter()

    def check(
        self, given: Credentials, client: Client, address: str, now: float
    ) -> RpcError | None:
        """None if the client may come in, else the error it gets."""
        value = given.token if self._mode == "token" else given.password
        if not value:
            return self._refusal("missing", client)
        return self.check_value(value, client, address, now)

    def check_value(
        self, value: str, client: Client | None, address: str, now: float
    ) -> RpcError | None:
        """The same for a bare secret, as HTTP requests carry it."""
        guess = digest(value)
        wait_s = self._limiter.wait_s(address, guess, now)
        if wait_s > 0:
            return RpcError(
                UNAVAILABLE,
                f"unauthorized: too many failed attempts from {address}; wait and retry",
                details={"code": "AUTH_RATE_LIMITED", "authReason": "rate_limited"},
                retry_after_ms=int(wait_s * 1000) + 1,
            )
        if hmac.compare_digest(guess, self._digest):
            return None
        self._limiter.failed(address, guess, now)
        return self._refusal("mismatch", client)

    def _refusal(self, what: str, client: Client | None) -> RpcError:
        return RpcError(
            INVALID_REQUEST,
            f"unauthorized: gateway {self._mode} {what} ({self._hint(client)})",
            details={
                "code": f"AUTH_{self._mode.upper()}_{what.upper()}",
                "authReason": f"{self._mode}_{what}",
            },
        )

    def _hint(self, client: Client | None) -> str:
        if client is not None and client.mode == "cli":
            return f"set gateway.remote.{self._mode} to match gateway.auth.{self._mode}"
        if client is not None and is_browser_ui(client):
            return f"enter the {self._mode} in the page, or in the Control UI settings"
        return f"provide gateway auth {self._mode}"


def granted_scopes(requested: tuple[str, ...]) -> tuple[str, ...]:
    """Scopes of a client that proved the shared secret (it stands for the owner).

    Asking for none means all, as clients of protocol 3 expect; unknown names are not granted.
    """
    if not requested:
        return ("operator.admin",)
    return tuple(dict.fromkeys(scope for scope in requested if scope in SCOPES))
