"""What request headers and addresses say: secrets, agents, sessions. Pure."""

import re
from collections.abc import Iterable, Mapping

BRANDS = ("gatewayd", "openclaw", "opensoul", "clawdbot", "moltbot", "argent")
"""Names under which clients of this API know it: in headers and in names of models."""
DEFAULT_MODEL = BRANDS[0]
LONGEST_SESSION_CHARS = 400
_SECRET_NAMES = frozenset(("token", "access_token", "api_key", "apikey", "password", "auth"))
_FORMS = ("application/x-www-form-urlencoded", "multipart/", "text/")
_AGENT_ID = r"[a-z0-9][a-z0-9_-]{0,63}"
_MODEL = re.compile(rf"(?:(?:{'|'.join(BRANDS)})[:/]|agent:)({_AGENT_ID})", re.IGNORECASE)
_NO_AGENT = ("default",)


def bearer(authorization: str | None) -> str | None:
    """The secret of an Authorization header; None for none and for other schemes."""
    scheme, _, value = (authorization or "").strip().partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def secret_in_query(names: Iterable[str]) -> str | None:
    """The name of a query parameter that carries a secret."""
    return next((name for name in names if name.lower() in _SECRET_NAMES), None)


def is_foreign_form(content_type: str | None) -> bool:
    """Whether a page of another site could send a body of this type without being asked."""
    return (content_type or "").strip().lower().startswith(_FORMS)


def named_header(headers: Mapping[str, str], *names: str) -> str | None:
    """The first non-empty header `x-<brand>-<name>`."""
    for name in names:
        for brand in BRANDS:
            value = headers.get(f"x-{brand}-{name}", "").strip()
            if value:
                return value
    return None


def agent_of(headers: Mapping[str, str], model: str) -> str | None:
    """The agent a request names by header or model; None: the default one."""
    named = named_header(headers, "agent-id", "agent")
    if named is None:
        match = _MODEL.fullmatch(model.strip())
        named = match[1] if match else None
    return named.lower() if named is not None and named.lower() not in _NO_AGENT else None


def session_of(
    headers: Mapping[str, str], agent_id: str, prefix: str, user: str | None, fresh: str
) -> str:
    """The session of a request: named by header, kept for a user, else a `fresh` one."""
    named = named_header(headers, "session-key")
    if named is not None:
        return named[:LONGEST_SESSION_CHARS]
    if user:
        return f"agent:{agent_id}:{prefix}-user:{user[:LONGEST_SESSION_CHARS]}"
    return f"agent:{agent_id}:{prefix}:{fresh}"
