"""Methods `sessions.preview`, `.resolve`, `.listTranscripts`: how sessions are found."""

import sqlite3
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta

from bus.errors import invalid
from bus.rpc import Call, Methods, Params, Result, Scope
from conf.schema import Settings
from workers.agent import archive, keys, tables
from workers.agent.clock import now_ms
from workers.agent.records import Session
from workers.agent.sessions import Label, NonEmpty, Sessions, title
from workers.store import Store

MOST_KEYS = 64
MOST_ITEMS = 50
MOST_CHARS = 2_000
ELLIPSIS = "..."
NAMED_COUNT = 5
"""How many sessions an error names."""


class PreviewParams(Params, frozen=True):
    """Params of sessions.preview."""

    keys: Annotated[tuple[NonEmpty, ...], Meta(min_length=1)]
    limit: Annotated[int, Meta(ge=1)] = 12
    max_chars: Annotated[int, Meta(ge=20)] = 240


class Item(Result, frozen=True):
    """The beginning of one message."""

    role: str
    text: str


class Preview(Result, frozen=True):
    """The last messages of one session."""

    key: str
    """As it was asked for."""
    status: Literal["ok", "empty", "missing", "error"]
    items: tuple[Item, ...]


class Previews(Result, frozen=True):
    """Result of sessions.preview."""

    ts: int
    previews: tuple[Preview, ...]


class ResolveParams(Params, frozen=True):
    """Params of sessions.resolve: exactly one of key, sessionId and label."""

    key: NonEmpty | None = None
    session_id: NonEmpty | None = None
    label: Label | None = None
    agent_id: NonEmpty | None = None
    spawned_by: NonEmpty | None = None
    include_global: bool = False
    include_unknown: bool = False


class TranscriptsParams(Params, frozen=True):
    """Params of sessions.listTranscripts."""

    session_key: NonEmpty
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class SessionLookup:
    """How sessions are found and looked into."""

    methods = Methods()

    def __init__(self, settings: Settings, store: Store, sessions: Sessions) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions

    @methods.method("sessions.preview", scope=Scope.READ)
    async def preview(self, _call: Call, params: PreviewParams) -> Previews:
        """The last messages of some sessions, shortened."""
        limit, most = min(params.limit, MOST_ITEMS), min(params.max_chars, MOST_CHARS)
        wanted = [
            (name, self._sessions.get(keys.canonical(self._settings, name)))
            for name in params.keys[:MOST_KEYS]
        ]

        def job(db: sqlite3.Connection) -> tuple[Preview, ...]:
            return tuple(_preview(db, name, session, limit, most) for name, session in wanted)

        return Previews(now_ms(), await self._store.read_aside(job))

    @methods.method("sessions.resolve", scope=Scope.ADMIN)
    def resolve(self, _call: Call, params: ResolveParams) -> dict[str, Any]:
        """The key of a session of which one name is known."""
        given = [one for one in (params.key, params.session_id, params.label) if one is not None]
        if not given:
            raise invalid("Either key, sessionId or label is required")
        if len(given) > 1:
            raise invalid("Provide either key, sessionId, or label (not multiple)")
        if params.key is not None:
            found = self._sessions.get(keys.canonical(self._settings, params.key))
            return {"ok": True, "key": _only([found] if found else [], "", params.key)}
        if params.session_id is not None:
            same_id = (s for s in self._sessions.all() if s.session_id == params.session_id)
            # Some clients have only a key and call it the id.
            by_key = self._sessions.get(keys.canonical(self._settings, params.session_id))
            matches = _wanted(same_id, params) or _wanted([by_key] if by_key else [], params)
            return {"ok": True, "key": _only(matches, "", params.session_id)}
        label = params.label or ""
        matches = _wanted(self._sessions.labelled(label), params)
        return {"ok": True, "key": _only(matches, "with label", label)}

    @methods.method("sessions.listTranscripts", scope=Scope.READ)
    async def transcripts(self, _call: Call, params: TranscriptsParams) -> dict[str, Any]:
        """The transcript a session has and those it had, newest first."""
        key = keys.canonical(self._settings, params.session_key)
        session = self._sessions.get(key)

        def job(db: sqlite3.Connection) -> list[dict[str, Any]]:
            names = [session.session_id] if session is not None else []
            names += archive.transcripts(db, key, params.limit)
            outlines = ((name, tables.outline(db, name)) for name in names[: params.limit])
            return [
                {"sessionId": name, "firstQuestion": question and title(question), "mtime": mtime}
                for name, (question, mtime) in outlines
                if mtime is not None
            ]

        return {
            "ts": now_ms(),
            "sessionKey": params.session_key,
            "transcripts": await self._store.read_aside(job),
        }


def _preview(
    db: sqlite3.Connection, name: str, session: Session | None, limit: int, most_chars: int
) -> Preview:
    if session is None:
        return Preview(name, "missing", ())
    rows = tables.newest_texts(db, session.session_id, limit, most_chars + 1)
    items = tuple(
        Item(row.role, _shortened(row.text, most_chars)) for row in rows[::-1] if row.text
    )
    return Preview(name, "ok" if items else "empty", items)


def _wanted(sessions: Iterable[Session], params: ResolveParams) -> list[Session]:
    agent_id = params.agent_id and params.agent_id.lower()
    hidden = {
        name
        for name, is_shown in (
            ("global", params.include_global),
            ("unknown", params.include_unknown),
        )
        if not is_shown
    }
    return [
        one
        for one in sessions
        if one.key not in hidden
        and agent_id in (None, one.agent_id)
        and params.spawned_by in (None, one.entry.spawned_by)
    ]


def _only(found: list[Session], how: str, name: str) -> str:
    place = f" {how}" if how else ""
    if not found:
        raise invalid(f"No session found{place}: {name}")
    if len(found) > 1:
        names = ", ".join(one.key for one in found[:NAMED_COUNT])
        raise invalid(f"Multiple sessions found{place}: {name} ({names})")
    return found[0].key


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(ELLIPSIS)] + ELLIPSIS
