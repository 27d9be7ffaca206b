"""The tables of agent.db and every statement on them.

Functions that change something are jobs for `Store.write`; the others for `Store.read`.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from workers.agent.ledger import RunState
from workers.agent.records import Entry, Run, RunParams, Session, SessionEntry

MIGRATIONS = (
    """
    CREATE TABLE sessions (
        key TEXT PRIMARY KEY, session_id TEXT NOT NULL, agent_id TEXT NOT NULL,
        updated_at INTEGER NOT NULL, entry TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, session_id TEXT NOT NULL, parent_id TEXT,
        type TEXT NOT NULL, body TEXT NOT NULL, ts INTEGER NOT NULL
    );
    CREATE INDEX entries_by_session ON entries (session_id, seq);
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        session_key TEXT NOT NULL, session_id TEXT NOT NULL, agent_id TEXT NOT NULL,
        params TEXT NOT NULL, origin TEXT NOT NULL, state TEXT NOT NULL,
        pid INTEGER, pid_started INTEGER,
        accepted_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER,
        result TEXT, error TEXT, stop_reason TEXT
    );
    CREATE INDEX runs_unfinished ON runs (state) WHERE state IN ('accepted', 'running');
    CREATE TABLE system_events (
        number INTEGER PRIMARY KEY, session_key TEXT NOT NULL, text TEXT NOT NULL,
        ts INTEGER NOT NULL
    );
    CREATE INDEX system_events_by_session ON system_events (session_key, number);
    """,
    """
    CREATE TABLE archives (
        number INTEGER PRIMARY KEY, session_key TEXT NOT NULL, transcript TEXT NOT NULL,
        reason TEXT NOT NULL, ts INTEGER NOT NULL
    );
    CREATE INDEX archives_by_session ON archives (session_key, number);
    CREATE TABLE spent (
        run_id TEXT PRIMARY KEY, ts INTEGER NOT NULL, session_key TEXT NOT NULL,
        session_id TEXT NOT NULL, agent_id TEXT NOT NULL, channel TEXT NOT NULL,
        provider TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
        has_answer INTEGER NOT NULL, duration_ms INTEGER,
        input INTEGER NOT NULL, output INTEGER NOT NULL, total INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX spent_by_time ON spent (ts);
    CREATE INDEX spent_by_session ON spent (session_key, ts);
    INSERT INTO spent
        SELECT run_id, ended_at, session_key, session_id, agent_id, '',
            coalesce(json_extract(result, '$.meta.agentMeta.provider'), ''),
            coalesce(json_extract(result, '$.meta.agentMeta.model'), ''),
            state, coalesce(json_array_length(result, '$.payloads') > 0, 0),
            ended_at - started_at,
            coalesce(json_extract(result, '$.meta.agentMeta.usage.input'), 0),
            coalesce(json_extract(result, '$.meta.agentMeta.usage.output'), 0),
            coalesce(json_extract(result, '$.meta.agentMeta.usage.total'), 0)
        FROM runs WHERE ended_at IS NOT NULL;
    """,
)
SYSTEM_EVENTS_CAP_COUNT = 20

_encode = msgspec.json.Encoder().encode
_decode_entry = msgspec.json.Decoder(SessionEntry).decode
_decode_params = msgspec.json.Decoder(RunParams).decode


class Text(msgspec.Struct, frozen=True):
    """A message as previews and logs show it."""

    role: str
    text: str
    ts: int
    tokens: int | None
    """None: not counted."""


def load_sessions(db: sqlite3.Connection) -> list[Session]:
    """All sessions."""
    rows = db.execute("SELECT key, session_id, agent_id, updated_at, entry FROM sessions")
    return [
        Session(key, session_id, agent_id, updated_at, _decode_entry(entry))
        for key, session_id, agent_id, updated_at, entry in rows
    ]


def put_session(db: sqlite3.Connection, session: Session) -> None:
    """Stores a session as it is now."""
    entry = _encode(session.entry).decode()
    db.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " session_id = excluded.session_id, agent_id = excluded.agent_id,"
        " updated_at = excluded.updated_at, entry = excluded.entry",
        (session.key, session.session_id, session.agent_id, session.updated_at, entry),
    )


def delete_session(db: sqlite3.Connection, key: str) -> None:
    """Removes a session and what waits for its next prompt; its transcript stays."""
    db.execute("DELETE FROM sessions WHERE key = ?", (key,))
    db.execute("DELETE FROM system_events WHERE session_key = ?", (key,))


def add_run(db: sqlite3.Connection, run: Run) -> None:
    """Enters an accepted run."""
    db.execute(
        "INSERT INTO runs (run_id, kind, session_key, session_id, agent_id, params, origin, state,"
        " accepted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.run_id,
            run.kind,
            run.session_key,
            run.session_id,
            run.agent_id,
            _encode(run.params).decode(),
            run.origin,
            run.state.value,
            run.accepted_at,
        ),
    )


def update_run(db: sqlite3.Connection, run: Run, before: RunState) -> None:
    """Moves a run from state `before` to where it stands now."""
    changed = db.execute(
        "UPDATE runs SET state = ?, pid = ?, pid_started = ?, started_at = ?, ended_at = ?,"
        " result = ?, error = ?, stop_reason = ? WHERE run_id = ? AND state = ?",
        (
            run.state.value,
            run.pid,
            run.pid_started,
            run.started_at,
            run.ended_at,
            None if run.result is None else _encode(run.result).decode(),
            run.error,
            run.stop_reason,
            run.run_id,
            before.value,
        ),
    )
    if changed.rowcount != 1:
        raise sqlite3.IntegrityError(f"run {run.run_id} is not {before} in the ledger")


def find_run(db: sqlite3.Connection, run_id: str) -> Run | None:
    """The run with this id."""
    row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else _run(row)


def unfinished_runs(db: sqlite3.Connection) -> list[Run]:
    """The runs that have not ended, in the order in which they were accepted."""
    rows = db.execute("SELECT * FROM runs WHERE state IN ('accepted', 'running') ORDER BY number")
    return [_run(row) for row in rows]


def forget_runs(db: sqlite3.Connection, ended_before: int) -> int:
    """Removes runs that ended before a time (ms); returns how many."""
    return db.execute("DELETE FROM runs WHERE ended_at < ?", (ended_before,)).rowcount


def append(db: sqlite3.Connection, entry: Entry) -> None:
    """Adds an entry at the end of its transcript."""
    db.execute(
        "INSERT INTO entries (id, session_id, parent_id, type, body, ts) VALUES (?1, ?2,"
        " (SELECT id FROM entries WHERE session_id = ?2 ORDER BY seq DESC LIMIT 1), ?3, ?4, ?5)",
        (entry.id, entry.session_id, entry.type, entry.body.decode(), entry.ts),
    )


def newest_entries(
    db: sqlite3.Connection, session_id: str, types: Sequence[str], limit: int
) -> Iterator[bytes]:
    """Bodies of the newest entries of some types, newest first, read as they are asked for."""
    marks = ", ".join("?" * len(types))
    rows = db.execute(
        f"SELECT body FROM entries WHERE session_id = ? AND type IN ({marks})"  # noqa: S608
        " ORDER BY seq DESC LIMIT ?",
        (session_id, *types, limit),
    )
    return (row[0].encode() for row in rows)


def newest_texts(
    db: sqlite3.Connection, session_id: str, limit: int, most_chars: int
) -> list[Text]:
    """Beginnings of the newest messages, newest first."""
    rows = db.execute(
        "SELECT coalesce(json_extract(body, '$.role'), 'other'),"
        " coalesce(substr(json_extract(body, '$.content[0].text'), 1, ?), ''), ts,"
        " json_extract(body, '$.usage.total')"
        " FROM entries WHERE session_id = ? AND type = 'message' ORDER BY seq DESC LIMIT ?",
        (most_chars, session_id, limit),
    )
    return [Text(*row) for row in rows]


def outline(db: sqlite3.Connection, session_id: str) -> tuple[str | None, int | None]:
    """First question of a transcript and when it last grew (ms); None: it is empty."""
    question = db.execute(
        "SELECT substr(json_extract(body, '$.content[0].text'), 1, 240) FROM entries WHERE"
        " session_id = ? AND json_extract(body, '$.role') = 'user' AND type = 'message'"
        " ORDER BY seq LIMIT 1",
        (session_id,),
    ).fetchone()
    newest = db.execute(
        "SELECT ts FROM entries WHERE session_id = ? ORDER BY seq DESC LIMIT 1", (session_id,)
    ).fetchone()
    return (question[0] if question else None), (newest[0] if newest else None)


def add_system_event(db: sqlite3.Connection, session_key: str, text: str, ts: int) -> None:
    """Queues a text for the session's next prompt; the oldest go beyond the cap."""
    last = db.execute(
        "SELECT text FROM system_events WHERE session_key = ? ORDER BY number DESC LIMIT 1",
        (session_key,),
    ).fetchone()
    if last is not None and last[0] == text:
        return
    db.execute(
        "INSERT INTO system_events (session_key, text, ts) VALUES (?, ?, ?)",
        (session_key, text, ts),
    )
    db.execute(
        "DELETE FROM system_events WHERE session_key = ?1 AND number NOT IN (SELECT number FROM"
        " system_events WHERE session_key = ?1 ORDER BY number DESC LIMIT ?2)",
        (session_key, SYSTEM_EVENTS_CAP_COUNT),
    )


def system_events(db: sqlite3.Connection, session_key: str) -> list[tuple[int, str]]:
    """Number and text of what waits for the session's next prompt, oldest first."""
    rows = db.execute(
        "SELECT number, text FROM system_events WHERE session_key = ? ORDER BY number",
        (session_key,),
    )
    return [(row[0], row[1]) for row in rows]


def drain_system_events(db: sqlite3.Connection, session_key: str, up_to: int) -> None:
    """Removes what a prompt has taken."""
    db.execute(
        "DELETE FROM system_events WHERE session_key = ? AND number <= ?", (session_key, up_to)
    )


def _run(row: sqlite3.Row) -> Run:
    return Run(
        run_id=row["run_id"],
        kind=row["kind"],
        session_key=row["session_key"],
        session_id=row["session_id"],
        agent_id=row["agent_id"],
        params=_decode_params(row["params"]),
        state=RunState(row["state"]),
        accepted_at=row["accepted_at"],
        origin=row["origin"],
        pid=row["pid"],
        pid_started=row["pid_started"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        result=None if row["result"] is None else msgspec.json.decode(row["result"]),
        error=row["error"],
        stop_reason=row["stop_reason"],
    )
