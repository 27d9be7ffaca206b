"""After a change of the config: the note for the next start, and the replacement of the workers."""

import asyncio
import os
import signal
import time

import msgspec

from conf.private import write_private
from workers.runtime import Worker

DEFAULT_DELAY_MS = 2_000
LONGEST_DELAY_MS = 60_000
SENTINEL_VERSION = 1
HINT = "Run: gatewayctl config validate"
SYSTEM_EVENT = "system-event"
NOBODY = ("",)
"""Connections that get the event of a note: it is for the agent worker alone."""
AT_START = ("gateway", "logging")
"""Sections that the front and the supervisor read: workers alone do not put them into effect."""


class SentinelStats(msgspec.Struct, frozen=True):
    """What caused the restart."""

    mode: str
    root: str


class SentinelPayload(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the next start is told."""

    kind: str
    status: str
    ts: int
    message: str | None
    doctor_hint: str
    stats: SentinelStats
    session_key: str | None = None


class SentinelFile(msgspec.Struct, frozen=True):
    """The file that keeps it."""

    version: int
    payload: SentinelPayload


class Sentinel(msgspec.Struct, frozen=True):
    """The note, and the file that keeps it; None when it could not be written."""

    path: str | None
    payload: SentinelPayload


class Restart(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """When and how a change takes effect."""

    ok: bool
    """Whether the workers will be replaced."""
    pid: int
    signal: str
    delay_ms: int
    reason: str
    mode: str
    effect: str
    """In words, what happens then."""
    pending: tuple[str, ...] = ()
    """Changed keys that take effect only when the gateway itself is started again."""


class Restarts:
    """Asks the supervisor to replace the workers, once, some time after a change."""

    def __init__(self, worker: Worker, supervisor_pid: int | None) -> None:
        self._worker = worker
        self._supervisor_pid = supervisor_pid
        self._timer: asyncio.TimerHandle | None = None
        self._is_noted = worker.paths.restart_sentinel.exists()

    def schedule(self, delay_ms: float | None, reason: str, changed: list[str]) -> Restart:
        """Replaces the workers after a delay, and tells what that will put into effect."""
        wanted_ms = DEFAULT_DELAY_MS if delay_ms is None else delay_ms
        wanted_ms = int(min(max(wanted_ms, 0), LONGEST_DELAY_MS))
        pending = tuple(sorted(key for key in changed if key.partition(".")[0] in AT_START))
        pid = self._supervisor_pid
        delay_ms = wanted_ms if pid is None else self._due_ms(wanted_ms)
        return Restart(
            ok=pid is not None,
            pid=pid or os.getppid(),
            signal="SIGUSR1",
            delay_ms=delay_ms,
            reason=reason,
            mode="signal",
            effect=told_effect(pid is not None, delay_ms, pending),
            pending=pending,
        )

    def flush(self) -> None:
        """Asks now if a change waits for it: its time has come, or this worker is about to end."""
        if self._timer is None or self._supervisor_pid is None:
            return
        self._timer.cancel()
        self._timer = None
        # Our parent, unless it is gone: then the kernel is about to end us too.
        if os.getppid() == self._supervisor_pid:
            self._worker.log.info("config changed, asking for new workers")
            os.kill(self._supervisor_pid, signal.SIGUSR1)

    def _due_ms(self, delay_ms: int) -> int:
        """Sets the timer, unless it runs out earlier anyway; milliseconds until it does."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            left_ms = max(0, int((self._timer.when() - loop.time()) * 1000))
            if left_ms <= delay_ms:
                return left_ms
            self._timer.cancel()
        self._timer = loop.call_later(delay_ms / 1000, self.flush)
        return delay_ms

    def note(
        self, mode: str, config_path: str, message: str | None, session_key: str | None
    ) -> Sentinel:
        """Leaves the note for the next start."""
        path = self._worker.paths.restart_sentinel
        stats = SentinelStats(mode, config_path)
        payload = SentinelPayload(
            "config-apply", "ok", time.time_ns() // 1_000_000, message, HINT, stats, session_key
        )
        try:
            write_private(path, msgspec.json.encode(SentinelFile(SENTINEL_VERSION, payload)))
        except OSError as error:
            self._worker.log.warning("note for the restart not written", error=str(error))
            return Sentinel(None, payload)
        self._is_noted = False  # one that waited was replaced by this, which is for the next start
        return Sentinel(str(path), payload)

    def deliver(self) -> None:
        """Passes the note an earlier process left to its session; the file goes after that."""
        if not self._is_noted:
            return
        self._is_noted = False
        path = self._worker.paths.restart_sentinel
        try:
            payload = msgspec.json.decode(path.read_bytes(), type=SentinelFile).payload
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._worker.log.warning("note for the restart not understood", error=str(error))
        else:
            event = {"text": _told(payload), "sessionKey": payload.session_key}
            self._worker.publish(SYSTEM_EVENT, event, connections=NOBODY)
        path.unlink(missing_ok=True)


def told_effect(is_possible: bool, delay_ms: int, pending: tuple[str, ...]) -> str:  # noqa: FBT001
    """When a change takes effect, in words."""
    if not is_possible:
        return "written; it takes effect when the gateway is started again"
    text = f"the workers are replaced in {delay_ms / 1000:g} s and then use it"
    if pending:
        return f"{text}; {', '.join(pending)}: when the gateway itself is started again"
    return text


def _told(payload: SentinelPayload) -> str:
    text = f"The gateway's config was changed ({payload.stats.mode}) and is in use now."
    return f"{text} Note: {payload.message}" if payload.message else text
