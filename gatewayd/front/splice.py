"""HTTP that is not the front's own, one checked request a connection, joined to the web worker."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Coroutine
from typing import Any, Protocol

from gatewayd.front.head import Head
from gatewayd.front.http import web_is_down

CONNECT_TIMEOUT_S = 2.0
MAX_SPLICED = 512
"""HTTP requests under way at a time; more are told to retry."""
PAUSE_BYTES = 262_144
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
UPLOAD_PAUSE_S = 30.0
"""Longest time in which nothing of an unfinished request body comes."""
_HOP_HEADERS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings")
)


class Spawner(Protocol):
    """Runs a task that belongs to the front."""

    def __call__(self, work: Coroutine[Any, Any, None]) -> object:
        """Starts `work`."""
        ...


class _Backend(asyncio.Protocol):
    """The connection to the web worker: what it sends goes to the client."""

    def __init__(self, splice: "Splice") -> None:
        self._splice = splice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._splice.backend_up(transport)  # type: ignore[arg-type] # a stream transport

    def data_received(self, data: bytes) -> None:
        self._splice.answered(data)

    def pause_writing(self) -> None:
        self._splice.set_flooded(is_flooded=True)

    def resume_writing(self) -> None:
        self._splice.set_flooded(is_flooded=False)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._splice.backend_lost()


class Splice:
    """One HTTP request of a client, joined to the web worker.

    What a client sends after its request's body is dropped: it passed no check of the front.
    """

    count = 0

    def __init__(self, client: asyncio.Transport, web_socket: str, body_bytes: int | None) -> None:
        """`body_bytes` is what is still to come of the body; None when its chunks tell."""
        self.client = client
        self._body_bytes = body_bytes
        self._is_answered = False
        self._is_flooded = False
        self._heard_at = asyncio.get_running_loop().time()
        self._path = web_socket
        self._backend: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._is_over = False
        self._is_ended = False

    def start(self, first: bytes, spawn: Spawner) -> None:
        """Connects and sends `first` (PROXY header, head, start of the body)."""
        if Splice.count >= MAX_SPLICED:
            self._is_over = True
            self._refuse()
            return
        Splice.count += 1
        self._early.append(first)
        self.client.pause_reading()
        spawn(self._connect())

    def feed(self, data: bytes) -> None:
        """More of the request's body."""
        self._heard_at = asyncio.get_running_loop().time()
        if self._body_bytes is not None:
            data = data[: self._body_bytes]
            self._body_bytes -= len(data)
        if self._backend is not None:
            self._backend.write(data)
        else:
            self._early.append(data)

    def client_ended(self) -> None:
        """The client says nothing more; it may have left, and the web worker judges that."""
        self._is_ended = True
        if self._backend is not None and not self._backend.is_closing():
            self._backend.write_eof()

    def is_stuck(self, now: float) -> bool:
        """Whether the client stopped in the middle of its request; `now` on the loop's clock."""
        is_due = self._body_bytes != 0 and not self._is_answered and not self._is_flooded
        return is_due and now - self._heard_at > UPLOAD_PAUSE_S

    def answered(self, data: bytes) -> None:
        """Part of the answer."""
        self._is_answered = True
        if not self.client.is_closing():
            self.client.write(data)

    def set_flooded(self, *, is_flooded: bool) -> None:
        """The web worker takes no more for now, or takes more again."""
        self._is_flooded = is_flooded
        self._heard_at = asyncio.get_running_loop().time()
        if self.client.is_closing() or self._backend is None:
            return
        if is_flooded:
            self.client.pause_reading()
        else:
            self.client.resume_reading()

    def client_lost(self) -> None:
        """The client is gone: so is its request."""
        if self._backend is not None:
            self._backend.abort()
        self._end()

    def pause(self) -> None:
        """The client reads slowly."""
        if self._backend is not None:
            self._backend.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        if self._backend is not None and not self._backend.is_closing():
            self._backend.resume_reading()

    def backend_up(self, transport: asyncio.Transport) -> None:
        """The web worker took the connection."""
        if self._is_over:
            transport.abort()
            return
        self._backend = transport
        transport.set_write_buffer_limits(high=PAUSE_BYTES)
        transport.write(b"".join(self._early))
        self._early.clear()
        if self._is_ended:
            transport.write_eof()
        if not self.client.is_closing() and not self._is_flooded:
            self.client.resume_reading()

    def backend_lost(self) -> None:
        """The answer is complete, or the web worker is gone: 503 if it said nothing."""
        if not self._is_answered and not self._is_over and not self.client.is_closing():
            self.client.write(web_is_down())
        self.client.close()
        self._end()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_unix_connection(lambda: _Backend(self), self._path)
        except (OSError, TimeoutError):
            self._end()
            self._refuse()

    def _refuse(self) -> None:
        if not self.client.is_closing():
            self.client.write(web_is_down())
            self.client.close()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            Splice.count -= 1


def body_length(head: Head) -> int | None:
    """Bytes of the request's body; None when it comes in chunks."""
    if head.header(b"transfer-encoding") is not None:
        return None
    return int(head.header(b"content-length") or 0)


def request_bytes(head: Head, after: bytes, peer: tuple[str, int], own: tuple[str, int]) -> bytes:
    """PROXY protocol v2 header, the head with `Connection: close`, and what came of the body.

    One request a connection, so that every request passes the front's checks.
    """
    lines = [b"%b %b HTTP/%b" % (head.method, head.target, head.version)]
    lines += [b"%b: %b" % pair for pair in head.headers if pair[0] not in _HOP_HEADERS]
    lines.append(b"connection: close")
    return proxy_header(peer, own) + b"\r\n".join(lines) + b"\r\n\r\n" + after


def proxy_header(peer: tuple[str, int], own: tuple[str, int]) -> bytes:
    """The PROXY protocol v2 header that tells the web worker who is really there."""
    source, target = ipaddress.ip_address(peer[0]), ipaddress.ip_address(own[0])
    family = socket.AF_INET6 if source.version == 6 else socket.AF_INET  # noqa: PLR2004
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    body = source.packed + target.packed + struct.pack("!HH", peer[1], own[1])
    return _SIGNATURE + struct.pack("!BBH", 0x21, kind, len(body)) + body
