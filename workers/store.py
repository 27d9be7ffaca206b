"""One SQLite database of one owner process: a writer thread with group commit, inline reads."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bus.errors import unavailable

T = TypeVar("T")
MAX_QUEUED_WRITES = 20_000
MAX_GROUP = 500
"""Writes of one commit: bounds how long the first of them waits for the last."""
BUSY_TIMEOUT_S = 5.0


class StoreTooNewError(Exception):
    """The file was written by a newer gatewayd; it is left as it is."""


class _Write:
    __slots__ = ("error", "future", "job", "result")

    def __init__(
        self, job: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]"
    ) -> None:
        self.job = job
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class Store:
    """Durable state of a worker.

    `write(job)` returns after the commit that holds the job's changes is on disk
    (synchronous=FULL); many concurrent writes share one commit. `read(job)` runs at once on a
    connection of its own and sees what has been committed.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._writer = _connect(path)
        _migrate(self._writer, path, migrations)
        self._reader = _connect(path)
        self._reader.execute("PRAGMA query_only=ON")
        self._queue: queue.Queue[_Write | None] = queue.Queue(MAX_QUEUED_WRITES)
        self._thread = threading.Thread(target=self._run, name=f"store {path.name}", daemon=True)
        self._thread.start()

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `job` in the writer thread; returns its result once it is durable.

        A job that raises changes nothing, and its error is raised here.
        """
        write = _Write(job, self._loop.create_future())
        try:
            self._queue.put_nowait(write)
        except queue.Full:
            raise unavailable("the store has too much to write") from None
        result: T = await asyncio.shield(write.future)
        return result

    def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a short query now, in the loop: for queries that end in a millisecond or two."""
        return job(self._reader)

    async def read_aside(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query that may take long, in a thread on a connection of its own."""
        return await asyncio.to_thread(self._read_aside, job)

    def _read_aside(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            connection.execute("PRAGMA query_only=ON")
            return job(connection)
        finally:
            connection.close()

    async def close(self) -> None:
        """Commits what is queued and closes the files."""
        await asyncio.to_thread(self._finish)
        self._reader.close()

    def _finish(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            is_open = None not in group
            writes = [write for write in group if write is not None]
            if writes:
                self._commit(writes)
                self._loop.call_soon_threadsafe(_resolve, writes)
        self._writer.close()

    def _commit(self, writes: list[_Write]) -> None:
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                connection.execute("SAVEPOINT job")
                try:
                    write.result = write.job(connection)
                except Exception as error:  # noqa: BLE001 - told to whoever asked
                    connection.execute("ROLLBACK TO job")
                    write.error = error
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except sqlite3.Error as error:  # disk full, I/O error: nothing of this group is durable
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for write in writes:
                write.error = error


def _resolve(writes: list[_Write]) -> None:
    for write in writes:
        if write.future.cancelled():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
    )
    path.chmod(0o600)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """Applies the migrations the file has not seen; `PRAGMA user_version` counts them."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise StoreTooNewError(
            f"{path} has schema {version}, this gatewayd knows {len(migrations)}: "
            "start the newer gatewayd again"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT")
