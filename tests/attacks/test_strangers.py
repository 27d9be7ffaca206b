"""Attacks on the port by peers that have proved nothing: pages of others, guesses, big frames."""

import json
from collections.abc import Iterator

import pytest

from tests.kit.front import TOKEN, FrontProcess, running
from tests.kit.waiting import wait_until
from tests.kit.wire import UPGRADE, ClosedError, Wire, connect_request, frame

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def front() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def upgrade(front: FrontProcess, extra: str, host: str | None = None) -> bytes:
    with Wire(front.port) as wire:
        name = host or f"localhost:{front.port}"
        wire.send_bytes(UPGRADE.format(host=name, extra=extra).encode("latin-1"))
        return wire.read_head()


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost.evil", "http://127.0.0.1:1",
     "http://localhost", ""],
)  # fmt: skip
@pytest.mark.parametrize(
    "headers", ["", "Cookie: session=1\r\n", "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: ::1\r\n",
                "Tailscale-User-Login: me@example\r\n"],
)  # fmt: skip
def test_pages_of_others_are_refused_before_the_upgrade(
    front: FrontProcess, origin: str, headers: str
):
    answer = upgrade(front, f"Origin: {origin}\r\n{headers}")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"challenge" not in answer


def test_our_own_page_may_connect_but_not_under_a_rebound_name(front: FrontProcess):
    own = f"Origin: http://localhost:{front.port}\r\n"
    assert upgrade(front, own).startswith(b"HTTP/1.1 101 ")
    rebound = f"evil.example:{front.port}"
    answer = upgrade(front, f"Origin: http://{rebound}\r\n", rebound)
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_what_strangers_write_stays_one_short_line_of_log(front: FrontProcess):
    poison = "\x1b[31mignore previous\t" + "A" * 8_000
    upgrade(front, f"Origin: http://{'a' * 8_000}\r\n")
    with Wire.upgraded(front.port, extra="User-Agent: " + "u" * 4_000 + "\r\n") as wire:
        wire.send(connect_request(TOKEN, **{poison: 1}))
        assert wire.closed().code == 1008
    wait_until(lambda: "client refused" in front.events())
    for entry in front.entries():
        for value in entry.values():
            assert len(str(value)) <= 256
    assert front.faults() == []
    assert not any("\x1b" in line for line in front.lines)


def test_guesses_are_limited_whatever_is_beside_them():
    with running() as front:
        codes = []
        for number in range(25):
            with Wire.upgraded(front.port, extra=f"X-Forwarded-For: 10.0.0.{number}\r\n") as wire:
                wire.receive()
                wire.send(connect_request(f"guess {number}"))
                codes.append(wire.receive()["error"]["details"]["code"])
        assert codes == ["AUTH_TOKEN_MISMATCH"] * 10 + ["AUTH_RATE_LIMITED"] * 15


def test_secrets_are_in_no_answer_and_no_log(front: FrontProcess):
    with front.connect() as wire:
        shown = json.dumps([wire.hello, wire.call("status"), wire.call("health")])
    with Wire.upgraded(front.port) as wire:
        wire.receive()
        wire.send(connect_request("CANARY-of-a-guess", minProtocol=9, maxProtocol=9))
        wire.closed()
    shown += "".join(front.lines)
    assert TOKEN not in shown
    assert "CANARY" not in shown


@pytest.mark.parametrize(
    "flood",
    [
        frame(2, b"")[:2] + b"",
        b"\x82\xff" + (64 << 20).to_bytes(8) + bytes(4),
        b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 100_000,
        b"\x89\x80\0\0\0\0" * 100_000,
        b"\xc1\x80\0\0\0\0",
        b"\x81\x01a",
        b"\x83\x80\0\0\0\0",
    ],
    ids=["cut", "64 MiB", "fragments", "pings", "compressed", "unmasked", "reserved"],
)
def test_no_frame_of_a_stranger_takes_memory_or_time(front: FrontProcess, flood: bytes):
    before = front.resident_bytes()
    with Wire.upgraded(front.port) as wire:
        wire.receive()
        try:
            wire.send_bytes(flood)
            if len(flood) > 2:
                assert wire.closed().code in (1002, 1008, 1009, None)
        except (ConnectionError, ClosedError):
            pass
    with front.connect() as honest:
        assert honest.call("health")["ok"] is not None
    assert front.resident_bytes() - before < 16_000_000


def test_pipelined_requests_behind_connect_are_served(front: FrontProcess):
    request = b'{"type":"req","id":"%d","method":"health"}'
    with Wire.upgraded(front.port) as wire:
        wire.receive()
        first = frame(1, json.dumps(connect_request(TOKEN)).encode())
        wire.send_bytes(first + b"".join(frame(1, request % n) for n in range(2_000)))
        ids = [wire.until(lambda m: m["type"] == "res")["id"] for _ in range(2_001)]
    assert ids == ["c1", *map(str, range(2_000))]
