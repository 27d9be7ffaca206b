"""A peer of the bus that keeps to no rule."""

import time
from typing import Any

import zmq

from bus.capabilities import token
from bus.codec import pack, unpack
from bus.messages import Message, Method, Ready


class Rogue:
    """A bare DEALER: sends what it is told to, reads what comes."""

    def __init__(self, endpoint: str, identity: bytes = b"rogue") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, identity)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def send(self, message: Message, body: bytes = b"") -> None:
        self._socket.send(pack(message, body))

    def send_parts(self, *parts: bytes) -> None:
        self._socket.send_multipart(parts)

    def received(self, seconds: float = 5.0) -> list[Message]:
        """The messages of the next blob that has any."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._socket.poll(100):
                found = [message for message, _ in unpack(self._socket.recv())]
                if found:
                    return found
        return []

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> "Rogue":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def ready(name: str, key: bytes, methods: tuple[str, ...] = (), **changes: Any) -> Ready:
    """An announcement with the right token, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "name": name, "pid": 1, "started_ms": int(time.time() * 1000), "token": token(key, name),
        "is_draining": False, "restart_count": 0, "topics": (), "progress": {},
        "methods": tuple(Method(method, "read", 30_000) for method in methods),
    }  # fmt: skip
    return Ready(**{**values, **changes})
