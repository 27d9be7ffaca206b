"""The few HTTP answers the front gives itself, as bytes. Pure."""

from http import HTTPStatus

import msgspec

_encode = msgspec.json.Encoder().encode
OWN_PATHS = frozenset((b"/healthz", b"/readyz", b"/metrics"))


def response(status: int, body: bytes, content_type: str, extra: str = "") -> bytes:
    """A complete answer that ends the connection."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode() + body


def json_response(status: int, value: object) -> bytes:
    """A JSON answer."""
    return response(status, _encode(value) + b"\n", "application/json")


def web_is_down() -> bytes:
    """While the web worker is away; browsers and programs retry."""
    text = b"The web worker is restarting; retry in a second.\n"
    return response(503, text, "text/plain; charset=utf-8", "Retry-After: 1\r\n")


def metrics(values: dict[str, tuple[str, str, dict[str, float]]]) -> bytes:
    """Prometheus text: metric name to (type, help, samples by label text)."""
    lines = []
    for name, (kind, text, samples) in values.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value:g}" for labels, value in samples.items()]
    body = ("\n".join(lines) + "\n").encode()
    return response(200, body, "text/plain; version=0.0.4; charset=utf-8")
