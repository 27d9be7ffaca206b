"""Restart intensity: when a program that died may start again. Pure; times are passed in.

supervisord never gives up on a program that dies some time after its start, so we count
ourselves: a budget of restarts at full speed within a window, and what follows it.
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
"""Long enough to see a crash loop, short enough to forget yesterday's incident."""
BUDGET_COUNT = 10
"""Restarts at full speed in the window: a burst of kills must not slow recovery down."""
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
"""A front that cannot live is tried at least this often: without it nobody can connect."""
DEGRADED_DELAY_S = 60.0
"""A worker that cannot live is tried once a minute: rarely enough to cost nothing."""


@dataclass(frozen=True)
class Decision:
    """When to start again, and whether the program counts as degraded until then."""

    delay_s: float
    is_degraded: bool = False


@dataclass
class Intensity:
    """The restarts of one program."""

    is_never_given_up: bool
    """The front: delayed ever longer, but never degraded."""
    _exits_s: deque[float] = field(default_factory=lambda: deque(maxlen=4 * BUDGET_COUNT))
    _is_degraded: bool = False
    _delayed_count: int = 0

    def on_exit(self, started_s: float, now_s: float) -> Decision:
        """The program that started at `started_s` has died by itself."""
        if now_s - started_s >= WINDOW_S:
            self._exits_s.clear()
            self._is_degraded = False
        while self._exits_s and now_s - self._exits_s[0] >= WINDOW_S:
            self._exits_s.popleft()
        self._exits_s.append(now_s)
        if len(self._exits_s) <= BUDGET_COUNT and not self._is_degraded:
            self._delayed_count = 0
            return Decision(0.0)
        if self.is_never_given_up:
            return self._delayed()
        self._is_degraded = True
        return Decision(DEGRADED_DELAY_S, is_degraded=True)

    def _delayed(self) -> Decision:
        delay_s = FIRST_DELAY_S * 2.0 ** min(self._delayed_count, 10)
        self._delayed_count += 1
        return Decision(min(delay_s, LONGEST_DELAY_S))
