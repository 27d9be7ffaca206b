"""Rolling replacement: which worker to ask, stop or wait for next. Pure; times are passed in.

One worker at a time: drain (SIGUSR1), then stop (SIGTERM, SIGKILL), then its successor must
live for a moment before the next worker is touched.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

DRAIN_BUDGET_S = 20.0
"""A worker gives itself 15 s; what is not done by then is written down, not finished."""
SETTLED_S = 0.3
"""A successor that lived this long has loaded its modules and connected to the bus."""
SUCCESSOR_BUDGET_S = 10.0
"""A successor that cannot live must not keep the other workers on old processes."""


class Step(Enum):
    """What to do with a worker now."""

    DRAIN = "drain"
    STOP = "stop"
    START = "start"


@dataclass(frozen=True)
class View:
    """How a worker stands: its pid (0: none) and whether it has been stopped for good."""

    pid: int
    is_stopped: bool


class Replacement:
    """One pass over the workers."""

    def __init__(self, names: Iterable[str]) -> None:
        self._waiting = deque(names)
        self._old_pid = 0
        self._asked_s = 0.0
        self._is_stopping = False
        self._new_pid = 0
        self._new_since_s = 0.0
        self.current: str | None = self._waiting.popleft() if self._waiting else None
        """The worker being replaced; None when all are."""

    def step(self, view: View, now_s: float) -> Step | None:
        """What to do with `current`, which stands as `view` says; None: wait."""
        if self._old_pid == 0:
            return self._begin(view, now_s)
        if view.pid == self._old_pid:
            return self._urge(now_s)
        if view.is_stopped:
            return Step.START
        self._watch_successor(view, now_s)
        return None

    def _begin(self, view: View, now_s: float) -> Step | None:
        if view.pid == 0:  # down by itself: tried anew at once; stopped on request: left alone
            self._next()
            return None if view.is_stopped else Step.START
        self._old_pid, self._asked_s = view.pid, now_s
        return Step.DRAIN

    def _urge(self, now_s: float) -> Step | None:
        if self._is_stopping or now_s - self._asked_s < DRAIN_BUDGET_S:
            return None
        self._is_stopping = True
        return Step.STOP

    def _watch_successor(self, view: View, now_s: float) -> None:
        if self._new_since_s == 0.0 or view.pid != self._new_pid:
            is_first = self._new_since_s == 0.0
            self._new_pid, self._new_since_s = view.pid, now_s
            if is_first:
                self._asked_s = now_s
        is_settled = view.pid != 0 and now_s - self._new_since_s >= SETTLED_S
        if is_settled or now_s - self._asked_s >= SUCCESSOR_BUDGET_S:
            self._next()

    def _next(self) -> None:
        self._old_pid = self._new_pid = 0
        self._new_since_s = 0.0
        self._is_stopping = False
        self.current = self._waiting.popleft() if self._waiting else None
