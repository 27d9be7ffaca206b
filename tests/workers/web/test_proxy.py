"""The PROXY header: what the front writes is understood, everything else refused."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.web.proxy import SIGNATURE, BadHeaderError, Header, parse


def header(host: str, port: int, extra: bytes = b"", command: int = 0x21) -> bytes:
    """A header as the specification has it."""
    address = ipaddress.ip_address(host)
    kind = 0x21 if address.version == 6 else 0x11
    body = address.packed + address.packed + struct.pack("!HH", port, 18789) + extra
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "127.0.0.1", "::1"])
def test_the_source_is_read(host: str) -> None:
    data = header(host, 50123)
    assert parse(data + b"GET / HTTP/1.1\r\n") == Header(host, 50123, len(data))


def test_what_follows_the_addresses_is_skipped() -> None:
    data = header("192.0.2.1", 1, extra=b"\x04\x00\x03abc")
    assert parse(data) == Header("192.0.2.1", 1, len(data))


@pytest.mark.parametrize("length", range(28))
def test_a_part_of_a_header_is_waited_for(length: int) -> None:
    assert parse(header("192.0.2.1", 1)[:length]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        header("192.0.2.1", 1, command=0x20),
        header("192.0.2.1", 1, command=0x11),
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(64),
    ],
    ids=["http", "v1", "local", "version", "unspec", "udp", "unix", "short", "long"],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeaderError):
        parse(data)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    try:
        found = parse(SIGNATURE + data)
    except BadHeaderError:
        return
    assert found is None or found.length_bytes <= len(SIGNATURE + data)
