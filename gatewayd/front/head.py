"""The head of an HTTP/1.1 request: found in a buffer, checked strictly, split into its parts.

Pure: it reads no socket and no clock. It decides nothing about where a request goes; it only
refuses what two HTTP parsers could understand differently.
"""

import re
from http import HTTPStatus

import msgspec

MAX_HEAD_BYTES = 16 * 1024  # design.md "The port"; also Node's default
MAX_HEADER_COUNT = 128  # the same limit as the `websockets` package

_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(\d\.\d)")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
# What no valid head contains anywhere. `\r` counts only once the byte after it is known.
_FORBIDDEN = re.compile(rb"\x00|(?<!\r)\n|\r[^\n]")
_FIRST_BYTE = re.compile(_TOKEN[:-1])
_ONCE = (b"host", b"content-length", b"transfer-encoding")


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    """The head's end has not arrived; pass `searched_bytes` to the next scan of the buffer."""

    searched_bytes: int


class BadHead(msgspec.Struct, frozen=True, gc=False):
    """A head that is refused with an HTTP status and a reason for the sender."""

    status: int
    reason: str


class Head(msgspec.Struct, frozen=True, gc=False):
    """A valid request head; header names are in lower case, values without outer blanks."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    end: int
    """Length of the head in bytes; what follows in the buffer is the body or the next frames."""
    version: bytes = b"1.1"

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header with this lower-case name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def is_websocket_upgrade(self) -> bool:
        """Whether the request asks to become a WebSocket (RFC 6455 section 4.2.1)."""
        return self._lists(b"upgrade", b"websocket") and self._lists(b"connection", b"upgrade")

    def _lists(self, name: bytes, word: bytes) -> bool:
        for key, value in self.headers:
            if key == name:
                lowered = value.lower()
                if lowered == word or word in [part.strip() for part in lowered.split(b",")]:
                    return True
        return False


def scan(buffer: bytes, searched_bytes: int = 0) -> Incomplete | BadHead | Head:
    """Look for a request head at the start of `buffer`.

    `searched_bytes` comes from the previous Incomplete, so that a head that arrives byte by byte
    is searched once in all.
    """
    found = buffer.find(_END, searched_bytes)
    if found < 0 or found + 4 > MAX_HEAD_BYTES:
        return _unfinished(buffer, searched_bytes)
    line_end = buffer.find(b"\r\n")
    request = _REQUEST_LINE.fullmatch(buffer, 0, line_end)
    if request is None:
        return BadHead(400, f"invalid request line: {_shown(buffer[:line_end])}")
    method, target, version = request.groups()
    if version not in (b"1.1", b"1.0"):
        return BadHead(505, f"HTTP/{version.decode()} is not spoken here; use HTTP/1.1")
    pairs = _HEADER_LINE.findall(buffer, line_end + 2, found + 2)
    if sum([len(name) + len(value) + 3 for name, value in pairs]) != found - line_end:
        return BadHead(400, _name_bad_line(buffer[line_end + 2 : found]))
    headers = tuple([(name.lower(), value.strip(b" \t")) for name, value in pairs])
    head = Head(method, target, headers, found + 4, version)
    return _check_headers(head) or head


def refusal(status: int, reason: str) -> bytes:
    """A complete plain-text HTTP/1.1 answer that refuses a request and closes the connection."""
    body = f"{reason}\n".encode("utf-8", "replace")
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _unfinished(buffer: bytes, searched_bytes: int) -> Incomplete | BadHead:
    """Refuse at once what can no longer become a valid head, so that nobody waits for a timeout."""
    if buffer and not _FIRST_BYTE.match(buffer):
        return BadHead(400, "not an HTTP request (TLS is not spoken on this port)")
    # Two bytes back: a line break may lie across the border of two reads.
    if _FORBIDDEN.search(buffer, max(0, searched_bytes - 1)):
        return BadHead(400, "request head with a NUL byte or a line that does not end in CRLF")
    if len(buffer) >= MAX_HEAD_BYTES:
        return BadHead(431, f"request head over {MAX_HEAD_BYTES} bytes")
    return Incomplete(max(0, len(buffer) - 3))


def _check_headers(head: Head) -> BadHead | None:
    if len(head.headers) > MAX_HEADER_COUNT:
        return BadHead(431, f"more than {MAX_HEADER_COUNT} header lines")
    names = [name for name, _ in head.headers]
    for name in _ONCE:
        if names.count(name) > 1:
            return BadHead(400, f"header {name.decode()} given more than once")
    if b"host" not in names and head.version == b"1.1":
        return BadHead(400, "header host is missing; HTTP/1.1 requires it")
    if b"content-length" in names:
        if b"transfer-encoding" in names:
            return BadHead(400, "content-length beside transfer-encoding; send only one of them")
        length = head.header(b"content-length") or b""
        if not length.isdigit():
            return BadHead(400, f"content-length is not a number: {_shown(length)}")
    return None


def _name_bad_line(block: bytes) -> str:
    for line in block.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            return f"folded header line (obsolete since RFC 7230): {_shown(line)}"
        if not _HEADER_LINE.fullmatch(line + b"\r\n"):
            return f"invalid header line: {_shown(line)}"
    return "invalid header lines"


def _shown(line: bytes) -> str:
    """The start of a line in printable ASCII, safe to repeat to its sender and in a log."""
    return ascii(line[:80].decode("latin-1"))
