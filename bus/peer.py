"""A worker's end of the bus: a connected DEALER that tells when the front is there."""

import asyncio
from collections.abc import Callable, Iterator

import zmq
from zmq.utils.monitor import parse_monitor_message

from bus.broker import MAX_BLOB_BYTES
from bus.codec import pack, unpack
from bus.messages import Message
from bus.sockets import Drain, set_options, single

BLOCKED_RETRY_S = 0.05
"""A front that appears is noticed at once; this is for one that reads slowly."""
MAX_QUEUED_BYTES = 67_108_864
"""Kept while the front is away; the oldest events go first beyond it."""


class Peer:
    """Sends to the front and hands what it sends to `receive(message, body)`.

    `connected()` is called each time a front is there, so that the worker announces itself at
    once instead of with its next beat.
    """

    def __init__(
        self,
        endpoint: str,
        identity: bytes,
        receive: Callable[[Message, bytes], None],
        connected: Callable[[], None],
    ) -> None:
        self._receive = receive
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        set_options(self._socket, MAX_BLOB_BYTES)
        self._socket.setsockopt(zmq.IDENTITY, identity)
        # While there is no front nothing is queued inside ZeroMQ, so our bound holds.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(events)
        self._monitor_drain = Drain(
            self._loop, self._monitor, single, self._on_monitor, self._complain
        )
        self._socket.connect(endpoint)
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._is_blocked = False
        self.dropped_count = 0
        self._flush_handle: asyncio.Handle | None = None
        self._drain = Drain(self._loop, self._socket, self._open, self._receive, self._complain)
        self._monitor_drain.check()

    def send(self, message: Message, body: bytes = b"") -> None:
        """Queues a message; it leaves at the end of this turn, or when the front is back."""
        packed = pack(message, body)
        self._queue.append(packed)
        self._queued_bytes += len(packed)
        if self._queued_bytes > MAX_QUEUED_BYTES:
            self._queued_bytes -= len(self._queue.pop(0))
            self.dropped_count += 1
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def send_first(self, message: Message) -> None:
        """Queues a message before all that waits: an announcement must precede the rest."""
        packed = pack(message)
        self._queue.insert(0, packed)
        self._queued_bytes += len(packed)
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Sends what is queued if the front takes it at once, and disconnects."""
        for act in (self._cancel_flush, self._flush, self._cancel_flush):
            act()
        self._monitor_drain.close()
        self._drain.close()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)  # the context would wait for it for ever
        # A short linger lets a goodbye leave; the front may be gone, so it is bounded.
        self._socket.close(linger=100)
        self._context.term()

    def _cancel_flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def _flush(self) -> None:
        self._flush_handle = None
        self._is_blocked = bool(self._queue) and not self._write()
        if self._is_blocked:
            self._flush_handle = self._loop.call_later(BLOCKED_RETRY_S, self._flush)
        self._drain.check()

    def _write(self) -> bool:
        """True when everything queued has left."""
        # While there is no front, joining the queue again and again would cost more than asking.
        if self._is_blocked and not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
            return False
        blob = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        try:
            self._socket.send(blob, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._queue.clear()
        self._queued_bytes = 0
        return True

    def _on_monitor(self, frames: list[bytes]) -> None:
        if parse_monitor_message(frames)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected()
            self._cancel_flush()
            self._flush_handle = self._loop.call_soon(self._flush)

    def _open(self, frames: list[bytes]) -> Iterator[tuple[Message, bytes]]:
        return unpack(frames[0] if len(frames) == 1 else b"".join(frames))

    def _complain(self, reason: str) -> None:
        """Of the front only; what it sends is of this version, so it is not worth a log."""
        self.dropped_count += 1
