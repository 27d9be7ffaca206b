"""The right to poll and send: held by one process at a time, until that process is gone."""

import asyncio
import fcntl
import os
from pathlib import Path

ASK_EVERY_S = 0.05


class Lease:
    """A kernel lock on a file.

    It is never given back while the process lives, so a successor starts only after the exit of
    its predecessor, with every connection of the predecessor closed by the kernel.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    async def acquire(self) -> None:
        """Waits, without an end, until no other process holds it."""
        while not self._try():  # noqa: ASYNC110 - a kernel lock tells nobody
            await asyncio.sleep(ASK_EVERY_S)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
