"""A small gateway client for the measurements that need one answer at a time."""

import itertools
import json
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

ANSWER_TIMEOUT_S = 30.0


class RefusedError(Exception):
    """The gateway answered with an error."""


class Client:
    """One connected operator; `call` waits for the answer to its own request."""

    def __init__(self, port: int, token: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        url = f"ws://127.0.0.1:{port}"
        self._socket: ClientConnection = connect(
            url, compression=None, max_size=None, open_timeout=timeout_s, proxy=None
        )
        try:
            self._receive()  # the challenge
            self.call("connect", _connect_params(token))
        except BaseException:
            self.close()
            raise

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The payload of the first answer; raises RefusedError for an error."""
        request_id = f"r{next(self._ids)}"
        request: dict[str, Any] = {"type": "req", "id": request_id, "method": method}
        if params is not None:
            request["params"] = params
        self._socket.send(json.dumps(request))
        return self.answer(request_id)

    def answer(self, request_id: str) -> Any:
        """The payload of the next answer to a request; events in between are kept."""
        while True:
            frame = self._receive()
            if frame["type"] == "res" and frame["id"] == request_id:
                if not frame["ok"]:
                    raise RefusedError(json.dumps(frame.get("error")))
                return frame.get("payload")
            if frame["type"] == "event":
                self._events.append(frame)

    def event(self, name: str) -> Any:
        """The payload of the next event of this name, among those kept or still to come."""
        while True:
            for frame in self._events:
                if frame["event"] == name:
                    self._events.remove(frame)
                    return frame.get("payload")
            frame = self._receive()
            if frame["type"] == "event":
                self._events.append(frame)

    def close(self) -> None:
        """Close without waiting for the server."""
        self._socket.close_timeout = 0
        self._socket.close()

    def _receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self._socket.recv(timeout=self._timeout_s))
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _connect_params(token: str) -> dict[str, Any]:
    return {
        "minProtocol": 3,
        "maxProtocol": 3,
        "client": {"id": "cli", "version": "1.0.0", "platform": "linux", "mode": "cli"},
        "role": "operator",
        "scopes": ["operator.read", "operator.write", "operator.admin"],
        "caps": [],
        "auth": {"token": token},
    }
