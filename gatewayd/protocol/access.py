"""Which method a connection may call. Pure."""

from functools import lru_cache

from bus.errors import RpcError, invalid

_ADMIN = "operator.admin"
_SUFFICIENT = {
    "read": ("operator.read", "operator.write"),
    "write": ("operator.write",),
    "pairing": ("operator.pairing",),
    "approvals": ("operator.approvals",),
    "admin": (),
}


class Rights:
    """Role and scopes of one connection; verdicts are remembered by needed scope."""

    __slots__ = ("_allowed", "role", "scopes")

    def __init__(self, role: str, scopes: tuple[str, ...]) -> None:
        self.role = role
        self.scopes = scopes
        self._allowed = frozenset(needed for needed in (*_SUFFICIENT, "node") if self._has(needed))

    def allows(self, needed: str) -> bool:
        """Whether a method that needs scope `needed` may be called."""
        return needed in self._allowed

    def refusal(self, needed: str) -> RpcError:
        """What the client is told when it may not."""
        if self.role == "node" or needed == "node":
            return invalid(f"unauthorized role: {self.role}")
        return invalid(f"missing scope: operator.{needed}")

    def hears(self, scope: str) -> bool:
        """Whether events reserved for `scope` are meant for this connection."""
        return self.role == "operator" and self.allows(scope)

    def _has(self, needed: str) -> bool:
        if self.role == "node":
            return needed == "node"
        if needed == "node":
            return False
        return _ADMIN in self.scopes or any(s in self.scopes for s in _SUFFICIENT[needed])


@lru_cache(maxsize=256)
def rights_of(role: str, scopes: tuple[str, ...]) -> Rights:
    """The rights of that role and those scopes; clients that hold the same share one object."""
    return Rights(role, scopes)
