"""The life of a front process: goodbye to its clients, crowds at its door."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.front import FrontProcess, Process, running
from tests.kit.waiting import wait_until
from tests.kit.wire import UPGRADE, Wire

pytestmark = pytest.mark.processes
FLOOD_COUNT = 2000


@pytest.fixture
def lone() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def test_every_client_hears_shutdown_before_it_is_closed(lone: FrontProcess):
    wires = [lone.connect() for _ in range(50)]
    stranger = Wire.upgraded(lone.port)
    started = time.monotonic()
    lone.signal(signal.SIGTERM)
    for wire in wires:
        told = wire.event("shutdown")
        assert told["payload"] == {"reason": "gateway stopping", "restartExpectedMs": None}
        closed = wire.closed()
        assert (closed.code, closed.reason) == (1012, "service restart")
        wire.close()
    assert lone.popen.wait(5) == 0
    assert time.monotonic() - started < 2.5
    stranger.close()


def silent_sockets(front: FrontProcess, count: int, first: bytes = b"") -> list[socket.socket]:
    """Connections that say `first` and nothing more."""
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", front.port), timeout=10)
        if first:
            sock.sendall(first)
        sockets.append(sock)
    return sockets


def worst_ms(wire: Wire, count: int) -> float:
    """The 99th percentile of `count` answers."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        wire.call("health")
        taken.append((time.perf_counter() - started) * 1000)
    return sorted(taken)[int(count * 0.99)]


UPGRADED = UPGRADE.format(host="localhost", extra="").encode()


@pytest.mark.parametrize("first", [b"", UPGRADED])
def test_a_flood_of_strangers_shuts_nobody_out(lone: FrontProcess, first: bytes):
    with lone.connect() as known:
        sockets = silent_sockets(lone, FLOOD_COUNT if not first else 400, first)
        try:
            started = time.monotonic()
            with lone.connect() as newcomer:
                assert newcomer.call("health")["ok"]
            assert time.monotonic() - started < (3 if not first else 9)
            assert worst_ms(known, 300) < 100
        finally:
            for sock in sockets:
                sock.close()
    wait_until(lambda: lone.metric('gatewayd_connections{state="before_authentication"}') <= 1)
    assert lone.metric('gatewayd_connections{state="waiting"}') == 0


def test_strangers_who_say_nothing_are_closed_after_ten_seconds(lone: FrontProcess):
    started = time.monotonic()
    with Wire(lone.port) as mute, Wire.upgraded(lone.port) as half, Wire(lone.port) as slow:
        slow.send_bytes(b"GET / HTTP/1.1\r\nHost: loc")
        half.receive()
        for wire in (mute, half, slow):
            wire.socket.settimeout(12)
        assert half.closed().code == 1000
        assert mute.read_all() == b""
        assert slow.read_all().startswith(b"HTTP/1.1 408 ")
    assert 9.5 < time.monotonic() - started < 12


def test_a_front_without_sockets_or_secret_says_what_to_do(tmp_path: Path):
    (tmp_path / "gatewayd.json").write_text("{}")
    process = Process([sys.executable, "-m", "gatewayd.front"], tmp_path)
    assert process.popen.wait(10) == 78
    process.end()
    assert "gateway.auth.token" in process.lines[-1]
