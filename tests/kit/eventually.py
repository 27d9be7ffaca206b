"""Waits for a condition, with a deadline."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
ASK_EVERY_S = 0.01


async def eventually(condition: Callable[[], T], what: str, deadline_s: float = 15.0) -> T:
    """The first true value of `condition`. Fails, naming `what`, after `deadline_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not (value := condition()):
        if loop.time() > deadline:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(ASK_EVERY_S)
    return value


def run(test: Coroutine[Any, Any, T], deadline_s: float = 60.0) -> T:
    """Runs an asynchronous test with a deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(deadline_s):
            return await test

    return asyncio.run(bounded())
