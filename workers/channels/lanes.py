"""One task per chat while there is work for it: in order within a chat, chats side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

MAX_PARALLEL = 64


class Lanes:
    """Calls `step(chat)` again and again until it says that nothing is left.

    An error of a step ends the task group it runs in: the account starts anew.
    """

    def __init__(self, tasks: asyncio.TaskGroup, step: Callable[[str], Awaitable[bool]]) -> None:
        self._tasks = tasks
        self._step = step
        self._slots = asyncio.Semaphore(MAX_PARALLEL)
        self._awake: set[str] = set()
        self._again: set[str] = set()

    def wake(self, chats: Iterable[str]) -> None:
        """Says that there may be work for these chats."""
        for chat in chats:
            if chat in self._awake:
                self._again.add(chat)
            else:
                self._awake.add(chat)
                self._tasks.create_task(self._run(chat), name=f"chat {chat}")

    async def _run(self, chat: str) -> None:
        try:
            is_more = True
            while is_more:
                self._again.discard(chat)
                async with self._slots:
                    is_more = await self._step(chat)
                is_more = is_more or chat in self._again
        finally:
            self._awake.discard(chat)
