"""Who asked to talk to the agent and who may, as channels.db keeps it."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from workers.channels import pairing
from workers.channels.base import Inbound
from workers.channels.pairing import PairingRequest

Connection = sqlite3.Connection


@dataclass(frozen=True)
class Stranger:
    """Someone who wrote without being approved, and the code they would get now."""

    channel: str
    message: Inbound
    now_ms: int
    pick: Callable[[int], int]


def approved(channel: str) -> Callable[[Connection], frozenset[str]]:
    """Ids of those who were approved."""

    def job(db: Connection) -> frozenset[str]:
        rows = db.execute("SELECT sender FROM allow WHERE channel=?", (channel,))
        return frozenset(row[0] for row in rows)

    return job


def pending(
    now_ms: int, channel: str | None = None
) -> Callable[[Connection], list[PairingRequest]]:
    """Requests that wait for approval, oldest first."""

    def job(db: Connection) -> list[PairingRequest]:
        query = "SELECT * FROM pairing WHERE ? IS NULL OR channel=? ORDER BY created_ms, code"
        requests = [PairingRequest(**row) for row in db.execute(query, (channel, channel))]
        return [request for request in requests if not pairing.is_expired(request, now_ms)]

    return job


def ask(db: Connection, stranger: Stranger) -> PairingRequest | None:
    """Notes that a stranger wrote; returns the request if it is new and may be answered."""
    channel, message, now_ms = stranger.channel, stranger.message, stranger.now_ms
    _forget_expired(db, now_ms)
    known = db.execute(
        "UPDATE pairing SET last_seen_ms=? WHERE channel=? AND sender=?",
        (now_ms, channel, message.sender),
    )
    waiting = pending(now_ms, channel)(db)
    if known.rowcount or not pairing.has_room(waiting):
        return None
    code = pairing.new_code(stranger.pick, [request.code for request in waiting])
    request = PairingRequest(
        channel, code, message.sender, message.sender_name, message.chat, now_ms, now_ms
    )
    columns = tuple(getattr(request, name) for name in request.__struct_fields__)
    db.execute("INSERT INTO pairing VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
    return request


def approve(db: Connection, request: PairingRequest, now_ms: int) -> bool:
    """Lets the stranger in; False if the request is gone meanwhile."""
    if not reject(db, request):
        return False
    row = (request.channel, request.sender, now_ms)
    db.execute("INSERT OR IGNORE INTO allow VALUES (?, ?, ?)", row)
    return True


def reject(db: Connection, request: PairingRequest) -> bool:
    """Forgets the request; False if it is gone already."""
    place = (request.channel, request.code)
    return db.execute("DELETE FROM pairing WHERE channel=? AND code=?", place).rowcount == 1


def _forget_expired(db: Connection, now_ms: int) -> None:
    db.execute("DELETE FROM pairing WHERE ? - created_ms >= ?", (now_ms, pairing.TTL_MS))
