"""HTTP on the profile's UNIX socket: uvicorn's protocol behind the front's PROXY header."""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from workers.web.lingering import LingeringTransport
from workers.web.proxy import BadHeaderError, parse

HEADER_TIMEOUT_S = 5.0
BACKLOG = 1024
LEFT = "left"
"""Member of a request's `state`: an event that is set when the client has nothing more to say."""
ACCEPT_S = 0.02
"""Time to take in who had connected when the draining began."""


class ProxiedProtocol(HttpToolsProtocol):
    """HTTP whose first bytes are a PROXY header; without one the connection is dropped."""

    _early: bytes | None = b""
    _timer: asyncio.TimerHandle | None = None
    _is_deaf = False
    _transport: LingeringTransport
    on_lost: Callable[[], None] | None = None
    """Called when the connection is gone."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the header, for a while."""
        self._transport = LingeringTransport(transport, self._ignore)
        super().connection_made(self._transport)
        self._timer = self.loop.call_later(HEADER_TIMEOUT_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Takes the header off, then everything as it comes."""
        if self._is_deaf:
            return
        if self._early is None:
            super().data_received(data)
            return
        self._early += data
        try:
            header = parse(self._early)
        except BadHeaderError:
            self._stop_timer()
            self.transport.abort()
            return
        if header is not None:
            self._stop_timer()
            self.client = (header.host, header.port)
            rest, self._early = self._early[header.length_bytes :], None
            if rest:
                super().data_received(rest)

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio: whether to stay open
        """The client says nothing more; quick answers still reach it, long ones end."""
        self._transport.is_heard_out = True
        self.app_state[LEFT].set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline of the header."""
        self.app_state[LEFT].set()
        self._stop_timer()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def _ignore(self) -> None:
        """The answer is complete; what still comes is thrown away."""
        self._is_deaf = True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Listener:
    """The listening socket and its connections."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        self._path = path
        self._config = Config(
            app,
            loop="none",
            http=ProxiedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._is_quiet = asyncio.Event()

    async def open(self) -> None:
        """Listens; a socket somebody left at the path is replaced in one step."""
        self._config.load()
        listening = _bind(self._path)
        self._inode = self._path.stat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            self._protocol, sock=listening, backlog=BACKLOG
        )

    async def drain(self) -> None:
        """Accepts nothing more and returns when the last connection has its answer."""
        await asyncio.sleep(ACCEPT_S)
        self._stop_accepting()
        self._note_quiet()
        await self._is_quiet.wait()

    def close(self) -> None:
        """Lets go of the socket and of every connection."""
        self._stop_accepting()
        for connection in list(self._state.connections):
            transport: Any = connection.transport
            transport.abort()

    def _protocol(self) -> ProxiedProtocol:
        protocol = ProxiedProtocol(self._config, self._state, {LEFT: asyncio.Event()})
        protocol.on_lost = self._note_quiet
        return protocol

    def _note_quiet(self) -> None:
        """Wakes `drain` when the last connection is gone."""
        if self._server is None and not self._state.connections:
            self._is_quiet.set()

    def _stop_accepting(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # A newer process may have put its own socket there already.
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`, ours alone, without a moment in which the path is missing."""
    draft = path.with_name(f"web.{secrets.token_hex(4)}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        mask = os.umask(0o177)
        try:
            listening.bind(str(draft))
        finally:
            os.umask(mask)
        listening.listen(BACKLOG)
        draft.replace(path)
    except BaseException:
        listening.close()
        draft.unlink(missing_ok=True)
        raise
    return listening
