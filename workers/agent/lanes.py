"""Which run may start next: one at a time per session, a bounded number at all. Pure.

A run holds its lane from its start until `leave`, which its owner calls when the process is
gone. Runs a person waits for go first and have one slot that background runs cannot take.
"""

from collections import deque
from dataclasses import dataclass

SESSION_CAP_COUNT = 50
TOTAL_CAP_COUNT = 2_000
AGING_S = 600.0
"""A background run that waited this long counts as one a person waits for."""


@dataclass(frozen=True)
class Waiting:
    """A run that has not started."""

    run_id: str
    session_key: str
    is_background: bool
    since_s: float
    number: int
    """Order of admission."""


class Lanes:
    """The queue of runs; every method that needs the time is given it (s, monotonic)."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._lanes: dict[str, deque[Waiting]] = {}
        self._running: dict[str, Waiting] = {}
        self._busy: set[str] = set()
        self._queued_count = 0
        self._number = 0

    @property
    def queued_count(self) -> int:
        """Runs that wait."""
        return self._queued_count

    @property
    def running_count(self) -> int:
        """Runs that hold their lane."""
        return len(self._running)

    def refusal(self, session_key: str) -> str | None:
        """Why one more run cannot be queued now, or None."""
        if len(self._lanes.get(session_key, ())) >= SESSION_CAP_COUNT:
            return f"session {session_key} has {SESSION_CAP_COUNT} runs waiting; try again later"
        if self._queued_count >= TOTAL_CAP_COUNT:
            return f"{TOTAL_CAP_COUNT} runs are waiting; try again later"
        return None

    def add(self, run_id: str, session_key: str, *, is_background: bool, now_s: float) -> None:
        """Puts a run at the end of its session's lane."""
        self._number += 1
        waiting = Waiting(run_id, session_key, is_background, now_s, self._number)
        self._lanes.setdefault(session_key, deque()).append(waiting)
        self._queued_count += 1

    def start(self, now_s: float) -> list[str]:
        """The runs that start now; from here on they hold their lanes."""
        started = []
        for waiting in self._in_order(now_s):
            if self._has_slot(is_background=self._is_background(waiting, now_s)):
                self._take(waiting)
                started.append(waiting.run_id)
        return started

    def leave(self, run_id: str) -> None:
        """The run's process is gone: its lane and its slot are free."""
        waiting = self._running.pop(run_id, None)
        if waiting is not None:
            self._busy.discard(waiting.session_key)

    def withdraw(self, run_id: str, session_key: str) -> bool:
        """Takes a run out of the queue; False if it does not wait there (any more)."""
        lane = self._lanes.get(session_key, deque())
        found = next((waiting for waiting in lane if waiting.run_id == run_id), None)
        if found is None:
            return False
        lane.remove(found)
        self._queued_count -= 1
        if not lane:
            del self._lanes[session_key]
        return True

    def _in_order(self, now_s: float) -> list[Waiting]:
        """The first of each free lane: people's runs before background ones, then by age."""
        heads = [lane[0] for key, lane in self._lanes.items() if key not in self._busy]
        return sorted(heads, key=lambda one: (self._is_background(one, now_s), one.number))

    def _is_background(self, waiting: Waiting, now_s: float) -> bool:
        return waiting.is_background and now_s - waiting.since_s < AGING_S

    def _has_slot(self, *, is_background: bool) -> bool:
        running = len(self._running)
        if running < self._concurrency:
            return True
        people = sum(not one.is_background for one in self._running.values())
        return not is_background and people < self._concurrency and running == self._concurrency

    def _take(self, waiting: Waiting) -> None:
        lane = self._lanes[waiting.session_key]
        lane.popleft()
        self._queued_count -= 1
        if not lane:
            del self._lanes[waiting.session_key]
        self._busy.add(waiting.session_key)
        self._running[waiting.run_id] = waiting
