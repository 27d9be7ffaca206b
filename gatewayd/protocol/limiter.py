"""How often a secret may be guessed. Pure: time is passed in.

Counted per address, loopback too. A client that keeps sending the same wrong secret (a forgotten
browser tab) soon stops being evaluated, but locks out nobody else; only many *different* guesses
from one address close it for a while.
"""

from collections import OrderedDict, deque

WINDOW_S = 60.0
MAX_FAILURES = 10
"""Wrong guesses from one address, and repeats of one wrong guess, within the window."""
MAX_ADDRESSES = 4096
"""Addresses remembered; the least recently failing ones are forgotten first."""


class Limiter:
    """Failures by address and by guess."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[tuple[float, bytes]]] = OrderedDict()

    def wait_s(self, address: str, guess: bytes, now: float) -> float:
        """Seconds until `guess` (a digest) may be evaluated for `address`; 0: now."""
        failures = self._failures.get(address)
        if failures is None:
            return 0.0
        while failures and failures[0][0] <= now - WINDOW_S:
            failures.popleft()
        same = [at for at, digest in failures if digest == guess]
        if len(same) >= MAX_FAILURES:
            return same[-MAX_FAILURES] + WINDOW_S - now
        first_seen = {digest: at for at, digest in reversed(failures)}
        if len(first_seen) >= MAX_FAILURES and guess not in first_seen:
            return sorted(first_seen.values())[-MAX_FAILURES] + WINDOW_S - now
        return 0.0

    def failed(self, address: str, guess: bytes, now: float) -> None:
        """Records an evaluated guess that was wrong."""
        failures = self._failures.setdefault(address, deque(maxlen=MAX_FAILURES * MAX_FAILURES))
        failures.append((now, guess))
        self._failures.move_to_end(address)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
