"""Waiting for a condition, with a deadline: the one place where tests let time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.01


def wait_until(condition: Callable[[], T], timeout_s: float = 10.0, what: str = "") -> T:
    """The first true value of `condition`; fails when there is none within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(PAUSE_S)
