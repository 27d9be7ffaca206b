"""Waits for a condition in tests without a loop, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
ASK_EVERY_S = 0.005


def wait_until(condition: Callable[[], T], deadline_s: float = 10.0) -> T:
    """The first true value of `condition`. Fails after `deadline_s`."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s} s: {condition}")
        time.sleep(ASK_EVERY_S)
    return value
