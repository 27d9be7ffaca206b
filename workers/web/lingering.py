"""Closing a connection whose client still talks, so that it can read its answer first."""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 2.0
"""How long what the client still sends is thrown away before the connection is cut."""


class LingeringTransport(asyncio.Transport):
    """A transport whose `close` ends our side first.

    Closing at once would reset a connection with unread bytes, and the front could lose an
    answer that came before the end of the request.
    """

    def __init__(self, transport: asyncio.Transport, closing: Callable[[], None]) -> None:
        """`closing()` is called once, when nothing that comes is wanted any more."""
        super().__init__()
        self._inner = transport
        self._closing = closing
        self._is_closing = False
        self.is_heard_out = False
        """The other side has ended already: there is nothing to wait for."""

    def close(self) -> None:
        """Sends what was written and our end; the other side closes then."""
        if self.is_closing():
            return
        self._is_closing = True
        self._closing()
        if self.is_heard_out:
            self._inner.close()
            return
        self._inner.resume_reading()
        self._inner.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self._cut)

    def abort(self) -> None:
        """Ends the connection now."""
        self._is_closing = True
        self._inner.abort()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_closing or self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends `data`."""
        if not self._is_closing:
            self._inner.write(data)

    def pause_reading(self) -> None:
        """Reads nothing for now."""
        if not self.is_closing():
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Reads again."""
        if not self.is_closing():
            self._inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows."""
        return self._inner.get_extra_info(name, default)

    def _cut(self) -> None:
        if self._inner.get_write_buffer_size() > 0:
            asyncio.get_running_loop().call_later(LINGER_S, self._cut)
        else:
            self._inner.abort()
