"""The request head scanner: what it finds, what it refuses, and that cuts do not matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.front.head import (
    MAX_HEAD_BYTES,
    MAX_HEADER_COUNT,
    BadHead,
    Head,
    Incomplete,
    refusal,
    scan,
)

PLAIN = b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost:18789\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


def found(buffer: bytes) -> Head:
    head = scan(buffer)
    assert isinstance(head, Head), head
    return head


def refused(buffer: bytes) -> BadHead:
    head = scan(buffer)
    assert isinstance(head, BadHead), head
    return head


def with_headers(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def test_a_head_is_split_and_what_follows_is_left_alone() -> None:
    head = found(PLAIN.replace(b"x\r\n", b"x\r\nX-Two: \t a b \r\nEmpty:\r\n") + b"body")
    assert (head.method, head.target, head.version) == (b"GET", b"/a?b=1", b"1.1")
    assert head.headers == ((b"host", b"x"), (b"x-two", b"a b"), (b"empty", b""))
    assert head.end == len(PLAIN) + len(b"X-Two: \t a b \r\nEmpty:\r\n")
    assert head.header(b"x-two") == b"a b"
    assert head.header(b"absent") is None


def test_a_websocket_upgrade_is_recognised_in_any_case() -> None:
    assert found(UPGRADE).is_websocket_upgrade


@pytest.mark.parametrize(
    "change",
    [
        (b"Upgrade: WebSocket\r\n", b""),
        (b"Connection: keep-alive, Upgrade\r\n", b""),
        (b"Upgrade: WebSocket", b"Upgrade: h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
    ],
)
def test_half_an_upgrade_is_plain_http(change: tuple[bytes, bytes]) -> None:
    assert not found(UPGRADE.replace(*change)).is_websocket_upgrade


def test_connection_options_may_be_spread_over_lines() -> None:
    spread = UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive\r\nConnection: upgrade")
    assert found(spread).is_websocket_upgrade


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((b"Host: a", b"Host: b"), "host given more than once"),
        ((b"Host: a", b"Content-Length: 1", b"content-length: 1"), "content-length given more"),
        (
            (b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            "transfer-encoding given more",
        ),
        ((b"Host: a", b"Content-Length: 1", b"Transfer-Encoding: chunked"), "only one of them"),
        ((b"Host: a", b"Content-Length: +1"), "not a number"),
        ((b"Host: a", b"Content-Length:"), "not a number"),
        ((b"X: a",), "host is missing"),
        ((b"Host: a", b"X: 1", b" folded"), "folded"),
        ((b"Host: a", b"X : 1"), "invalid header line: 'X : 1'"),
        ((b"Host: a", b": 1"), "invalid header line"),
        ((b"Host: a", b"no colon"), "invalid header line"),
        ((b"Host: a", b"X\xe9: 1"), "invalid header line"),
        ((b"Host: a", b"X: a\x00b"), "invalid header line"),
        ((b"Host: a", b"X: a\nY: b"), "invalid header line"),
        ((b"Host: a", b"X: a\rY: b"), "invalid header line"),
        ((b"Host: a", b"X: \x7f"), "invalid header line"),
    ],
)
def test_ambiguous_headers_are_refused(lines: tuple[bytes, ...], reason: str) -> None:
    bad = refused(with_headers(*lines))
    assert bad.status == 400
    assert reason in bad.reason


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET /",
        b"GET /\tx HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"GET / http/1.1",
        b"\r\nGET / HTTP/1.1",
    ],
)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    assert refused(line + b"\r\nHost: x\r\n\r\n").status == 400


def test_other_versions_are_refused_and_1_0_needs_no_host() -> None:
    assert refused(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n").status == 505
    assert found(b"GET / HTTP/1.0\r\n\r\n").version == b"1.0"


def test_the_size_of_a_head_is_capped_to_the_byte() -> None:
    filler = MAX_HEAD_BYTES - len(with_headers(b"Host: a", b"X: "))
    assert found(with_headers(b"Host: a", b"X: " + b"a" * filler)).end == MAX_HEAD_BYTES
    assert refused(with_headers(b"Host: a", b"X: " + b"a" * (filler + 1))).status == 431
    assert isinstance(scan(b"GET /" + b"a" * (MAX_HEAD_BYTES - 6)), Incomplete)
    assert refused(b"GET /" + b"a" * (MAX_HEAD_BYTES - 5)).status == 431


def test_the_number_of_header_lines_is_capped() -> None:
    lines = [b"X: 1"] * (MAX_HEADER_COUNT - 1)
    assert len(found(with_headers(b"Host: a", *lines)).headers) == MAX_HEADER_COUNT
    assert refused(with_headers(b"Host: a", *lines, b"X: 1")).status == 431


@pytest.mark.parametrize(
    "start",
    [b"\x16\x03\x01\x02", b"\r\n", b"GET / HTTP/1.1\nHost: x", b"GET /\x00", b"GET / HTTP/1.1\rH"],
)
def test_what_cannot_become_a_head_is_refused_before_its_end(start: bytes) -> None:
    assert refused(start).status == 400


@given(
    head=st.sampled_from(
        [
            PLAIN,
            UPGRADE,
            PLAIN + b"\x00\n body",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
            with_headers(b"Host: a", b"X: 1", b" folded"),
        ]
    ),
    cuts=st.lists(st.integers(1, 30), min_size=1),
)
def test_a_head_that_arrives_in_pieces_is_the_same_head(head: bytes, cuts: list[int]) -> None:
    buffer, searched, sizes = b"", 0, list(cuts)
    answer: Incomplete | BadHead | Head = Incomplete(0)
    while isinstance(answer, Incomplete) and len(buffer) < len(head):
        size = sizes.pop() if sizes else 1
        buffer += head[len(buffer) : len(buffer) + size]
        answer = scan(buffer, searched)
        searched = answer.searched_bytes if isinstance(answer, Incomplete) else 0
    whole = scan(head)
    if isinstance(whole, BadHead):
        assert isinstance(answer, BadHead)
        assert answer.status == whole.status
    else:
        assert answer == whole


def test_a_refusal_is_a_complete_answer_that_closes() -> None:
    answer = refusal(431, "too long")
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\nContent-Length: 9\r\n\r\ntoo long\n")
