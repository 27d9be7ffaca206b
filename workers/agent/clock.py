"""The wall clock, for what is written down and shown."""

import time


def now_ms() -> int:
    """ms since the epoch."""
    return time.time_ns() // 1_000_000
