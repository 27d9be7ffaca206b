"""The PROXY protocol v2 header by which the front says who is really there. Pure."""

import ipaddress
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES = 16
"""Signature, version and command, family and protocol, length of the rest."""
LONGEST_BYTES = 1_024
"""Addresses take 36 bytes; what may follow them is not for us."""
_VERSION_2_PROXY = 0x21
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
"""TCP over IPv4, TCP over IPv6."""


class BadHeaderError(ValueError):
    """The connection does not begin with a header we accept."""


@dataclass(frozen=True)
class Header:
    """Who connected, and how many bytes the header took."""

    host: str
    port: int
    length_bytes: int


def parse(data: bytes) -> Header | None:
    """The header at the start of `data`, or None while it is incomplete.

    Raises BadHeaderError as soon as the bytes cannot become one.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise BadHeaderError("no PROXY protocol v2 signature")
    if len(data) < FIXED_BYTES:
        return None
    version_command, family, rest_bytes = struct.unpack_from("!BBH", data, len(SIGNATURE))
    address_bytes = _ADDRESS_BYTES.get(family)
    if version_command != _VERSION_2_PROXY or address_bytes is None:
        raise BadHeaderError(f"PROXY header of kind {version_command:#x} {family:#x}")
    if not 2 * address_bytes + 4 <= rest_bytes <= LONGEST_BYTES:
        raise BadHeaderError(f"PROXY header with {rest_bytes} bytes of addresses")
    if len(data) < FIXED_BYTES + rest_bytes:
        return None
    host = ipaddress.ip_address(data[FIXED_BYTES : FIXED_BYTES + address_bytes])
    (port,) = struct.unpack_from("!H", data, FIXED_BYTES + 2 * address_bytes)
    return Header(str(host), port, FIXED_BYTES + rest_bytes)
