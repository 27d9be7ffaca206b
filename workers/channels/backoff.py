"""How long to wait before the next try. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Growing delays with a bound; jitter keeps many from trying at the same moment."""

    first_s: float
    factor: float
    cap_s: float
    jitter: float
    """Share of the delay by which it varies each way."""

    def delay_s(self, failure_count: int, chance: float) -> float:
        """Seconds after the n-th failure in a row (from 1); `chance` is random in [0, 1)."""
        exponent = min(max(failure_count, 1) - 1, 64)  # beyond it every delay is at its cap
        delay = min(self.first_s * self.factor**exponent, self.cap_s)
        return min(delay * (1 + self.jitter * (2 * chance - 1)), self.cap_s)


ADAPTER_RESTART = Backoff(first_s=2.0, factor=1.8, cap_s=30.0, jitter=0.25)
SERVICE = Backoff(first_s=0.4, factor=2.0, cap_s=30.0, jitter=0.1)
"""One request to a chat service, asked again."""
AGENT = Backoff(first_s=0.1, factor=2.0, cap_s=5.0, jitter=0.1)
"""The agent worker is away: it is back in tens of milliseconds, or something is wrong."""
