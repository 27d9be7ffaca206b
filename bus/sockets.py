"""A ZeroMQ socket in an event loop: drained by its descriptor, written once a turn."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from bus.codec import BadBlobError

DRAIN_PER_TURN = 500
"""Messages taken before other callbacks get a turn: a busy worker must not starve the sockets."""
HIGH_WATER_MARK = 1_000
"""Blobs queued inside ZeroMQ per connection, each way."""
RETRY_S = 0.005
_log = logging.getLogger("bus")


def set_options(socket: "zmq.Socket[bytes]", max_blob_bytes: int) -> None:
    """What every socket of the bus has: bounds, no waiting at close, fast reconnect."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, max_blob_bytes)
    socket.setsockopt(zmq.RECONNECT_IVL, 2)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 50)


def single(frames: list[bytes]) -> Iterator[tuple[list[bytes]]]:
    """For sockets whose every message is one item: the frames as they came."""
    return iter(((frames,),))


class Drain:
    """Calls `receive(*item)` for each item `unpack(frames)` finds in a blob, from the loop.

    A blob may hold very many messages, so it is taken over as many turns as needed. `garbage`
    is told why a blob could not be read to its end.

    The descriptor is edge-triggered: after every drain and every send the socket's events must
    be read again, which `check` does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: "zmq.Socket[bytes]",
        unpack: Callable[[list[bytes]], Iterator[tuple[Any, ...]]],
        receive: Callable[..., None],
        garbage: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._unpack = unpack
        self._receive = receive
        self._garbage = garbage
        self._scheduled: asyncio.Handle | None = None
        self._blob: Iterator[tuple[Any, ...]] = iter(())
        self._descriptor = int(socket.getsockopt(zmq.FD))
        loop.add_reader(self._descriptor, self._turn)

    def check(self) -> None:
        """Looks again for input soon; call after each send."""
        if self._scheduled is None and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._scheduled = self._loop.call_soon(self._turn)

    def close(self) -> None:
        """Stops reading."""
        self._loop.remove_reader(self._descriptor)
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _turn(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        left_count = DRAIN_PER_TURN
        while left_count > 0:
            try:
                left_count = self._take(left_count)
            except BadBlobError as error:
                self._garbage(str(error))
            except Exception:  # noqa: BLE001 - one bad message must not leave the others unread
                _log.exception("message of the bus could not be handled")
            else:
                if left_count > 0 and not self._next_blob():
                    self.check()
                    return
            left_count -= 1
        self._scheduled = self._loop.call_soon(self._turn)

    def _take(self, left_count: int) -> int:
        """Handles what is left of the blob at hand, at most so many; returns how many more."""
        receive = self._receive
        for item in self._blob:  # goes on where it stopped
            receive(*item)
            left_count -= 1
            if left_count <= 0:
                break
        return left_count

    def _next_blob(self) -> bool:
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._blob = self._unpack(frames)
        return True
