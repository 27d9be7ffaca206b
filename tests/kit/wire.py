"""A bare WebSocket client that shows every byte: for tests of the port."""

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

UPGRADE = (
    "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class ClosedError(Exception):
    """The other side closed; `code` is None when there was no close frame."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame with the mask of zeros, which leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + bytes(4) + payload


def connect_request(token: str = "", **changes: Any) -> dict[str, Any]:
    """A `connect` request as a command line sends it; `changes` replace params."""
    client = {"id": "cli", "version": "1.0.0", "platform": "linux", "mode": "cli"}
    params: dict[str, Any] = {"minProtocol": 3, "maxProtocol": 3, "client": client,
                              "auth": {"token": token}}  # fmt: skip
    params.update(changes)
    return {"type": "req", "id": "c1", "method": "connect", "params": params}


class Wire:
    """One connection to the port."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._next = 0
        self.hello: dict[str, Any] = {}

    @classmethod
    def upgraded(cls, port: int, extra: str = "", host: str = "127.0.0.1") -> "Wire":
        """After the HTTP upgrade; nothing of the protocol was read yet."""
        wire = cls(port, host)
        name = f"[{host}]" if ":" in host else host
        wire.send_bytes(UPGRADE.format(host=f"{name}:{port}", extra=extra).encode())
        head = wire.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return wire

    @classmethod
    def connected(cls, port: int, token: str, **params: Any) -> "Wire":
        """After hello-ok."""
        wire = cls.upgraded(port)
        assert wire.receive()["event"] == "connect.challenge"
        wire.send(connect_request(token, **params))
        answer = wire.receive()
        assert answer["ok"], answer
        wire.hello = answer["payload"]
        return wire

    # Bytes

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        end = self._buffer.index(b"\r\n\r\n") + 4
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    def read_all(self) -> bytes:
        """Everything until the other side ends the stream."""
        try:
            while True:
                self._more()
        except (ClosedError, ConnectionError):
            return bytes(self._buffer)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Frames

    def send(self, message: Any) -> None:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.send_bytes(frame(TEXT, text))

    def receive_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises ClosedError at a close or the end."""
        head = self._take(2)
        length = head[1] & 0x7F
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self._take(size))
        payload = self._take(length)
        if head[0] & 0x0F == CLOSE:
            code = int.from_bytes(payload[:2]) if payload else 1005
            raise ClosedError(code, payload[2:].decode())
        return head[0] & 0x0F, payload

    def receive_text(self) -> bytes:
        """The next text message; pings are answered."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == PING:
                self.send_bytes(frame(PONG, payload))
            elif opcode == TEXT:
                return payload

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.receive_text())
        return message

    def until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 10) -> Any:
        """The first message that is wanted; others are passed over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            message = self.receive()
            if wanted(message):
                return message
        raise TimeoutError

    def event(self, topic: str) -> dict[str, Any]:
        return dict(self.until(lambda message: message.get("event") == topic))

    def ask(self, method: str, params: Any = None) -> str:
        """Sends a request; returns its id."""
        self._next += 1
        request: dict[str, Any] = {"type": "req", "id": f"r{self._next}", "method": method}
        if params is not None:
            request["params"] = params
        self.send(request)
        return str(request["id"])

    def answer(self, frame_id: str) -> dict[str, Any]:
        """The next `res` with this id."""
        return dict(
            self.until(lambda message: message["type"] == "res" and message["id"] == frame_id)
        )

    def call(self, method: str, params: Any = None) -> dict[str, Any]:
        return self.answer(self.ask(method, params))

    def closed(self) -> ClosedError:
        """How the other side closes; messages before it are passed over."""
        try:
            while True:
                self.receive_frame()
        except ClosedError as closed:
            return closed

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _more(self) -> None:
        try:
            data = self.socket.recv(262_144)
        except ConnectionError:
            data = b""
        if not data:
            raise ClosedError(None)
        self._buffer += data
