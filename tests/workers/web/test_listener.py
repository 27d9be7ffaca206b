"""The web worker's socket: real HTTP over a real UNIX socket, with the front's header before it."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.kit.eventually import run
from tests.workers.web.test_proxy import header
from workers.web import app
from workers.web.listener import Listener
from workers.web.pages import Pages

PROXY = header("203.0.113.7", 50123)


@asynccontextmanager
async def listening(path: Path, served: ASGIApp | None = None) -> AsyncIterator[Listener]:
    listener = Listener(served or app.build(Pages()), path)
    await listener.open()
    try:
        yield listener
    finally:
        listener.close()


async def exchange(path: Path, data: bytes) -> bytes:
    """What the worker answers to `data` until it closes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def request(path: Path, line: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to one request."""
    data = f"{line} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n"
    head, _, body = (await exchange(path, PROXY + data.encode())).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in rest)
    return int(first.split()[1]), {name.lower(): value for name, value in pairs}, body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "web.sock"


@pytest.mark.parametrize("place", ["/", "/chat", "/chat?gatewayUrl=ws://evil"])
def test_the_chat_page_is_served(path: Path, place: str) -> None:
    async def scenario() -> None:
        async with listening(path):
            status, headers, body = await request(path, f"GET {place}")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<!doctype html>" in body
        assert b"evil" not in body
        assert headers["cache-control"] == "no-cache"

    run(scenario())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /", 200),
        ("GET /nope", 404),
        ("GET /assets/nope.js", 404),
        ("GET /assets/../app.py", 404),
        ("GET /assets/%2e%2e%2fapp.py", 404),
        ("POST /", 405),
        ("DELETE /nope", 405),
        ("GET /favicon.ico", 200),
    ],
)
def test_every_answer_has_the_protecting_headers(path: Path, line: str, status: int) -> None:
    async def scenario() -> None:
        async with listening(path):
            found, headers, _ = await request(path, line)
        assert found == status
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy

    run(scenario())


def test_unknown_paths_and_methods_are_answered_in_words(path: Path) -> None:
    async def scenario() -> None:
        async with listening(path):
            assert (await request(path, "GET /nope"))[2] == b"Not Found"
            status, headers, body = await request(path, "PUT /nope")
            assert (status, headers["allow"], body) == (405, "GET, HEAD", b"Method Not Allowed")

    run(scenario())


def test_head_sends_headers_only(path: Path) -> None:
    async def scenario() -> None:
        async with listening(path):
            status, headers, body = await request(path, "HEAD /")
            full = await request(path, "GET /")
        assert (status, body) == (200, b"")
        assert headers["content-length"] == str(len(full[2]))

    run(scenario())


def test_what_has_not_changed_is_not_sent_again(path: Path) -> None:
    async def scenario() -> None:
        async with listening(path):
            _, headers, _ = await request(path, "GET /assets/main.js")
            same = f"if-none-match: W/{headers['etag']}\r\n"
            assert (await request(path, "GET /assets/main.js", same))[0] == 304
            other = 'if-none-match: "other"\r\n'
            assert (await request(path, "GET /assets/main.js", other))[0] == 200

    run(scenario())


def test_the_application_sees_the_real_client(path: Path) -> None:
    seen: list[object] = []

    async def remember(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def scenario() -> None:
        async with listening(path, remember):
            assert (await request(path, "GET /"))[0] == 204

    run(scenario())
    assert seen == [("203.0.113.7", 50123)]


def test_a_header_in_pieces_is_put_together(path: Path) -> None:
    async def scenario() -> None:
        async with listening(path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            for byte in PROXY + b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    run(scenario())


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 a b 1 2\r\n", b"x"])
def test_a_connection_without_the_header_is_dropped_unanswered(path: Path, data: bytes) -> None:
    async def scenario() -> None:
        async with listening(path):
            assert await exchange(path, data) == b""
            assert (await request(path, "GET /"))[0] == 200

    run(scenario())


def test_the_socket_is_ours_alone_and_replaces_a_stale_one(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()

    async def scenario() -> None:
        async with listening(path):
            assert mode(path) == 0o600
            assert (await request(path, "GET /"))[0] == 200

    run(scenario())
    assert list(path.parent.iterdir()) == []


def test_an_older_worker_that_ends_leaves_the_newer_ones_socket(path: Path) -> None:
    async def scenario() -> None:
        async with listening(path) as older, listening(path):
            await older.drain()
            older.close()
            assert (await request(path, "GET /"))[0] == 200

    run(scenario())


def test_draining_waits_for_the_answer_under_way(path: Path) -> None:
    async def scenario() -> None:
        release = asyncio.Event()
        is_asked = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            is_asked.set()
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"late"})

        async with listening(path, slow) as listener, asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(request(path, "GET /"))
            await is_asked.wait()
            drained = tasks.create_task(listener.drain())
            await asyncio.sleep(0)
            assert not drained.done()
            release.set()
            assert b"late" in (await answer)[2]
            await drained

    run(scenario())
