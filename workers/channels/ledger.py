"""channels.db: the inbox, the outbox, who may talk, how far each account was read."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from workers.channels import inbox, outbox
from workers.channels.base import Inbound, Outbound
from workers.channels.inbox import InboxRow, InboxState, InboxStep
from workers.channels.outbox import OutboxRow, OutboxState, OutboxStep
from workers.store import Store

MIGRATIONS = (
    """
    CREATE TABLE inbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, account TEXT NOT NULL,
      update_key TEXT NOT NULL, chat TEXT NOT NULL, thread TEXT NOT NULL, kind TEXT NOT NULL,
      sender TEXT NOT NULL, sender_name TEXT NOT NULL, text TEXT NOT NULL,
      is_addressed INTEGER NOT NULL, state TEXT NOT NULL, run_id TEXT NOT NULL DEFAULT '',
      sent_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
      UNIQUE (channel, account, update_key));
    CREATE INDEX inbox_open ON inbox (channel, account, chat, id)
      WHERE state IN ('received', 'accepted', 'running');
    CREATE TABLE outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, account TEXT NOT NULL,
      key TEXT NOT NULL, part INTEGER NOT NULL, inbox_id INTEGER REFERENCES inbox (id),
      chat TEXT NOT NULL, thread TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL,
      attempt_count INTEGER NOT NULL DEFAULT 0, next_attempt_ms INTEGER NOT NULL DEFAULT 0,
      message_id TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
      origin_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
      UNIQUE (key, part));
    CREATE INDEX outbox_open ON outbox (channel, account, chat, id)
      WHERE state IN ('new', 'unknown');
    CREATE INDEX outbox_inbox ON outbox (inbox_id);
    CREATE TABLE pairing (
      channel TEXT NOT NULL, code TEXT NOT NULL, sender TEXT NOT NULL, sender_name TEXT NOT NULL,
      chat TEXT NOT NULL, created_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL,
      PRIMARY KEY (channel, code), UNIQUE (channel, sender));
    CREATE TABLE allow (
      channel TEXT NOT NULL, sender TEXT NOT NULL, added_ms INTEGER NOT NULL,
      PRIMARY KEY (channel, sender));
    CREATE TABLE offsets (
      channel TEXT NOT NULL, account TEXT NOT NULL, cursor TEXT NOT NULL,
      changed_ms INTEGER NOT NULL, PRIMARY KEY (channel, account))
    """,
)
KEEP_FINISHED_MS = 7 * 86_400_000
"""How long what is finished still tells a repeated message from a new one."""

Connection = sqlite3.Connection


def open_store(path: Path) -> Store:
    """The database at `path`, brought to the newest schema."""
    return Store(path, MIGRATIONS)


def _names(states: Sequence[str]) -> str:
    return ", ".join(f"'{state}'" for state in states)


INBOX_OPEN = _names([state.value for state in inbox.UNFINISHED])
OUTBOX_OPEN = _names([state.value for state in outbox.UNFINISHED])


# Inbox


def take(
    place: tuple[str, str], messages: Sequence[Inbound], cursor: str, now_ms: int
) -> Callable[[Connection], None]:
    """Keeps what came in, and the cursor behind it, in one commit; repeats change nothing."""
    rows = [
        (*place, m.update_key, m.chat, m.thread, m.kind, m.sender, m.sender_name, m.text,
         m.is_addressed, InboxState.RECEIVED, m.sent_ms, now_ms, now_ms)
        for m in messages
    ]  # fmt: skip

    def job(db: Connection) -> None:
        db.executemany(
            "INSERT OR IGNORE INTO inbox (channel, account, update_key, chat, thread, kind, sender,"
            " sender_name, text, is_addressed, state, sent_ms, received_ms, changed_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?)", (*place, cursor, now_ms))

    return job


def cursor(place: tuple[str, str]) -> Callable[[Connection], tuple[str, int]]:
    """How far the account was read, and when that was noted; empty at first."""

    def job(db: Connection) -> tuple[str, int]:
        query = "SELECT cursor, changed_ms FROM offsets WHERE channel=? AND account=?"
        row = db.execute(query, place).fetchone()
        return (row[0], row[1]) if row else ("", 0)

    return job


def open_chats(place: tuple[str, str]) -> Callable[[Connection], list[str]]:
    """Chats of the account with messages that are not finished."""

    def job(db: Connection) -> list[str]:
        query = (
            f"SELECT DISTINCT chat FROM inbox WHERE state IN ({INBOX_OPEN})"  # noqa: S608 - ours
            " AND channel=? AND account=?"
        )
        return [row[0] for row in db.execute(query, place)]

    return job


def unfinished_count(place: tuple[str, str]) -> Callable[[Connection], int]:
    """How many messages of the account wait for an end."""

    def job(db: Connection) -> int:
        query = (
            f"SELECT count(*) FROM inbox WHERE state IN ({INBOX_OPEN})"  # noqa: S608 - ours
            " AND channel=? AND account=?"
        )
        return int(db.execute(query, place).fetchone()[0])

    return job


def next_inbound(place: tuple[str, str], chat: str) -> Callable[[Connection], InboxRow | None]:
    """The oldest unfinished message of a chat."""

    def job(db: Connection) -> InboxRow | None:
        query = (
            f"SELECT * FROM inbox WHERE state IN ({INBOX_OPEN})"  # noqa: S608 - our own names
            " AND channel=? AND account=? AND chat=? ORDER BY id LIMIT 1"
        )
        row = db.execute(query, (*place, chat)).fetchone()
        return _inbox_row(row) if row else None

    return job


def _inbox_row(row: sqlite3.Row) -> InboxRow:
    message = Inbound(
        update_key=row["update_key"], chat=row["chat"], kind=row["kind"], sender=row["sender"],
        sender_name=row["sender_name"], text=row["text"], sent_ms=row["sent_ms"],
        thread=row["thread"], is_addressed=bool(row["is_addressed"]),
    )  # fmt: skip
    state = InboxState(row["state"])
    return InboxRow(row["id"], row["channel"], row["account"], state, message, row["received_ms"])


def inbox_state(db: Connection, row_id: int) -> InboxState:
    """Where a message is now."""
    return InboxState(db.execute("SELECT state FROM inbox WHERE id=?", (row_id,)).fetchone()[0])


def advance(db: Connection, row: InboxRow, what: InboxStep, now_ms: int) -> None:
    """Moves a message by the table; what was refused is not kept to be read.

    Raises IllegalStepError if it is not in a state in which this may happen.
    """
    after = inbox.step(inbox_state(db, row.id), what)
    run_id = row.key if after is InboxState.RUNNING else ""
    text = "" if after is InboxState.REFUSED else row.message.text
    db.execute(
        "UPDATE inbox SET state=?, changed_ms=?, run_id=CASE ? WHEN '' THEN run_id ELSE ? END,"
        " text=? WHERE id=?",
        (after, now_ms, run_id, run_id, text, row.id),
    )


# Outbox


def enqueue(
    db: Connection,
    place: tuple[str, str],
    key: str,
    messages: Sequence[Outbound],
    times: tuple[int, int],
    inbox_id: int | None = None,
) -> None:
    """Puts the parts of one answer into the outbox, once per key. `times`: origin, now (ms)."""
    origin_ms, now_ms = times
    db.executemany(
        "INSERT OR IGNORE INTO outbox (channel, account, key, part, inbox_id, chat, thread, text,"
        " state, origin_ms, created_ms, changed_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*place, key, part, inbox_id, m.chat, m.thread, m.text, OutboxState.NEW, origin_ms,
             now_ms, now_ms)
            for part, m in enumerate(messages, start=1)
        ],
    )  # fmt: skip


def undelivered_chats(place: tuple[str, str]) -> Callable[[Connection], list[str]]:
    """Chats of the account with messages still to be sent."""

    def job(db: Connection) -> list[str]:
        query = (
            f"SELECT DISTINCT chat FROM outbox WHERE state IN ({OUTBOX_OPEN})"  # noqa: S608 - ours
            " AND channel=? AND account=?"
        )
        return [row[0] for row in db.execute(query, place)]

    return job


def next_outbound(place: tuple[str, str], chat: str) -> Callable[[Connection], OutboxRow | None]:
    """The oldest message of a chat that is to be sent."""

    def job(db: Connection) -> OutboxRow | None:
        query = (
            f"SELECT * FROM outbox WHERE state IN ({OUTBOX_OPEN})"  # noqa: S608 - our own names
            " AND channel=? AND account=? AND chat=? ORDER BY id LIMIT 1"
        )
        row = db.execute(query, (*place, chat)).fetchone()
        return _outbox_row(row) if row else None

    return job


def _outbox_row(row: sqlite3.Row) -> OutboxRow:
    message = Outbound(row["chat"], row["text"], row["thread"])
    return OutboxRow(
        row["id"], row["channel"], row["account"], message, OutboxState(row["state"]),
        row["attempt_count"], row["next_attempt_ms"], row["origin_ms"],
    )  # fmt: skip


class Outcome(Struct, frozen=True):
    """What is noted beside a step of an outgoing message."""

    message_id: str = ""
    error: str = ""
    next_attempt_ms: int = 0


NOTHING_NOTED = Outcome()


def move(
    row_id: int, what: OutboxStep, now_ms: int, outcome: Outcome = NOTHING_NOTED
) -> Callable[[Connection], OutboxState]:
    """Moves an outgoing message by the table; returns its new state."""

    def job(db: Connection) -> OutboxState:
        found = db.execute("SELECT state FROM outbox WHERE id=?", (row_id,)).fetchone()
        after = outbox.step(OutboxState(found[0]), what)
        db.execute(
            "UPDATE outbox SET state=?, changed_ms=?, attempt_count=attempt_count+?,"
            " message_id=?, error=?, next_attempt_ms=? WHERE id=?",
            (after, now_ms, what is OutboxStep.ATTEMPT, outcome.message_id, outcome.error,
             outcome.next_attempt_ms, row_id),
        )  # fmt: skip
        return after

    return job


def lose_attempts(place: tuple[str, str], now_ms: int) -> Callable[[Connection], int]:
    """At start: nobody knows what became of attempts under way; returns how many there were."""

    def job(db: Connection) -> int:
        under_way = (
            "SELECT id FROM outbox WHERE channel=? AND account=? AND (state='attempting'"
            " OR state='reconciled' AND message_id='' AND error='')"
        )
        ids = [row[0] for row in db.execute(under_way, place).fetchall()]
        for row_id in ids:
            move(row_id, OutboxStep.LOSE, now_ms, Outcome(error="cut off by a restart"))(db)
        return len(ids)

    return job


class Delivery(Struct, frozen=True):
    """How far the parts of one answer are."""

    is_finished: bool
    message_id: str
    error: str


def _is_finished(row: sqlite3.Row) -> bool:
    if row["state"] == OutboxState.RECONCILED:
        return bool(row["message_id"] or row["error"])
    return row["state"] in (OutboxState.SENT, OutboxState.FAILED, OutboxState.EXPIRED)


def delivery(key: str) -> Callable[[Connection], Delivery | None]:
    """How far the message with this key is; None if there is none."""

    def job(db: Connection) -> Delivery | None:
        query = "SELECT state, message_id, error FROM outbox WHERE key=? ORDER BY part"
        rows = db.execute(query, (key,)).fetchall()
        if not rows:
            return None
        failed = [row for row in rows if row["state"] in (OutboxState.FAILED, OutboxState.EXPIRED)]
        error = (failed[0]["error"] or failed[0]["state"]) if failed else ""
        return Delivery(all(map(_is_finished, rows)), rows[-1]["message_id"], error)

    return job


def prune(now_ms: int) -> Callable[[Connection], None]:
    """Forgets what has been finished for long."""

    def job(db: Connection) -> None:
        before = now_ms - KEEP_FINISHED_MS
        db.execute(
            "DELETE FROM outbox WHERE changed_ms < ?"
            " AND state IN ('sent', 'reconciled', 'failed', 'expired')",
            (before,),
        )
        db.execute(
            "DELETE FROM inbox WHERE changed_ms < ? AND state IN ('answered', 'refused', 'dead')"
            " AND NOT EXISTS (SELECT 1 FROM outbox WHERE inbox_id = inbox.id)",
            (before,),
        )

    return job
