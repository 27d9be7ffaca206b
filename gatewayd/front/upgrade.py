"""The answer to the usual WebSocket upgrade request, without the library's whole parser. Pure.

The request head was parsed strictly already (`head.py`). What is not exactly the usual request
is left to `ServerProtocol`, which knows every odd case and its error.
"""

import base64
import hashlib
import re

from gatewayd.front.head import Head

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_WANTED = frozenset((b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version"))
_FOREIGN = frozenset((b"content-length", b"transfer-encoding", b"expect"))


def usual_answer(head: Head) -> bytes | None:
    """The 101 response, or None when the request is not the usual one."""
    if head.method != b"GET" or head.version != b"1.1":
        return None
    found: dict[bytes, bytes] = {}
    for name, value in head.headers:
        if name in _WANTED:
            if name in found:
                return None
            found[name] = value
        elif name in _FOREIGN:
            return None
    key = found.get(b"sec-websocket-key", b"")
    if found.get(b"sec-websocket-version") != b"13" or not _KEY.fullmatch(key):
        return None
    if found.get(b"upgrade", b"").lower() != b"websocket":
        return None
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n"
    ) % accept
