"""Tells the moment a worker process dies, instead of waiting for heartbeats to stop."""

import asyncio
import os
from collections.abc import Callable


class Deaths:
    """Watches processes of this machine by descriptor (pidfd); any number may be watched."""

    def __init__(self, died: Callable[[bytes], None]) -> None:
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._watched: dict[bytes, int] = {}

    def watch(self, identity: bytes, pid: int) -> None:
        """Calls `died(identity)` once when process `pid` ends; silence still counts otherwise."""
        self.forget(identity)
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(self._died, identity)
            return
        except (OSError, AttributeError):
            return  # not Linux, or out of descriptors: heartbeats tell, more slowly
        self._watched[identity] = descriptor
        self._loop.add_reader(descriptor, self._gone, identity)

    def forget(self, identity: bytes) -> None:
        """Stops watching."""
        descriptor = self._watched.pop(identity, None)
        if descriptor is not None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _gone(self, identity: bytes) -> None:
        self.forget(identity)
        self._died(identity)
