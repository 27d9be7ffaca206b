"""The front's end of the bus: a bound ROUTER, many messages per blob, one blob a tick."""

import asyncio
from collections.abc import Callable

import zmq

from bus.codec import BadBlobError, pack, unpack
from bus.messages import MAX_MESSAGE_BYTES, Message
from bus.sockets import RETRY_S, Drain, set_options

MAX_BLOB_BYTES = 4 * MAX_MESSAGE_BYTES
MAX_QUEUED_BYTES = 67_108_864
"""Waiting for one worker that does not read; beyond it the worker counts as unreachable."""


class Broker:
    """Sends to peers by identity and hands what they send to `receive`.

    `receive(identity, message, body)`, `garbage(identity, reason)` for bytes that are no
    messages, `unreachable(identity)` when a peer is gone or does not read.
    """

    def __init__(
        self,
        endpoint: str,
        receive: Callable[[bytes, Message, bytes], None],
        garbage: Callable[[bytes, str], None],
        unreachable: Callable[[bytes], None],
    ) -> None:
        self._receive = receive
        self._garbage = garbage
        self._unreachable = unreachable
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        set_options(self._socket, MAX_BLOB_BYTES)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._socket.bind(endpoint)
        self._queued: dict[bytes, list[bytes]] = {}
        self._queued_bytes: dict[bytes, int] = {}
        self._flush_handle: asyncio.Handle | None = None
        self._drain = Drain(self._loop, self._socket, self._take)

    def send(self, identity: bytes, message: Message, body: bytes = b"") -> None:
        """Queues a message for `identity`; it leaves at the end of this turn of the loop."""
        packed = pack(message, body)
        queue = self._queued.get(identity)
        if queue is None:
            queue = self._queued[identity] = []
            self._queued_bytes[identity] = 0
        queue.append(packed)
        self._queued_bytes[identity] += len(packed)
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Sends what is queued if the peers take it at once, and lets go of the endpoint."""
        for act in (self._cancel_flush, self._flush, self._cancel_flush):
            act()
        self._drain.close()
        self._socket.close()
        self._context.term()

    def _cancel_flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def _flush(self) -> None:
        self._flush_handle = None
        for identity in list(self._queued):
            if self._write(identity):
                self._forget(identity)
            elif self._queued_bytes[identity] > MAX_QUEUED_BYTES:
                self._lose(identity)
        if self._queued:
            self._flush_handle = self._loop.call_later(RETRY_S, self._flush)
        self._drain.check()

    def _write(self, identity: bytes) -> bool:
        """True when nothing is left to send to this peer."""
        queue = self._queued[identity]
        blob = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            self._socket.send_multipart((identity, blob), zmq.NOBLOCK)
        except zmq.Again:
            self._queued[identity] = [blob]
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._loop.call_soon(self._unreachable, identity)
        return True

    def _lose(self, identity: bytes) -> None:
        self._forget(identity)
        self._loop.call_soon(self._unreachable, identity)

    def _forget(self, identity: bytes) -> None:
        del self._queued[identity]
        del self._queued_bytes[identity]

    def _take(self, frames: list[bytes]) -> None:
        identity = frames[0]
        if len(frames) != 2:  # noqa: PLR2004 - identity and blob
            self._garbage(identity, f"{len(frames)} frames")
            return
        try:
            for message, body in unpack(frames[1]):
                self._receive(identity, message, body)
        except BadBlobError as error:
            self._garbage(identity, str(error))
