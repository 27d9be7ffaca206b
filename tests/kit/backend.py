"""A small HTTP server on a UNIX socket, in the web worker's place: shows what reaches it."""

import ipaddress
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@dataclass
class Seen:
    """One request as it arrived."""

    peer: tuple[str, int]
    own: tuple[str, int]
    head: bytes
    body: bytearray = field(default_factory=bytearray)
    ended: threading.Event = field(default_factory=threading.Event)
    """The front closed its side."""

    def header(self, name: str) -> list[str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines if line]
        return [value.strip() for key, _, value in pairs if key.lower() == name]


class Connection:
    """What a behaviour of the backend works with."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""
        self.seen = self._read_start()

    def read_body(self) -> None:
        """Reads as many bytes as Content-Length says, or all chunks."""
        length = self.seen.header("content-length")
        if length:
            while len(self.seen.body) < int(length[0]) and self.more():
                pass
        elif self.seen.header("transfer-encoding"):
            while not self.seen.body.endswith(b"0\r\n\r\n") and self.more():
                pass

    def more(self) -> bool:
        data = self.socket.recv(65_536)
        self.seen.body += data
        return bool(data)

    def answer(self, body: bytes, announced: int | None = None) -> None:
        length = len(body) if announced is None else announced
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def _read_start(self) -> Seen:
        start = self._exactly(16)
        assert start[:12] == SIGNATURE, start
        assert start[12] == 0x21
        rest = self._exactly(struct.unpack("!H", start[14:16])[0])
        size = 16 if start[13] == 0x21 else 4
        source, target = rest[:size], rest[size : 2 * size]
        ports = struct.unpack("!HH", rest[2 * size : 2 * size + 4])
        peer = (str(ipaddress.ip_address(source)), ports[0])
        own = (str(ipaddress.ip_address(target)), ports[1])
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self.socket.recv(65_536)
        head, _, body = self._buffer.partition(b"\r\n\r\n")
        return Seen(peer, own, head, bytearray(body))

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self.socket.recv(65_536)
            assert data, "the front closed before the request"
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def mirror(connection: Connection) -> None:
    """Answers with what arrived."""
    connection.read_body()
    seen = connection.seen
    report = {
        "peer": seen.peer[0],
        "body_bytes": len(seen.body),
        "head": seen.head.decode("latin-1"),
    }
    connection.answer(json.dumps(report).encode())


class Backend:
    """Serves `behave` at `path`, a thread a connection."""

    def __init__(self, path: Path, behave: Callable[[Connection], None] = mirror) -> None:
        self.behave = behave
        self.seen: list[Seen] = []
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(512)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(20)
            try:
                connection = Connection(sock)
                self.seen.append(connection.seen)
                self.behave(connection)
            except (OSError, AssertionError):
                return
