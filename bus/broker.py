"""The front's end of the bus: a bound ROUTER, many messages per blob, one blob a tick."""

import asyncio
from collections.abc import Callable, Iterator

import zmq

from bus.codec import pack, unpack
from bus.messages import MAX_MESSAGE_BYTES, Message
from bus.sockets import RETRY_S, Drain, set_options, single

MAX_BLOB_BYTES = 4 * MAX_MESSAGE_BYTES
MAX_QUEUED_BYTES = 67_108_864
"""Waiting for one worker that does not read; beyond it the worker counts as unreachable."""

PROBE_S = 0.01
"""After a socket closed, until its last words have been read and its absence shows."""


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
        self._blocked: set[bytes] = set()
        self._peers: set[bytes] = set()
        self.counters = {"bus_blobs": 0, "bus_messages": 0}
        """Sent: how many messages a blob carries tells how well batching works."""
        self._sender = b""
        """Whose blob is being taken."""
        self._drain = Drain(self._loop, self._socket, self._open, self._take, self._complain)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._monitor_drain = Drain(
            self._loop, self._monitor, single, self._on_disconnect, self._complain
        )
        self._monitor_drain.check()

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
        self._monitor_drain.close()
        self._drain.close()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
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
        while queue:
            # A blob that was not taken stays as it is: joining it again each time would cost more.
            count = 1 if identity in self._blocked else len(queue)
            blob = queue[0] if count == 1 else b"".join(queue)
            if not self._hand_over(identity, blob):
                queue[:count] = [blob]
                self._blocked.add(identity)
                return False
            self._blocked.discard(identity)
            self.counters["bus_blobs"] += 1
            self.counters["bus_messages"] += count
            self._queued_bytes[identity] -= len(blob)
            del queue[:count]
        return True

    def _hand_over(self, identity: bytes, blob: bytes) -> bool:
        """True when ZeroMQ took the blob, or there is nobody to take it."""
        try:
            self._socket.send(identity, zmq.SNDMORE | zmq.NOBLOCK)
            self._socket.send(blob, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose_soon(identity)
        return True

    def _lose_soon(self, identity: bytes) -> None:
        self._peers.discard(identity)
        self._loop.call_soon(self._unreachable, identity)

    def _lose(self, identity: bytes) -> None:
        self._forget(identity)
        self._lose_soon(identity)

    def _forget(self, identity: bytes) -> None:
        del self._queued[identity]
        del self._queued_bytes[identity]
        self._blocked.discard(identity)

    def _open(self, frames: list[bytes]) -> Iterator[tuple[Message, bytes]]:
        self._sender = frames[0]
        self._peers.add(self._sender)
        if len(frames) != 2:  # noqa: PLR2004 - identity and blob
            self._complain(f"{len(frames)} frames")
            return iter(())
        return unpack(frames[1])

    def _take(self, message: Message, body: bytes) -> None:
        self._receive(self._sender, message, body)

    def _complain(self, reason: str) -> None:
        self._garbage(self._sender, reason)

    def _on_disconnect(self, frames: list[bytes]) -> None:
        """Somebody's socket closed. Who it was shows when each is sent an empty blob."""
        self._loop.call_later(PROBE_S, self._probe)

    def _probe(self) -> None:
        if self._socket.closed:
            return
        for identity in list(self._peers):
            if identity not in self._queued:
                self._hand_over(identity, b"")
        self._drain.check()
