"""A small gateway for the client's tests: speaks the handshake, then does what the test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

TOKEN = "right-token"
HELLO = {
    "type": "hello-ok",
    "protocol": 3,
    "snapshot": {"sessionDefaults": {"mainSessionKey": "agent:main:main"}},
    "policy": {"tickIntervalMs": 30_000},
}
Handle = Callable[["Asked"], None]


class Asked:
    """One request, and how to answer it."""

    def __init__(self, socket: ServerConnection, frame: dict[str, Any], count: int) -> None:
        self.socket = socket
        self.id = frame["id"]
        self.method: str = frame["method"]
        self.params: dict[str, Any] = frame.get("params", {})
        self.count = count
        """How many requests came over all connections, this one included."""

    def result(self, payload: Any) -> None:
        """Answers with a result."""
        self._send({"type": "res", "id": self.id, "ok": True, "payload": payload})

    def error(self, payload: Any = None, **error: Any) -> None:
        """Answers with an error."""
        frame = {"type": "res", "id": self.id, "ok": False, "error": error}
        self._send(frame if payload is None else {**frame, "payload": payload})

    def event(self, name: str, payload: Any) -> None:
        """Publishes an event."""
        self._send({"type": "event", "event": name, "payload": payload, "seq": self.count})

    def says(self, text: str) -> None:
        """Publishes the answer of the run as far as it has come."""
        run_id = self.params.get("idempotencyKey") or self.params.get("runId")
        data = {"text": text, "delta": text}
        payload = {"runId": run_id, "seq": 1, "stream": "assistant", "ts": 1, "data": data}
        self.event("agent", {**payload, "sessionKey": "agent:main:main"})

    def _send(self, frame: dict[str, Any]) -> None:
        self.socket.send(json.dumps(frame))


class Double:
    """The gateway: its address and what it was asked."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.connects: list[dict[str, Any]] = []
        self.server: Server

    @property
    def port(self) -> int:
        return int(self.server.socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """The methods asked for, in order."""
        return [method for method, _ in self.asked]

    def serve(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            self._serve(socket)

    def _serve(self, socket: ServerConnection) -> None:
        challenge = {"nonce": "n", "ts": 1}
        socket.send(
            json.dumps({"type": "event", "event": "connect.challenge", "payload": challenge})
        )
        frame = json.loads(socket.recv())
        self.connects.append(frame["params"])
        connect = Asked(socket, frame, 0)
        if frame["params"].get("auth", {}).get("token") != TOKEN:
            connect.error(code="INVALID_REQUEST", message="unauthorized: gateway token mismatch")
            socket.close(1008, "unauthorized: gateway token mismatch")
            return
        connect.result(HELLO)
        for text in socket:
            frame = json.loads(text)
            self.asked.append((frame["method"], frame.get("params", {})))
            self._handle(Asked(socket, frame, len(self.asked)))


@contextmanager
def double(handle: Handle) -> Iterator[Double]:
    """Such a gateway on a free port."""
    gateway = Double(handle)
    with serve(gateway.serve, "127.0.0.1", 0) as gateway.server:
        thread = threading.Thread(target=gateway.server.serve_forever)
        thread.start()
        yield gateway
        gateway.server.shutdown()
        thread.join(10)
