"""Statements that put transcripts aside: whole ones, or all but their end. Nothing is destroyed.

An archived transcript is one under another name; `chat.history` with that name as `sessionId`
reads it.
"""

import sqlite3
from datetime import UTC, datetime


def name(session_id: str, reason: str, now: int) -> str:
    """What the archived part of a transcript is called: `<sessionId>.<reason>.<time>`."""
    time = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    return f"{session_id}.{reason}.{time.replace('+00:00', 'Z').replace(':', '-')}"


def set_aside(db: sqlite3.Connection, session_key: str, session_id: str, now: int) -> str | None:
    """Archives all of a transcript; returns its new name, None if it holds nothing."""
    archived = name(session_id, "deleted", now)
    moved = db.execute(
        "UPDATE entries SET session_id = ? WHERE session_id = ?", (archived, session_id)
    )
    return _noted(db, session_key, archived, "deleted", now) if moved.rowcount else None


def shorten(
    db: sqlite3.Connection, session_key: str, session_id: str, keep: int, now: int
) -> tuple[int, str | None]:
    """Archives all but the newest `keep` entries; returns how many stay, and the archive's name."""
    count = db.execute(
        "SELECT count(*) FROM entries WHERE session_id = ?", (session_id,)
    ).fetchone()[0]
    if count <= keep:
        return count, None
    first_kept = db.execute(
        "SELECT seq FROM entries WHERE session_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
        (session_id, keep - 1),
    ).fetchone()[0]
    archived = name(session_id, "bak", now)
    db.execute(
        "UPDATE entries SET session_id = ? WHERE session_id = ? AND seq < ?",
        (archived, session_id, first_kept),
    )
    return keep, _noted(db, session_key, archived, "bak", now)


def leave_behind(db: sqlite3.Connection, session_key: str, session_id: str, now: int) -> None:
    """Notes that a transcript is no longer that of its session; it keeps its name."""
    _noted(db, session_key, session_id, "reset", now)


def transcripts(db: sqlite3.Connection, session_key: str, limit: int) -> list[str]:
    """Names of the transcripts a session had, newest first."""
    rows = db.execute(
        "SELECT transcript FROM archives WHERE session_key = ? ORDER BY number DESC LIMIT ?",
        (session_key, limit),
    )
    return [row[0] for row in rows]


def _noted(db: sqlite3.Connection, session_key: str, transcript: str, reason: str, now: int) -> str:
    db.execute(
        "INSERT INTO archives (session_key, transcript, reason, ts) VALUES (?, ?, ?, ?)",
        (session_key, transcript, reason, now),
    )
    return transcript
