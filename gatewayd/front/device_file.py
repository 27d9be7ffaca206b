"""The file of paired devices, front.db: read at the start, written by a thread of its own.

The loop never waits for the disk: whoever needs a change to be durable awaits it.
"""

import asyncio
import queue
import sqlite3
import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from bus.errors import unavailable
from conf.logs import Log
from gatewayd.protocol.devices import Book, Change, Device, PairingRequest

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS device (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
MAX_QUEUED_COUNT = 1_024
MAX_GROUP_COUNT = 200
"""Writes of one commit."""
WRITE_TIMEOUT_S = 8.0
"""Less than a handshake may take."""
BUSY_TIMEOUT_S = 5.0
_UPSERT = {
    "device": "INSERT OR REPLACE INTO device (id, body) VALUES (?, ?)",
    "request": "INSERT OR REPLACE INTO request (id, body) VALUES (?, ?)",
}
_DELETE = {
    "device": "DELETE FROM device WHERE id = ?",
    "request": "DELETE FROM request WHERE id = ?",
}
log = Log("front")
R = TypeVar("R")
Waiting = tuple[list[Change], "asyncio.Future[None]"]


class DeviceFile:
    """Keeps records; a file that cannot be used is told at every write, not at the start."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._queue: queue.Queue[Waiting | None] = queue.Queue(MAX_QUEUED_COUNT)
        self._problem: str | None = None
        self.book = Book()
        try:
            self._connection = _open(path)
            self.book = _load(self._connection)
        except (sqlite3.Error, OSError) as error:
            self._problem = f"paired devices cannot be read from {path}: {error}"
            log.error("devices cannot be used", error=self._problem)  # noqa: TRY400 - told
            return
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    async def write(self, changes: list[Change]) -> None:
        """Returns once the changes, and all before them, are on disk.

        Raises RpcError when they will not be, TimeoutError when that is not known in time.
        """
        if self._problem is not None:
            raise unavailable(self._problem, None)
        future: asyncio.Future[None] = self._loop.create_future()
        try:
            self._queue.put_nowait((changes, future))
        except queue.Full:
            raise unavailable("too many changes of devices wait for the disk", 500) from None
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await future

    async def close(self) -> None:
        """Writes what waits and closes the file."""
        if self._problem is None:
            self._problem = "the gateway stops"
            await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._queue.put(None)
        self._thread.join(WRITE_TIMEOUT_S)

    def _run(self) -> None:
        is_open = True
        while is_open:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP_COUNT and not self._queue.empty():
                group.append(self._queue.get())
            is_open = None not in group
            writes = [one for one in group if one is not None]
            problem = self._commit([change for changes, _ in writes for change in changes])
            futures = [future for _, future in writes]
            self._loop.call_soon_threadsafe(_settle, futures, problem)
        self._connection.close()

    def _commit(self, changes: list[Change]) -> str | None:
        """Why the changes are not on disk, or None when they are."""
        try:
            with self._connection:
                for change in changes:
                    _apply(self._connection, change)
        except Exception as error:  # noqa: BLE001 - told to whoever waits; the thread goes on
            return f"{self._path} cannot be written: {error}"
        return None


def _settle(futures: list["asyncio.Future[None]"], problem: str | None) -> None:
    for future in futures:
        if future.done():
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(unavailable(problem, None))


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    if change.after is None:
        connection.execute(_DELETE[change.kind], (change.key,))
    else:
        body = msgspec.json.encode(change.after)
        connection.execute(_UPSERT[change.kind], (change.key, body))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=BUSY_TIMEOUT_S)
    path.chmod(0o600)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        connection.close()
        raise sqlite3.DatabaseError(
            f"it has schema {version}, this gatewayd knows {SCHEMA_VERSION}: "
            "start the newer gatewayd again"
        )
    if version < SCHEMA_VERSION:
        connection.executescript(f"{SCHEMA} PRAGMA user_version={SCHEMA_VERSION};")
    return connection


def _load(connection: sqlite3.Connection) -> Book:
    return Book(
        _records(connection, "SELECT id, body FROM device", Device),
        _records(connection, "SELECT id, body FROM request", PairingRequest),
    )


def _records(connection: sqlite3.Connection, query: str, kind: type[R]) -> list[R]:
    found: list[R] = []
    for key, body in connection.execute(query):
        try:
            found.append(msgspec.json.decode(body, type=kind))
        except msgspec.DecodeError as error:
            log.warning("record cannot be read", kind=kind.__name__, key=key, error=str(error))
    return found
