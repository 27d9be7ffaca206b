"""What measurements of the machine and of our process tree say is wrong. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.health.recovery import Identity, Problem

LEAST_FREE_SHARE = 0.05
LEAST_FREE_BYTES = 200_000_000
LARGEST_LOGS_BYTES = 200_000_000
ZOMBIE_S = 5.0
ORPHAN_S = 5.0
CLOCK_JUMP_S = 2.0
"""More than the clock's own corrections; timers of people's schedules move with it."""
CLOCK_NOTE_S = 300.0
ROUND_BYTES = 100_000_000
"""Free space is told this coarsely, so that it is news only when it changes much."""


@dataclass(frozen=True)
class Disk:
    """Space of the file system with the state directory."""

    total_bytes: int
    free_bytes: int

    def told(self) -> dict[str, int]:
        """The figures as clients get them, free space rounded down."""
        free_bytes = self.free_bytes // ROUND_BYTES * ROUND_BYTES
        return {"totalBytes": self.total_bytes, "freeBytes": free_bytes}


@dataclass(frozen=True)
class Child:
    """One process of our tree."""

    process: Identity
    parent_pid: int
    name: str
    is_zombie: bool


def disk_problems(disk: Disk, state_dir: str) -> list[Problem]:
    """Too little space."""
    if disk.free_bytes >= LEAST_FREE_BYTES and disk.free_bytes >= disk.total_bytes * (
        LEAST_FREE_SHARE
    ):
        return []
    text = (
        f"the disk of {state_dir} is nearly full: {disk.free_bytes // 1_000_000} MB of "
        f"{disk.total_bytes // 1_000_000} MB free; make room before writes fail"
    )
    return [Problem("disk-full", "error", text)]


def log_problems(logs_bytes: int, log_dir: str) -> list[Problem]:
    """Logs that rotation does not keep small."""
    if logs_bytes <= LARGEST_LOGS_BYTES:
        return []
    text = f"{log_dir} holds {logs_bytes // 1_000_000} MB of logs; rotation does not keep up"
    return [Problem("logs-large", "warning", text)]


@dataclass
class Clocks:
    """Finds jumps of the wall clock: it should advance as the steady clock does."""

    _last: tuple[float, float] | None = None
    _jumped: tuple[float, float] | None = None

    def compare(self, wall_s: float, steady_s: float) -> float | None:
        """Seconds the wall clock jumped since the last look, None if it did not."""
        last, self._last = self._last, (wall_s, steady_s)
        if last is None:
            return None
        jump_s = (wall_s - last[0]) - (steady_s - last[1])
        if abs(jump_s) < CLOCK_JUMP_S:
            return None
        self._jumped = (jump_s, steady_s)
        return jump_s

    def problems(self, steady_s: float) -> list[Problem]:
        """The last jump, while it is news."""
        if self._jumped is None or steady_s - self._jumped[1] > CLOCK_NOTE_S:
            return []
        text = f"the system clock jumped by {self._jumped[0]:+.0f} s"
        return [Problem("clock-jumped", "warning", text)]


@dataclass
class Tree:
    """Finds zombies and orphans among the processes below the supervisor.

    An orphan is a process whose parent is gone: as child subreaper the supervisor inherited it.
    """

    supervisor_pid: int
    _parents: dict[Identity, int] = field(default_factory=dict)
    _zombies: dict[Identity, float] = field(default_factory=dict)
    _orphans: dict[Identity, float] = field(default_factory=dict)

    def problems(self, children: Iterable[Child], now: float) -> list[Problem]:
        """Zombies and orphans that should have been dealt with by now."""
        rows = list(children)
        first_parents = {c.process: self._parents.get(c.process, c.parent_pid) for c in rows}
        self._parents = first_parents
        orphans = [row for row in rows if self._is_orphan(row)]
        self._zombies = _since(self._zombies, (r for r in rows if r.is_zombie), now)
        self._orphans = _since(self._orphans, orphans, now)
        return [
            *_found("zombie", rows, self._zombies, now - ZOMBIE_S),
            *_found("orphan", rows, self._orphans, now - ORPHAN_S),
        ]

    def _is_orphan(self, row: Child) -> bool:
        return (
            row.parent_pid == self.supervisor_pid
            and self._parents[row.process] != self.supervisor_pid
            and not row.is_zombie
        )


def _since(
    known: dict[Identity, float], rows: Iterable[Child], now: float
) -> dict[Identity, float]:
    return {row.process: known.get(row.process, now) for row in rows}


def _found(
    kind: str, rows: list[Child], since: dict[Identity, float], limit: float
) -> list[Problem]:
    return [
        Problem(
            f"{kind}:{row.process.pid}", "warning", f"{kind} process {row.process.pid} ({row.name})"
        )
        for row in rows
        if since.get(row.process, limit + 1) <= limit
    ]
