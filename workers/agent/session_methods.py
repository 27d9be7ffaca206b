"""Methods `sessions.*` that look at one session or change it."""

import sqlite3
import uuid
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace

from bus.errors import invalid, unavailable
from bus.rpc import Call, Methods, Params, Result, Scope
from conf.schema import Settings
from workers.agent import archive, keys, models, requests, tables
from workers.agent.clock import now_ms
from workers.agent.records import Session
from workers.agent.runs import Runs
from workers.agent.session_patch import Key, PatchParams, after_reset, patched, shown
from workers.agent.sessions import Sessions
from workers.store import Store

ABORT_BUDGET_S = 15.0
ABORT_TIMEOUT_MS = 20_000
COMPACT_LINES = 400


class KeyParams(Params, frozen=True):
    """Params of sessions.reset."""

    key: Key


class DeleteParams(Params, frozen=True):
    """Params of sessions.delete."""

    key: Key
    delete_transcript: bool = True
    """False: the transcript keeps its name."""


class CompactParams(Params, frozen=True):
    """Params of sessions.compact."""

    key: Key
    max_lines: Annotated[int, Meta(ge=1)] = COMPACT_LINES


class Changed(Result, frozen=True):
    """Result of sessions.reset."""

    ok: bool
    key: str
    entry: dict[str, Any]


class Deleted(Result, frozen=True):
    """Result of sessions.delete."""

    ok: bool
    key: str
    deleted: bool
    archived: tuple[str, ...]
    """Names of archived transcripts: `chat.history` reads them as `sessionId`."""


class Compacted(Result, frozen=True):
    """Result of sessions.compact."""

    ok: bool
    key: str
    compacted: bool
    reason: str | None = None
    kept: int | None = None
    archived: str | None = None
    """Name of the archived transcript."""


class SessionMethods:
    """What is done to single sessions."""

    methods = Methods()

    def __init__(
        self, settings: Settings, path: Path, store: Store, sessions: Sessions, runs: Runs
    ) -> None:
        self._settings = settings
        self._path = path
        self._store = store
        self._sessions = sessions
        self._runs = runs

    @methods.method("sessions.patch", scope=Scope.ADMIN)
    async def patch(self, call: Call, params: PatchParams) -> dict[str, Any]:
        """Changes settings of a session; one that is not there is created."""
        session = self._found_or_new(params.key, call.method)
        entry = patched(self._settings, self._sessions, session, params)
        updated = replace(session, updated_at=max(now_ms(), session.updated_at), entry=entry)
        await self._put(updated)
        provider, model, _ = models.names(self._settings, updated.agent_id, updated)
        return {
            "ok": True,
            "path": str(self._path),
            "key": updated.key,
            "entry": shown(updated),
            "resolved": {"modelProvider": provider, "model": model},
        }

    @methods.method("sessions.reset", scope=Scope.ADMIN, timeout_ms=ABORT_TIMEOUT_MS)
    async def reset(self, call: Call, params: KeyParams) -> Changed:
        """Begins a session anew: its choices stay, its conversation is left behind."""
        key = self._found_or_new(params.key, call.method).key
        await self._quiet(key)
        before, is_new = self._found_or_new(key, call.method), self._sessions.get(key) is None
        now = now_ms()
        session = Session(key, str(uuid.uuid4()), before.agent_id, now, after_reset(before.entry))

        def job(db: sqlite3.Connection) -> None:
            if not is_new:
                archive.leave_behind(db, key, before.session_id, now)
            tables.put_session(db, session)

        await self._put(session, job)
        return Changed(ok=True, key=key, entry=shown(session))

    @methods.method("sessions.delete", scope=Scope.ADMIN, timeout_ms=ABORT_TIMEOUT_MS)
    async def delete(self, _call: Call, params: DeleteParams) -> Deleted:
        """Removes a session; its transcript is archived."""
        key = keys.canonical(self._settings, params.key)
        if key == keys.main_session(self._settings, keys.agent_of(self._settings, key)):
            raise invalid(f"Cannot delete the main session ({key}).")
        if self._sessions.get(key) is None:
            return Deleted(ok=True, key=key, deleted=False, archived=())
        await self._quiet(key)
        session = self._sessions.get(key)
        if session is None:  # somebody else was quicker
            return Deleted(ok=True, key=key, deleted=False, archived=())
        session_id, now = session.session_id, now_ms()

        def job(db: sqlite3.Connection) -> str | None:
            tables.delete_session(db, key)
            if params.delete_transcript:
                return archive.set_aside(db, key, session_id, now)
            archive.leave_behind(db, key, session_id, now)
            return None

        self._sessions.remove(key)
        try:
            archived = await self._store.write(job)
        except BaseException:
            if self._sessions.get(key) is None:
                self._sessions.put(session)
            raise
        return Deleted(ok=True, key=key, deleted=True, archived=(archived,) if archived else ())

    @methods.method("sessions.compact", scope=Scope.ADMIN)
    async def compact(self, _call: Call, params: CompactParams) -> Compacted:
        """Shortens a transcript to its newest entries; the others are archived."""
        key = keys.canonical(self._settings, params.key)
        session = self._sessions.get(key)
        if session is None:
            return Compacted(ok=True, key=key, compacted=False, reason="no sessionId")
        session_id, now = session.session_id, now_ms()
        kept, archived = await self._store.write(
            lambda db: archive.shorten(db, key, session_id, params.max_lines, now)
        )
        if not kept:
            return Compacted(ok=True, key=key, compacted=False, reason="no transcript")
        if archived is None:
            return Compacted(ok=True, key=key, compacted=False, kept=kept)
        current = self._sessions.get(key)
        if current is not None and current.session_id == session_id:
            # The counts were of a conversation that is longer than what the model sees now.
            entry = replace(current.entry, input_tokens=0, output_tokens=0, total_tokens=0)
            await self._put(replace(current, updated_at=max(now, current.updated_at), entry=entry))
        return Compacted(ok=True, key=key, compacted=True, kept=kept, archived=archived)

    def _found_or_new(self, name: str, method: str) -> Session:
        key = keys.canonical(self._settings, name)
        session = self._sessions.get(key)
        if session is not None:
            return session
        agent_id = requests.check_agent(self._settings, key, None, method)
        return Session(key, str(uuid.uuid4()), agent_id, now_ms())

    async def _quiet(self, key: str) -> None:
        if not await self._runs.quiet(key, ABORT_BUDGET_S):
            raise unavailable(f"Session {key} is still active; try again in a moment.")

    async def _put(self, session: Session, job: Any = None) -> None:
        """Keeps a session as it is now, at once in memory and durably when this returns."""
        before = self._sessions.get(session.key)
        self._sessions.put(session)
        try:
            await self._store.write(job or (lambda db: tables.put_session(db, session)))
        except BaseException:
            if self._sessions.get(session.key) is session:
                if before is None:
                    self._sessions.remove(session.key)
                else:
                    self._sessions.put(before)
            raise
