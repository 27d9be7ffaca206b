"""HTTP as a program sends it: status, headers and body of one request, or a stream of lines."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kit.gateway import Tree


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def fetch(
    tree: Tree, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request; without `headers` it brings the token and, with a body, its type."""
    given = bearer(tree.token) if headers is None else headers
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if data is not None:
        given = {"Content-Type": "application/json", **given}
    connection = http.client.HTTPConnection("127.0.0.1", tree.port, timeout=20)
    try:
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def chat(text: str, **members: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": "gatewayd", "messages": [{"role": "user", "content": text}], **members}


class Stream:
    """A streamed chat completion that is read line by line."""

    def __init__(self, tree: Tree, path: str, body: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", tree.port, timeout=20)
        headers = {"Content-Type": "application/json", **bearer(tree.token)}
        data = json.dumps({**body, "stream": True}).encode()
        self._connection.request("POST", path, data, headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()

    def events(self) -> Iterator[Any]:
        """The data of every event, up to the end that is announced or cut off."""
        for line in self._answer:
            if line.startswith(b"data: "):
                text = line[6:].strip()
                if text == b"[DONE]":
                    return
                yield json.loads(text)
        raise EOFError("the stream ended without [DONE]")

    def close(self) -> None:
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
