"""One client of the port after its handshake: what it may do, and what waits to be written."""

import asyncio

import msgspec

from bus.messages import Caller
from gatewayd.front.websocket import WebSocket, frame_text
from gatewayd.protocol.access import Rights
from gatewayd.protocol.connect import ConnectParams

MAX_OPEN_CALLS = 4096
"""Unanswered calls of one connection; more are refused."""
MAX_OPEN_BYTES = 8_388_608
"""Params of unanswered calls of one connection; a worker that hangs leaves them in memory."""
PAUSE_BYTES = 262_144
"""Unsent bytes at which a client's requests are not read any more."""
CLOSE_TIMEOUT_S = 2.0
"""For a client to read the close frame; then the socket is cut."""

_encode_caller = msgspec.msgpack.Encoder().encode


class Client:
    """An authenticated connection and its unsent frames."""

    __slots__ = (
        "_caller",
        "_caps",
        "_is_local",
        "_loop",
        "_out_bytes",
        "_who",
        "_ws",
        "connection_id",
        "device_id",
        "is_dirty",
        "is_leaving",
        "known_as",
        "mode",
        "open_bytes",
        "open_calls",
        "out",
        "program",
        "rights",
        "transport",
    )

    def __init__(
        self,
        connection_id: str,
        params: ConnectParams,
        rights: Rights,
        transport: asyncio.Transport,
        ws: WebSocket,
        *,
        is_local: bool,
    ) -> None:
        self.connection_id = connection_id
        self.rights = rights
        self.mode = params.client.mode
        self.program = params.client.id
        self.device_id = params.device.id if params.device is not None else None
        self.known_as = self.device_id or params.client.instance_id
        """Under which presence keeps it."""
        self.open_calls = 0
        self.open_bytes = 0
        self.is_dirty = False
        self.is_leaving = False
        self._loop = asyncio.get_running_loop()
        self.transport = transport
        self._ws = ws
        self.out: list[bytes] = []
        """WebSocket frames that leave with the next `flush`."""
        self._out_bytes = 0
        self._caps = params.caps
        self._is_local = is_local
        self._who: Caller | None = None
        self._caller: msgspec.Raw | None = None

    @property
    def who(self) -> Caller:
        """Who asks, as methods are told."""
        if self._who is None:
            self._who = Caller(
                kind="client",
                id=self.connection_id,
                role=self.rights.role,
                scopes=self.rights.scopes,
                client_id=self.program,
                mode=self.mode,
                caps=self._caps,
                is_local=self._is_local,
            )
        return self._who

    @property
    def caller(self) -> msgspec.Raw:
        """The same for workers; encoded with the first call that leaves the front."""
        if self._caller is None:
            self._caller = msgspec.Raw(_encode_caller(self.who))
        return self._caller

    def put(self, framed: bytes) -> None:
        """Adds a WebSocket frame to what leaves with the next `flush`, or at once when it is much.

        So the transport knows what is unsent, and a burst within one turn is seen as one.
        """
        self.out.append(framed)
        self._out_bytes += len(framed)
        if self._out_bytes > PAUSE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes everything that waits, at once."""
        self.is_dirty = False
        if self.out:
            data = self.out[0] if len(self.out) == 1 else b"".join(self.out)
            self.out.clear()
            self._out_bytes = 0
            if not self.is_leaving:
                self.transport.write(data)

    def buffered_bytes(self) -> int:
        """Unsent bytes in the transport."""
        return self.transport.get_write_buffer_size()

    def ping(self) -> bool:
        """Sends a ping; False if the one before was never answered."""
        if not self._ws.pong_seen:
            return False
        self.transport.write(self._ws.ping())
        return True

    def close(self, code: int, reason: str, last_frame: bytes | None = None) -> None:
        """Says goodbye and closes; the socket is cut when the client does not read it."""
        if self.is_leaving:
            return
        if last_frame is not None:
            self.out.append(frame_text(last_frame))
        self.flush()
        self.is_leaving = True
        self.transport.write(self._ws.close(code, reason))
        self._loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
