"""How much one worker may send unasked. Pure: time is passed in."""

RATE_PER_S = 5_000.0
"""Events, calls and snapshots a second: many times what all runs together stream."""
BURST = 10_000.0


class Quota:
    """A token bucket; answers to calls are not counted, their number is bounded by the calls."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = BURST
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more message is within the quota."""
        if self._at is not None:
            self._tokens = min(BURST, self._tokens + (now - self._at) * RATE_PER_S)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
