"""Keeps the shared local model process: starts it when a run needs it, again when it died."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from conf.logs import Log
from workers.agent.contract import Exit
from workers.agent.run_process import RunnerError, RunProcess

BACKLOG_COUNT = 64
"""Requests that may wait for the model; they wait in the socket, so they outlive a model."""
RESTART_PAUSE_S = 0.2

_log = Log("agent")


class Hold:
    """A run's claim on the model process."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self.is_kept = False

    def keep(self) -> Callable[[], None]:
        """The claim outlives the preparation; returns what ends it."""
        self.is_kept = True
        return self._release


class SharedModel:
    """One model process for all runs, behind a socket that stays when the process dies.

    The worker owns the listening socket: a run can connect and wait while the model loads or
    is being replaced, and only the run that was being answered notices its death.
    """

    def __init__(
        self,
        start: Callable[[socket.socket], Awaitable[RunProcess]],
        worker_spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
    ) -> None:
        self._start = start
        self._worker_spawn = worker_spawn
        self._listener: socket.socket | None = None
        self._path = Path()
        self._keeper: asyncio.Task[None] | None = None
        self.users_count = 0
        """Runs that live and may want an answer."""
        self.pid: int | None = None

    @contextlib.asynccontextmanager
    async def needed(self, path: Path) -> AsyncIterator[Hold]:
        """Sees to it that the model process is there, or comes, as long as the hold is kept."""
        listener = self._listen(path)
        self.users_count += 1
        hold = Hold(self._release)
        try:
            if self._keeper is None or self._keeper.done():
                self._keeper = self._worker_spawn(self._keep(listener), "local model")
            yield hold
        finally:
            if not hold.is_kept:
                self._release()

    def close(self) -> None:
        """Removes the socket; the process itself is ended by the Runner."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _release(self) -> None:
        self.users_count -= 1

    def _listen(self, path: Path) -> socket.socket:
        if self._listener is not None:
            return self._listener
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(BACKLOG_COUNT)
        except OSError as error:
            listener.close()
            raise RunnerError(f"the local model's socket {path}: {error.strerror}") from None
        self._listener, self._path = listener, path
        return listener

    async def _keep(self, listener: socket.socket) -> None:
        """Runs the process, and again as long as a run may be waiting for it."""
        while True:
            started_s = time.monotonic()
            try:
                end = await self._live(listener)
            except RunnerError as error:
                end = Exit(1, str(error))
            if end.status != 0:
                _log.warning("local model died", status=end.status, last_words=end.last_words)
            if self.users_count == 0:
                return
            await asyncio.sleep(max(0.0, started_s + RESTART_PAUSE_S - time.monotonic()))

    async def _live(self, listener: socket.socket) -> Exit:
        process = await self._start(listener)
        self.pid = process.pid
        _log.info("local model started", pid=process.pid)
        process.go()
        try:
            async for report in process.reports():
                if isinstance(report, Exit):
                    return report
        finally:
            self.pid = None
        return Exit(1)
