"""A gateway client: connects, calls methods, follows events, on one thread without a loop.

websockets' sans-I/O protocol drives a blocking socket, so that a command line starts fast and
an interrupt always lands in our own code.
"""

import itertools
import platform
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

PROTOCOL_VERSION = 3
LARGEST_FRAME_BYTES = 32 * 1024 * 1024
KEPT_EVENTS = 4_096
"""Events nobody has read yet; older ones are forgotten first."""
ABNORMAL_CLOSE = 1006
READ_BYTES = 262_144
SEND_TIMEOUT_S = 10.0
"""A gateway that reads nothing for this long is gone."""


class ClientError(Exception):
    """A call could not be made or did not succeed."""


class UnreachableError(ClientError):
    """No gateway answers at the address."""


class ClosedError(ClientError):
    """The connection ended; `code` and `reason` are those of the close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"gateway closed the connection ({code} {reason or 'no reason given'})")
        self.code = code
        self.reason = reason


class CallTimeoutError(ClientError):
    """No answer within the time the caller gave."""


class GatewayError(ClientError):
    """The gateway answered with an error."""

    def __init__(self, error: dict[str, Any], payload: Any = None) -> None:
        self.code = str(error.get("code", "UNKNOWN"))
        self.message = str(error.get("message", "no message"))
        self.details = error.get("details")
        self.retryable = error.get("retryable") is True
        self.retry_after_ms = error.get("retryAfterMs")
        self.payload = payload
        super().__init__(f"{self.message} ({self.code})")


@dataclass(frozen=True)
class Identity:
    """Who connects, as the gateway is told."""

    client_id: str = "cli"
    mode: str = "cli"
    version: str = "0.1.0"
    role: str = "operator"
    scopes: tuple[str, ...] = ("operator.admin", "operator.approvals", "operator.pairing")
    caps: tuple[str, ...] = ()
    platform: str = field(default_factory=lambda: platform.system().lower() or "unknown")


@dataclass(frozen=True)
class Event:
    """Something the gateway published; `seq` is missing on events for this client alone."""

    name: str
    payload: Any
    seq: int | None


class _Frame(msgspec.Struct, frozen=True):
    """Any frame the gateway sends."""

    type: str
    id: Any = ""
    ok: bool = False
    payload: Any = None
    error: dict[str, Any] = {}
    event: str = ""
    seq: int | None = None


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode
OnEvent = Callable[[Event], None]
Close = tuple[int, str]


class Client:
    """One connection, from the hello to the close. Not for sharing between threads."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol) -> None:
        self.hello: dict[str, Any] = {}
        self._socket = sock
        self._protocol = protocol
        self._frames: deque[_Frame] = deque()  # bounded by what one read brings
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._parts: list[bytes] = []
        self._ids = itertools.count(1)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, method: str, params: Any = None) -> str:
        """Sends a request and returns its id; the answer is for `wait`."""
        frame_id = f"c{next(self._ids)}"
        request = {"type": "req", "id": frame_id, "method": method}
        if params is not None:
            request["params"] = params
        if self._protocol.state is not State.OPEN:
            raise ClosedError(*self._close())
        self._protocol.send_text(_encode(request))
        self._flush()
        return frame_id

    def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout_s: float | None = 10.0,
        on_accept: Callable[[Any], None] | None = None,
        on_event: OnEvent | None = None,
    ) -> Any:
        """The result of `method`; with `on_accept` the final one of a two-stage answer.

        `on_event` gets what is published meanwhile; without it, events are kept for `events`.
        Raises GatewayError for an error answer, CallTimeoutError, ClosedError.
        """
        frame_id = self.send(method, params)
        return self.wait(
            frame_id, method, timeout_s=timeout_s, on_accept=on_accept, on_event=on_event
        )

    def wait(
        self,
        frame_id: str,
        method: str,
        *,
        timeout_s: float | None = 10.0,
        on_accept: Callable[[Any], None] | None = None,
        on_event: OnEvent | None = None,
    ) -> Any:
        """The result of a request that was sent; see `call`."""
        deadline = _deadline(timeout_s)
        while True:
            frame = self._next(deadline)
            if frame is None:
                raise CallTimeoutError(f"{method}: no answer within {timeout_s} s")
            if frame.type == "event":
                (on_event or self._events.append)(Event(frame.event, frame.payload, frame.seq))
            elif frame.id == frame_id and not frame.ok:
                raise GatewayError(frame.error, frame.payload)
            elif frame.id == frame_id and (on_accept is None or not _is_acceptance(frame)):
                return frame.payload
            elif frame.id == frame_id and on_accept is not None:
                on_accept(frame.payload)

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """What is published, oldest first, until `timeout_s` pass without an event."""
        while True:
            deadline = _deadline(timeout_s)
            while not self._events:
                frame = self._next(deadline)
                if frame is None:
                    return
                if frame.type == "event":
                    self._events.append(Event(frame.event, frame.payload, frame.seq))
            yield self._events.popleft()

    def close(self) -> None:
        """Says goodbye and lets go of the socket."""
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000, "bye")
                self._flush()
        except (OSError, ClientError):
            pass  # it is gone already
        finally:
            self._socket.close()

    def _next(self, deadline: float | None) -> _Frame | None:
        """The next frame, or None when the deadline has passed."""
        while not self._frames:
            if self._protocol.state is State.CLOSED or self._protocol.close_rcvd is not None:
                raise ClosedError(*self._close())
            if not self._read(deadline):
                return None
        return self._frames.popleft()

    def _read(self, deadline: float | None) -> bool:
        """Takes what has arrived; False when nothing did before the deadline."""
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            return False
        self._socket.settimeout(left_s)
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        return True

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            text, self._parts = b"".join(self._parts), []
            try:
                self._frames.append(_decode(text))
            except msgspec.DecodeError as error:
                raise UnreachableError(f"this is not a gateway: {error}") from error

    def _flush(self) -> None:
        """Writes what the protocol wants written; an empty piece means end of stream."""
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.settimeout(SEND_TIMEOUT_S)
                    self._socket.sendall(data)
                else:
                    self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            if self._protocol.state is not State.CLOSED:
                self._protocol.receive_eof()

    def _close(self) -> Close:
        close = self._protocol.close_rcvd
        if close is None:
            return ABNORMAL_CLOSE, "connection lost"
        return close.code, close.reason


def connect(
    url: str,
    *,
    token: str | None = None,
    password: str | None = None,
    identity: Identity | None = None,
    timeout_s: float = 10.0,
) -> Client:
    """Connects and authenticates; the hello is in the client's `hello`.

    Raises UnreachableError, GatewayError (refused), ClosedError, CallTimeoutError.
    """
    deadline = time.monotonic() + timeout_s
    client = _open(url, deadline, timeout_s)
    try:
        _await_challenge(client, deadline, url)
        params = _connect_params(identity or Identity(), token, password)
        left_s = max(deadline - time.monotonic(), 0.001)
        client.hello = client.call("connect", params, timeout_s=left_s)
    except BaseException:
        client.close()
        raise
    return client


def _open(url: str, deadline: float, timeout_s: float) -> Client:
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise UnreachableError(f"{url}: not a gateway address, use ws://HOST:PORT") from error
    protocol = ClientProtocol(uri, max_size=LARGEST_FRAME_BYTES)
    try:
        sock = _socket(uri, timeout_s)
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or error
        raise UnreachableError(f"nothing answers at {url}: {reason}") from error
    client = Client(sock, protocol)
    protocol.send_request(protocol.connect())
    client._flush()  # noqa: SLF001 - this function is the client's constructor
    while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
        if not client._read(deadline):  # noqa: SLF001
            sock.close()
            raise UnreachableError(
                f"{url} does not answer: no WebSocket handshake in {timeout_s} s"
            )
    if protocol.handshake_exc is not None:
        sock.close()
        raise UnreachableError(f"{url} is not a gateway: {protocol.handshake_exc}")
    return client


def _socket(uri: WebSocketURI, timeout_s: float) -> socket.socket:
    sock = socket.create_connection((uri.host, uri.port), timeout=timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not uri.secure:
        return sock
    return ssl.create_default_context().wrap_socket(sock, server_hostname=uri.host)


def _await_challenge(client: Client, deadline: float, url: str) -> None:
    for event in client.events(max(deadline - time.monotonic(), 0.001)):
        if event.name == "connect.challenge":
            return
    raise UnreachableError(f"{url} sent no connect.challenge; it is not a gateway")


def _connect_params(identity: Identity, token: str | None, password: str | None) -> dict[str, Any]:
    about = {
        "id": identity.client_id,
        "mode": identity.mode,
        "version": identity.version,
        "platform": identity.platform,
    }
    params: dict[str, Any] = {
        "minProtocol": PROTOCOL_VERSION,
        "maxProtocol": PROTOCOL_VERSION,
        "client": about,
        "role": identity.role,
        "scopes": identity.scopes,
        "caps": identity.caps,
    }
    auth = {"token": token, "password": password}
    given = {name: secret for name, secret in auth.items() if secret is not None}
    if given:
        params["auth"] = given
    return params


def _is_acceptance(frame: _Frame) -> bool:
    return isinstance(frame.payload, dict) and frame.payload.get("status") == "accepted"


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
