"""HTTP on the port of a real front: its own paths, and everything else spliced to web."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.kit.backend import Backend, Connection
from tests.kit.front import FrontProcess
from tests.kit.waiting import wait_until
from tests.kit.wire import UPGRADE, Wire

pytestmark = pytest.mark.processes


@pytest.fixture
def backend(front: FrontProcess) -> Iterator[Backend]:
    with Backend(front.state_dir / "run/web.sock") as backend:
        yield backend


def ask(front: FrontProcess, request: bytes, host: str = "127.0.0.1") -> tuple[int, bytes, bytes]:
    """Status, head and body of what `request` is answered with until the end of the stream."""
    with Wire(front.port, host) as wire:
        wire.send_bytes(request)
        head, _, body = wire.read_all().partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]) if head else 0, head, body


def get(path: str, extra: str = "", method: str = "GET", host: str = "localhost") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode()


def test_healthz_is_answered_while_every_worker_is_away(front: FrontProcess):
    status, head, body = ask(front, get("/healthz"))
    assert (status, json.loads(body)) == (200, {"ok": True, "status": "live"})
    assert b"Connection: close" in head
    assert ask(front, get("/healthz?verbose=1"))[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_of_an_own_path_has_the_length_and_no_body(front: FrontProcess, path: str):
    status, head, body = ask(front, get(path, method="HEAD"))
    assert status in (200, 503)
    assert body == b""
    assert b"Content-Length: " in head


def test_an_own_path_is_only_read(front: FrontProcess):
    status, head, _ = ask(front, get("/metrics", "Content-Length: 2\r\n", "POST") + b"{}")
    assert status == 405
    assert b"Allow: GET, HEAD" in head


def test_readyz_names_the_workers_that_are_not_there(front: FrontProcess):
    status, _, body = ask(front, get("/readyz"))
    told = json.loads(body)
    assert (status, told["ok"]) == (503, False)
    assert told["workers"]["agent"] == "running"
    assert "worker web is starting" in told["problems"]


def test_metrics_are_text_for_this_machine_alone(front: FrontProcess):
    status, head, body = ask(front, get("/metrics"))
    assert status == 200
    assert b"text/plain; version=0.0.4" in head
    assert b'gatewayd_worker_up{worker="agent"} 1' in body
    for foreign in ("X-Forwarded-For: 127.0.0.1\r\n", "Forwarded: for=127.0.0.1\r\n"):
        assert ask(front, get("/metrics", foreign))[0] == 401
    assert ask(front, get("/metrics", host="evil.example"))[0] == 401


def test_http_is_told_to_retry_while_web_is_away(front: FrontProcess):
    status, head, _ = ask(front, get("/"))
    assert status == 503
    assert b"Retry-After: 1" in head


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_web_worker_learns_who_is_there(front: FrontProcess, backend: Backend, host: str):
    status, _, body = ask(
        front, get("/chat?x=1", "X-Mine: a b\r\nConnection: keep-alive\r\n"), host
    )
    assert (status, json.loads(body)["peer"]) == (200, host)
    seen = backend.seen[-1]
    assert seen.head.startswith(b"GET /chat?x=1 HTTP/1.1\r\n")
    assert seen.header("connection") == ["close"]
    assert seen.header("x-mine") == ["a b"]
    assert seen.own == (host, front.port)


def test_a_big_body_passes_both_ways(front: FrontProcess, backend: Backend):
    size = 5_000_000

    def big(connection: Connection) -> None:
        connection.read_body()
        connection.answer(bytes(connection.seen.body))

    backend.behave = big
    body = bytes(range(256)) * (size // 256)
    with Wire(front.port) as wire:
        wire.send_bytes(get("/up", f"Content-Length: {len(body)}\r\n", "POST"))
        wire.send_bytes(body)
        assert wire.read_all().partition(b"\r\n\r\n")[2] == body


def test_chunks_pass_as_they_are(front: FrontProcess, backend: Backend):
    chunks = b"5\r\nhello\r\n3\r\n, y\r\n0\r\n\r\n"
    request = get("/up", "Transfer-Encoding: chunked\r\n", "POST")
    assert json.loads(ask(front, request + chunks)[2])["body_bytes"] == len(chunks)
    assert backend.seen[-1].body == chunks


def test_a_worker_that_reads_slowly_holds_its_client_back(front: FrontProcess, backend: Backend):
    def stalled(connection: Connection) -> None:
        wait_until(lambda: is_full)
        connection.read_body()
        connection.answer(b"done")

    is_full: list[bool] = []
    backend.behave = stalled
    before = front.resident_bytes()
    with Wire(front.port) as wire:
        wire.send_bytes(get("/up", "Content-Length: 60000000\r\n", "POST"))
        wire.socket.settimeout(0.5)
        sent = fill(wire.socket, 60_000_000)
        assert sent < 30_000_000, "the front took it all"
        assert front.resident_bytes() - before < 8_000_000
        is_full.append(True)
        wire.socket.settimeout(20)
        wire.send_bytes(bytes(60_000_000 - sent))
        assert wire.read_all().endswith(b"done")


def fill(sock: socket.socket, most: int) -> int:
    """Sends until nothing is taken for the socket's timeout; bytes sent."""
    sent, piece = 0, bytes(65_536)
    while sent < most:
        try:
            sent += sock.send(piece[: most - sent])
        except TimeoutError:
            break
    return sent


def test_a_client_that_reads_slowly_holds_its_worker_back(front: FrontProcess, backend: Backend):
    size = 40_000_000
    backend.behave = lambda connection: connection.answer(bytes(size))
    before = front.resident_bytes()
    with Wire(front.port) as wire:
        wire.send_bytes(get("/down"))
        head = wire.read_head()
        assert b"200 OK" in head
        assert ask(front, get("/healthz"))[0] == 200
        assert front.resident_bytes() - before < 8_000_000
        assert len(wire.read_all()) == size


def test_a_worker_that_dies_in_its_answer_ends_the_connection(
    front: FrontProcess, backend: Backend
):
    backend.behave = lambda connection: connection.answer(b"half", announced=1000)
    status, _, body = ask(front, get("/"))
    assert (status, body) == (200, b"half")


def test_a_worker_that_dies_before_its_answer_is_a_503(front: FrontProcess, backend: Backend):
    backend.behave = lambda connection: None
    assert ask(front, get("/"))[0] == 503


def test_the_worker_learns_that_its_client_left(front: FrontProcess, backend: Backend):
    def wait(connection: Connection) -> None:
        while connection.more():
            pass
        connection.seen.ended.set()

    backend.behave = wait
    with Wire(front.port) as wire:
        wire.send_bytes(get("/", "Content-Length: 100\r\n", "POST") + b"x")
        wait_until(lambda: backend.seen)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert backend.seen[-1].ended.wait(5)


def test_a_client_that_closed_its_side_still_gets_its_answer(front: FrontProcess, backend: Backend):
    with Wire(front.port) as wire:
        wire.send_bytes(get("/"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert b"200 OK" in wire.read_all()


def test_only_the_first_request_of_a_connection_reaches_the_worker(
    front: FrontProcess, backend: Backend
):
    smuggled = get("/admin", host="evil.example")
    assert json.loads(ask(front, get("/") + smuggled)[2])["body_bytes"] == 0
    posted = get("/", "Content-Length: 3\r\n", "POST") + b"abc" + smuggled
    assert json.loads(ask(front, posted)[2])["body_bytes"] == 3
    assert [seen.head.split(b" ")[1] for seen in backend.seen] == [b"/", b"/"]
    assert all(b"admin" not in seen.body for seen in backend.seen)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (get("/", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "POST"), 400),
        (get("/", "Content-Length: 3\r\nContent-Length: 4\r\n", "POST"), 400),
        (get("/", "Content-Length: +3\r\n", "POST"), 400),
        (get("/", "Content-Length : 3\r\n", "POST"), 400),
        (get("/", "X-A: 1\r\n folded: 2\r\n"), 400),
        (get("/", "X-A: 1\nX-B: 2\r\n"), 400),
        (get("http://localhost/chat"), 400),
        (get("localhost:80", method="CONNECT"), 400),
        (get("/", host="evil.example"), 421),
        (get("/", host="localhost."), 421),
        (get("/", host="[::1]evil.example"), 421),
        (get("/", host="127.0.0.1@evil.example"), 421),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (get("/", "X-Long: " + "x" * 20_000 + "\r\n"), 431),
    ],
)
def test_requests_that_could_be_understood_twice_never_reach_the_worker(
    front: FrontProcess, backend: Backend, request_bytes: bytes, status: int
):
    assert ask(front, request_bytes)[0] == status
    assert backend.seen == []


def test_other_upgrades_reach_the_worker_as_plain_requests(front: FrontProcess, backend: Backend):
    assert ask(front, get("/", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"))[0] == 200
    assert backend.seen[-1].header("upgrade") == []


@pytest.mark.parametrize("change", ["POST", "body", "version", "key"])
def test_an_upgrade_that_is_none_is_refused(front: FrontProcess, backend: Backend, change: str):
    request = UPGRADE.format(host="localhost", extra="")
    if change == "POST":
        request = request.replace("GET", "POST")
    elif change == "body":
        request = UPGRADE.format(host="localhost", extra="Content-Length: 5\r\n") + "hello"
    elif change == "version":
        request = request.replace("Version: 13", "Version: 7")
    else:
        request = request.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")
    status, _, _ = ask(front, request.encode())
    assert 400 <= status < 500
    assert backend.seen == []


def test_an_answer_comes_to_many_at_a_time(front: FrontProcess, backend: Backend):
    wires = [Wire(front.port) for _ in range(100)]
    for number, wire in enumerate(wires):
        wire.send_bytes(get(f"/{number}"))
    for wire in wires:
        assert b"200 OK" in wire.read_all()
        wire.close()
    wait_until(lambda: front.metric('gatewayd_connections{state="before_authentication"}') <= 1)
