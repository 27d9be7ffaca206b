"""What workers ask before they serve somebody: may this client do that?"""

import time
from collections.abc import Callable

from bus.errors import INVALID_REQUEST, RpcError
from bus.rpc import Call, Methods, Params, Result, Scope
from gatewayd.protocol.access import rights_of
from gatewayd.protocol.auth import Authenticator, granted_scopes
from gatewayd.protocol.origin import is_local_direct


class AuthorizeParams(Params, frozen=True):
    """What a worker knows of a client that came to it over HTTP."""

    address: str
    """The peer's IP address."""
    scope: Scope
    """What it wants to do needs this."""
    token: str | None = None
    """The secret it gave, if any."""
    scopes: tuple[str, ...] = ()
    """The only scopes it wants to use; empty: all that its secret gives."""
    host: str | None = None
    """Its Host header."""
    is_forwarded: bool = False
    """Whether a proxy passed it on."""


class AuthorizeResult(Result, frozen=True):
    """Who the client is."""

    scopes: tuple[str, ...] = ()
    """What its secret allows; empty for one that gave none."""
    is_local: bool = False
    """On this machine, without a proxy."""


class Authorization:
    """The one decision about secrets, for those who do not come through the handshake."""

    methods = Methods()

    def __init__(self, auth: Authenticator, refused: Callable[[str, str], None]) -> None:
        """`refused(address, reason)` is told of everybody who may not come in."""
        self._auth = auth
        self._refused = refused

    @methods.method("gateway.authorize", scope=Scope.WORKER)
    def authorize(self, call: Call, params: AuthorizeParams) -> AuthorizeResult:
        """Judges a secret with the limiter of the handshake, and what it allows."""
        is_local = is_local_direct(params.address, params.host, is_forwarded=params.is_forwarded)
        if params.token is None:
            return AuthorizeResult(is_local=is_local)
        error = self._auth.check_value(params.token, None, params.address, time.monotonic())
        if error is not None:
            self._refused(params.address, error.message)
            raise error
        scopes = granted_scopes(params.scopes)
        if not rights_of("operator", scopes).allows(params.scope):
            text = f"missing scope: operator.{params.scope}"
            raise RpcError(INVALID_REQUEST, text, details={"code": "MISSING_SCOPE"})
        return AuthorizeResult(scopes, is_local)
