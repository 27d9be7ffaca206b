"""Who is there: one row per client or machine, with an expiry and a cap. Pure.

Rules of the reference's section 5, with two differences: rows of connected clients do not
expire, and a disconnect never revives a row that has gone.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gatewayd.protocol.connect import ConnectParams

TTL_S = 300.0
MAX_ROWS = 200
LONGEST_CHARS = 256
"""Of one text in a row: every client gets every row, so rows stay small."""
MOST_NAMES = 64
"""Roles or scopes in a row; they gather from every connection of a machine."""
LARGEST_INTEGER = 2**53 - 1
"""Beyond it clients that count in doubles lose digits."""
# Each repetition is bounded by a character it cannot match, so that no text takes long.
TEXT_FORM = re.compile(
    r"Node:(?P<host>[^(·]+)(?:\((?P<ip>[^)·]*)\)\s*)?·(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
REST_FIELDS = (
    ("version", re.compile(r"app\s+(\S+)", re.IGNORECASE)),
    ("mode", re.compile(r"mode\s+(\S+)", re.IGNORECASE)),
    ("reason", re.compile(r"reason\s+(\S+)", re.IGNORECASE)),
)
LAST_INPUT = re.compile(r"last input\s+(\d+)s", re.IGNORECASE)
TEXT_FIELDS = (
    "host", "ip", "version", "platform", "deviceFamily", "modelIdentifier", "mode", "reason",
    "deviceId", "instanceId",
)  # fmt: skip
LIST_FIELDS = ("roles", "scopes")

_encode = msgspec.json.Encoder().encode


@dataclass
class Row:
    """One entry as it goes on the wire, and what keeps it alive."""

    entry: dict[str, Any]
    touched_at: float
    connections: set[str] = field(default_factory=set)


class Presence:
    """The presence list and its version."""

    def __init__(self, own: dict[str, Any], now_ms: int) -> None:
        """`own` is the gateway's row: it is always there."""
        self.version = 1
        self._own = own
        self._rows: dict[str, Row] = {}
        self._encoded: tuple[int, int, bytes] | None = None
        self._touch_own(now_ms)

    def connected(self, connection_id: str, params: ConnectParams, where: str | None,
                  now: float, now_ms: int, scopes: tuple[str, ...]) -> None:  # fmt: skip
        """Adds the row of a client that came in; programs of mode `cli` are not tracked."""
        client = params.client
        if client.mode == "cli":
            return
        device_id = params.device.id if params.device is not None else None
        key = _key(device_id or client.instance_id or connection_id)
        fields: dict[str, Any] = {
            "host": client.display_name or client.id,
            "ip": where,
            "version": client.version,
            "platform": client.platform,
            "deviceFamily": client.device_family,
            "modelIdentifier": client.model_identifier,
            "mode": client.mode,
            "roles": [params.role],
            "scopes": list(scopes),
            "deviceId": device_id,
            "instanceId": device_id or client.instance_id,
            "reason": "connect",
        }
        self._merge(key, fields, now, now_ms)
        self._rows[key].connections.add(connection_id)
        self.version += 1

    def disconnected(self, connection_id: str, known_as: str | None, mode: str,
                     now: float, now_ms: int) -> bool:  # fmt: skip
        """Marks the row of a client that left; tells whether others should hear of it.

        `known_as` is its device id, else its instance id.
        """
        if mode == "cli":
            return False
        row = self._rows.get(_key(known_as or connection_id))
        self.version += 1
        if row is None:
            return True
        row.connections.discard(connection_id)
        if not row.connections:
            row.entry["reason"] = "disconnect"
            row.entry["text"] = _text(row.entry)
            row.entry["ts"] = now_ms
            row.touched_at = now
        return True

    def note(self, text: str, given: dict[str, Any], now: float, now_ms: int) -> None:
        """Takes a `system-event`: structured members first, then what the text says."""
        fields: dict[str, Any] = parse_text(text)
        fields.update({n: given[n] for n in TEXT_FIELDS if isinstance(given.get(n), str)})
        for name in LIST_FIELDS:
            value = given.get(name)
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                fields[name] = value
        seconds = given.get("lastInputSeconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            fields["lastInputSeconds"] = _bounded(seconds)
        names = ("deviceId", "instanceId", "host", "ip")
        key = next((fields[name] for name in names if fields.get(name)), text[:64])
        self._merge(_key(key), fields, now, now_ms, text)
        self.version += 1

    def encoded(self, now: float, now_ms: int) -> bytes:
        """The list as JSON, newest first; remembered for as long as it holds."""
        second = now_ms // 1000
        if self._encoded is None or self._encoded[:2] != (self.version, second):
            self._prune(now)
            self._touch_own(now_ms)
            rows = [self._own, *(row.entry for row in self._rows.values())]
            rows.sort(key=lambda entry: -entry["ts"])
            self._encoded = (self.version, second, _encode(rows))
        return self._encoded[2]

    def _merge(self, key: str, fields: dict[str, Any], now: float, now_ms: int,
               text: str | None = None) -> None:  # fmt: skip
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row({}, now)
            self._cap(key)
        for name, value in fields.items():
            if value is None:
                continue
            if name in LIST_FIELDS:
                known = dict.fromkeys([*row.entry.get(name, ()), *map(_short, value)])
                row.entry[name] = list(known)[:MOST_NAMES]
            else:
                row.entry[name] = _short(value) if isinstance(value, str) else value
        row.entry["text"] = _short(text or _text(row.entry))
        row.entry["ts"] = now_ms
        row.touched_at = now

    def _prune(self, now: float) -> None:
        for key in [
            key
            for key, row in self._rows.items()
            if not row.connections and now - row.touched_at > TTL_S
        ]:
            del self._rows[key]

    def _cap(self, key: str) -> None:
        if len(self._rows) > MAX_ROWS - 1:
            oldest = min(self._rows, key=lambda name: (name == key, self._rows[name].touched_at))
            del self._rows[oldest]

    def _touch_own(self, now_ms: int) -> None:
        self._own["ts"] = now_ms


def parse_text(text: str) -> dict[str, Any]:
    """What `Node: <host> (<ip>) · app <version> · …` says; nothing for other texts."""
    match = TEXT_FORM.fullmatch(text.strip())
    if match is None:
        return {}
    fields: dict[str, Any] = {"host": match["host"].strip()} if match["host"].strip() else {}
    if match["ip"]:
        fields["ip"] = match["ip"].strip()
    for name, pattern in REST_FIELDS:
        found = pattern.search(match["rest"])
        if found:
            fields[name] = found[1]
    found = LAST_INPUT.search(match["rest"])
    if found:
        fields["lastInputSeconds"] = _bounded(int(found[1][:18]))
    return fields


def _short(text: str) -> str:
    return text[:LONGEST_CHARS]


def _bounded(number: float) -> int:
    return int(max(-LARGEST_INTEGER, min(LARGEST_INTEGER, number)))


def _key(text: str) -> str:
    return _short(text.strip().lower())


def _text(entry: dict[str, Any]) -> str:
    where = f" ({entry['ip']})" if entry.get("ip") else ""
    version = f" · app {entry['version']}" if entry.get("version") else ""
    reason = f" · reason {entry['reason']}" if entry.get("reason") else ""
    host, mode = entry.get("host", "unknown"), entry.get("mode", "unknown")
    return f"Node: {host}{where}{version} · mode {mode}{reason}"
