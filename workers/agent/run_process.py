"""One run process in the agent worker's hands: its descriptors, reports and end."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import msgspec

from workers.agent.contract import Delta, Exit, Failed, Report
from workers.agent.link import FRAME_HEAD_BYTES, GO, Born

READ_BYTES = 65_536
FIRST_WORDS_BYTES = 500
"""Of stderr: a crash says its name first, then prints a long stack."""
LAST_WORDS_BYTES = 1_500
MOST_UNHEARD_BYTES = 1_048_576
"""Left in the stderr pipe of a process that is gone, at most."""
STDERR_PAUSE_S = 0.02
"""Between two reads of stderr: a process that floods it is slowed, not listened to."""
FRAME_ROOM_BYTES = 65_536

_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


class RunnerError(Exception):
    """There is no run process, and why; the text is for the person who asked."""


class Ends(NamedTuple):
    """What a process and the worker talk through."""

    report: socket.socket
    stderr: int
    theirs: tuple[int, int, int]
    """Report, stderr and spec for the process: whoever sends them closes them."""

    @classmethod
    def make(cls, spec: bytes) -> "Ends":
        """New ends for a process that is to have `spec`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(stderr_read, False)
        spec_fd = os.memfd_create("spec")
        with os.fdopen(os.dup(spec_fd), "wb") as file:
            file.write(spec)
        return cls(ours, stderr_read, (theirs.detach(), stderr_write, spec_fd))

    def close(self) -> None:
        """Closes the worker's side."""
        self.report.close()
        os.close(self.stderr)


class RunProcess:
    """A process that exists and, until `go()`, does nothing."""

    def __init__(
        self, born: Born, ends: Ends, max_output_bytes: int, kill: Callable[[], None]
    ) -> None:
        self.pid = born.pid
        self.started = born.started
        """Clock ticks since boot; with the pid it names this process for ever."""
        self._ends = ends
        self._max_output_bytes = max_output_bytes
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._gone_callbacks: list[Callable[[], None]] = []
        self._is_closed = False
        self._first_words = b""
        self._last_words = b""
        self._stderr_pause: asyncio.TimerHandle | None = None
        self._listen_to_stderr()

    def go(self) -> None:
        """Lets the process begin."""
        with contextlib.suppress(OSError):  # it is dead already: `reports` will say so
            self._ends.report.send(GO)

    def kill(self) -> None:
        """Ends the process and everything below it; `reports` says when that is done."""
        if not self._status.done():
            self._kill()

    async def reports(self) -> AsyncIterator[Report | Exit]:
        """Yields what the process says, in order, and last Exit.

        Exit comes only after nothing of the process tree is left. A reader that is slow slows
        the process. To be iterated once, to the end.
        """
        said_bytes = 0
        try:
            async for report in self._frames():
                said_bytes += len(report.text.encode()) if isinstance(report, Delta) else 0
                if said_bytes > self._max_output_bytes:
                    yield self._stop(f"the answer is longer than {self._max_output_bytes} bytes")
                    break
                yield report
            status = await asyncio.shield(self._status)
            yield Exit(status, self._words())
        finally:
            self._close()

    async def discard(self) -> Exit:
        """Kills the process and waits for its end, whatever it may still say."""
        self.kill()
        try:
            status = await asyncio.shield(self._status)
        finally:
            self._close()
        return Exit(status, self._words())

    # What the Runner uses

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Calls back when nothing of the process is left."""
        if self._status.done():
            callback()
        else:
            self._gone_callbacks.append(callback)

    def bury(self, status: int) -> None:
        """The end was observed."""
        if not self._is_closed:
            self._hear(MOST_UNHEARD_BYTES)
            self._deafen()
        if not self._status.done():
            self._status.set_result(status)
        for callback in self._gone_callbacks:
            callback()
        self._gone_callbacks.clear()

    # Reports

    async def _frames(self) -> AsyncIterator[Report]:
        buffer = bytearray()
        longest = self._max_output_bytes + FRAME_ROOM_BYTES
        while True:
            while len(buffer) >= FRAME_HEAD_BYTES:
                end = FRAME_HEAD_BYTES + int.from_bytes(buffer[:FRAME_HEAD_BYTES])
                if end > longest:
                    yield self._stop(f"the answer is longer than {self._max_output_bytes} bytes")
                    return
                if len(buffer) < end:
                    break
                try:
                    report = _reports.decode(memoryview(buffer)[FRAME_HEAD_BYTES:end])
                except msgspec.DecodeError as error:
                    yield self._stop(f"the run process said something unreadable ({error})")
                    return
                del buffer[:end]
                yield report
            try:
                data = await self._loop.sock_recv(self._ends.report, READ_BYTES)
            except OSError:
                return
            if not data:
                return
            buffer += data

    def _stop(self, reason: str) -> Failed:
        self.kill()
        return Failed(f"{reason}; the run was stopped")

    # Standard error

    def _listen_to_stderr(self) -> None:
        self._stderr_pause = None
        self._loop.add_reader(self._ends.stderr, self._hear_some)

    def _hear_some(self) -> None:
        self._loop.remove_reader(self._ends.stderr)
        if self._hear(READ_BYTES):
            self._stderr_pause = self._loop.call_later(STDERR_PAUSE_S, self._listen_to_stderr)

    def _hear(self, most_bytes: int) -> bool:
        """Keeps the end of what stderr has; False when its last writer is gone."""
        try:
            data = os.read(self._ends.stderr, most_bytes)
        except BlockingIOError:
            return True
        except OSError:
            return False
        room = FIRST_WORDS_BYTES - len(self._first_words)
        self._first_words += data[:room]
        self._last_words += data[room:]
        if len(self._last_words) > LAST_WORDS_BYTES:
            self._last_words = b"\n...\n" + self._last_words[-LAST_WORDS_BYTES:]
        return bool(data)

    def _words(self) -> str:
        return (self._first_words + self._last_words).decode(errors="replace").strip()

    def _deafen(self) -> None:
        if self._stderr_pause is not None:
            self._stderr_pause.cancel()
            self._stderr_pause = None
        self._loop.remove_reader(self._ends.stderr)

    def _close(self) -> None:
        """Lets go of the descriptors, once; a process that still lives is killed."""
        if self._is_closed:
            return
        self._is_closed = True
        self.kill()
        self._deafen()
        self._ends.close()
