"""Methods `chat.*` and `sessions.list`: a conversation as a chat page sees it."""

import sqlite3
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from bus.errors import invalid
from bus.rpc import Call, Methods, Params, Scope
from workers.agent import answers, keys, requests, tables, transcript
from workers.agent.clock import now_ms
from workers.agent.execution import Active
from workers.agent.records import Message, TextBlock
from workers.agent.requests import NonEmpty, SendParams
from workers.agent.runs import Runs
from workers.agent.sessions import ListParams, Sessions, spoken
from workers.runtime import Worker
from workers.store import Store

HISTORY_LIMIT = 200

_encode = msgspec.json.Encoder().encode


class HistoryParams(Params, frozen=True):
    """Params of chat.history."""

    session_key: NonEmpty
    session_id: NonEmpty | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = HISTORY_LIMIT


class AbortParams(Params, frozen=True):
    """Params of chat.abort."""

    session_key: NonEmpty
    run_id: NonEmpty | None = None


class InjectParams(Params, frozen=True):
    """Params of chat.inject."""

    session_key: NonEmpty
    message: NonEmpty
    label: Annotated[str, Meta(max_length=100)] | None = None


class ChatMethods:
    """What chat pages ask."""

    methods = Methods()

    def __init__(self, worker: Worker, store: Store, sessions: Sessions, runs: Runs) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._store = store
        self._sessions = sessions
        self._runs = runs

    @methods.method("chat.send", scope=Scope.WRITE)
    async def send(self, call: Call, params: SendParams) -> dict[str, Any]:
        """Starts a run on a message; what it says comes as `chat` events."""
        if not params.message.strip() and not params.attachments:
            raise invalid("message or attachment required")
        requests.check_attachments("chat.send", params.attachments)
        if not params.message.strip():
            raise invalid("message required: the attachments hold nothing a model can read")
        key = keys.canonical(self._settings, params.session_key)
        requests.check_send_policy(self._sessions.get(key))
        if requests.is_stop(params.message):
            return self._aborted(params.session_key, None, "stop")
        new = requests.chat_run(self._settings, call.caller, params)
        active, is_new = await self._runs.accept(new)
        if not isinstance(active, Active):
            return answers.sent(active)
        # The answer leaves in this turn of the loop, events of the run in a later one.
        active.released.set()
        if not is_new:
            return answers.sent(active.run)
        return {"runId": active.run.run_id, "status": "started"}

    @methods.method("chat.history", scope=Scope.READ)
    def history(self, _call: Call, params: HistoryParams) -> bytes:
        """The newest messages of a session, oldest first."""
        session = self._sessions.get(keys.canonical(self._settings, params.session_key))
        session_id = params.session_id or (session and session.session_id)
        answer: dict[str, Any] = {"sessionKey": params.session_key}
        messages = b"[]"
        if session_id:
            answer["sessionId"] = session_id
            messages = self._store.read(
                lambda db: transcript.history(
                    tables.newest_entries(db, session_id, (transcript.MESSAGE,), params.limit)
                )
            )
        answer["thinkingLevel"] = (session and session.entry.thinking_level) or "off"
        if session is not None and session.entry.verbose_level is not None:
            answer["verboseLevel"] = session.entry.verbose_level
        answer["messages"] = msgspec.Raw(messages)
        return _encode(answer)

    @methods.method("chat.abort", scope=Scope.WRITE)
    def abort(self, _call: Call, params: AbortParams) -> dict[str, Any]:
        """Aborts a run, or all runs of a session."""
        return self._aborted(params.session_key, params.run_id, "rpc")

    @methods.method("chat.inject", scope=Scope.ADMIN)
    async def inject(self, _call: Call, params: InjectParams) -> dict[str, Any]:
        """Adds a message of the assistant to a session, without a run."""
        session = self._sessions.get(keys.canonical(self._settings, params.session_key))
        if session is None:
            raise invalid("session not found")
        now = now_ms()
        text = f"[{params.label}]\n\n{params.message}" if params.label else params.message
        nothing = {"input": 0, "output": 0, "total": 0}
        said = Message("assistant", (TextBlock(text),), now, usage=nothing, stop_reason="injected")
        entry = transcript.entry(session.session_id, said)
        spoken_entry = spoken(session.entry, text)
        updated = replace(session, updated_at=max(now, session.updated_at), entry=spoken_entry)
        self._sessions.put(updated)

        def job(db: sqlite3.Connection) -> None:
            tables.append(db, entry)
            tables.put_session(db, updated)

        await self._store.write(job)
        event = {"runId": f"inject-{entry.id}", "sessionKey": params.session_key, "seq": 0}
        self._worker.publish("chat", {**event, "state": "final", "message": said})
        return {"ok": True, "messageId": entry.id}

    @methods.method("sessions.list", scope=Scope.READ)
    def sessions(self, _call: Call, params: ListParams) -> bytes:
        """The sessions, newest first."""
        return self._sessions.listed(params, now_ms())

    def _aborted(self, session_key: str, run_id: str | None, reason: str) -> dict[str, Any]:
        # One session has several names: whoever stops it may know it by another.
        key = keys.canonical(self._settings, session_key)
        if run_id is not None and self._runs.active_session(run_id) not in (None, key):
            raise invalid("runId does not match sessionKey")
        run_ids = self._runs.abort(key, run_id, reason)
        return {"ok": True, "aborted": bool(run_ids), "runIds": run_ids}
