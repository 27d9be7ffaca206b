"""What `sessions.patch` makes of a session. Pure."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bus.errors import invalid
from bus.rpc import Params
from conf.schema import Settings
from workers.agent import keys, models
from workers.agent.records import Session, SessionEntry
from workers.agent.sessions import Label, Sessions

LONGEST_KEY_CHARS = 512
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY_CHARS)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None | UnsetType

THINKING = ("off", "minimal", "low", "medium", "high", "xhigh")
CHOICES = {
    "thinking_level": THINKING,
    "verbose_level": ("off", "on", "full"),
    "reasoning_level": ("off", "on", "stream"),
    "elevated_level": ("off", "on", "ask", "full"),
    "exec_host": ("sandbox", "gateway", "node"),
    "exec_security": ("deny", "allowlist", "full"),
    "exec_ask": ("off", "on-miss", "always"),
}
CLEARED_BY_OFF = ("thinking_level", "reasoning_level", "response_usage")
"""Off is what holds without a word."""
PLAIN = ("label", "response_usage", "send_policy", "group_activation", "exec_node")
HIDDEN = ("firstText", "lastText")
"""What we keep for lists; it is not told as part of an entry."""


class PatchParams(Params, frozen=True):
    """Params of sessions.patch: what is absent stays, null clears."""

    key: Key
    label: Label | UnsetType | None = UNSET
    thinking_level: Word = UNSET
    verbose_level: Word = UNSET
    reasoning_level: Word = UNSET
    response_usage: Literal["off", "tokens", "full", "on"] | UnsetType | None = UNSET
    elevated_level: Word = UNSET
    exec_host: Word = UNSET
    exec_security: Word = UNSET
    exec_ask: Word = UNSET
    exec_node: Word = UNSET
    model: Word = UNSET
    spawned_by: Word = UNSET
    send_policy: Literal["allow", "deny"] | UnsetType | None = UNSET
    group_activation: Literal["mention", "always"] | UnsetType | None = UNSET


def patched(
    settings: Settings, sessions: Sessions, session: Session, params: PatchParams
) -> SessionEntry:
    """The session's entry as the patch wants it. Raises RpcError for what it cannot be."""
    changes: dict[str, Any] = {}
    for name, allowed in CHOICES.items():
        changes |= _chosen(name, getattr(params, name), allowed)
    for name in PLAIN:
        value = getattr(params, name)
        if value is not UNSET:
            changes[name] = value.strip() or None if isinstance(value, str) else None
    for name in CLEARED_BY_OFF:
        if changes.get(name) == "off":
            changes[name] = None
    _check_label(sessions, session, changes)
    if params.spawned_by is not UNSET:
        changes["spawned_by"] = _parent(session, params.spawned_by)
    if params.model is not UNSET:
        changes |= _model(settings, session, params.model)
    return replace(session.entry, **changes)


def shown(session: Session) -> dict[str, Any]:
    """A session's entry as clients see it."""
    entry = msgspec.to_builtins(session.entry)
    kept = {name: value for name, value in entry.items() if name not in HIDDEN}
    return {"sessionId": session.session_id, "updatedAt": session.updated_at, **kept}


def after_reset(entry: SessionEntry) -> SessionEntry:
    """What of an entry outlives a reset: choices and places, not counters and texts."""
    return replace(
        entry,
        system_sent=False,
        aborted_last_run=False,
        input_tokens=0,
        output_tokens=0,
        total_tokens=0,
        model_provider=None,
        model=None,
        context_tokens=None,
        first_text=None,
        last_text=None,
    )


def _chosen(name: str, value: str | UnsetType | None, allowed: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(value, UnsetType):
        return {}
    if value is None:
        return {name: None}
    word = value.strip().lower()
    if word not in allowed:
        first, *rest = name.split("_")
        member = first + "".join(part.capitalize() for part in rest)
        raise invalid(f"invalid {member} (use {'|'.join(allowed)})")
    return {name: word}


def _check_label(sessions: Sessions, session: Session, changes: dict[str, Any]) -> None:
    if "label" not in changes:
        return
    label = changes["label"]
    if label is not None and any(one.key != session.key for one in sessions.labelled(label)):
        raise invalid(f"label already in use: {label}")


def _parent(session: Session, wanted: str | UnsetType | None) -> str | None:
    known = session.entry.spawned_by
    if not isinstance(wanted, str):
        if known is not None:
            raise invalid("spawnedBy cannot be cleared once set")
        return None
    if not keys.split(session.key)[1].startswith("subagent:"):
        raise invalid("spawnedBy is only supported for subagent:* sessions")
    if known not in (None, wanted.strip()):
        raise invalid("spawnedBy cannot be changed once set")
    return wanted.strip() or None


def _model(settings: Settings, session: Session, wanted: str | UnsetType | None) -> dict[str, Any]:
    """The choice of a model; what the last run used is no longer what the session uses."""
    cleared: dict[str, Any] = {
        "provider_override": None,
        "model_override": None,
        "model_provider": None,
        "model": None,
        "context_tokens": None,
    }
    if not isinstance(wanted, str):
        return cleared
    default = models.reference(settings, session.agent_id)
    name = wanted.strip()
    if "/" not in name:  # a model of the provider that answers anyway
        name = f"{default.partition('/')[0]}/{name}"
    if name == default:
        return cleared
    try:
        choice = models.find(settings, name, "model")
    except models.ModelError as error:
        raise invalid(f"invalid model: {error}") from error
    return {**cleared, "provider_override": choice.provider_id, "model_override": choice.model}
