"""What the front answers about the whole gateway, from parts the workers push. Pure.

The parts are decoded once when they come, a few times a second at most; answers are joined from
encoded members, so that asking for `health` costs no encoding.
"""

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class Part(msgspec.Struct, frozen=True):
    """A worker's part: members of `health`, of `status`, and the session defaults."""

    health: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    status: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    session_defaults: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="sessionDefaults")
    problems: tuple[dict[str, Any], ...] = ()


_decode = msgspec.json.Decoder(Part).decode

# What holds until the owner of a member has spoken; clients decode these members strictly.
HEALTH_DEFAULTS: dict[str, Any] = {
    "channels": {}, "channelOrder": [], "channelLabels": {}, "heartbeatSeconds": 0,
    "defaultAgentId": "main", "agents": [], "sessions": {"path": "", "count": 0, "recent": []},
}  # fmt: skip
STATUS_DEFAULTS: dict[str, Any] = {
    "heartbeat": {"defaultAgentId": "main", "agents": []},
    "channelSummary": [],
    "queuedSystemEvents": [],
    "sessions": {"paths": [], "count": 0, "defaults": {}, "recent": [], "byAgent": []},
}
OWN_MEMBERS = frozenset(("ok", "ts", "durationMs", "problems", "gateway", "processes"))
"""What the front alone says: no worker vouches for the others."""
SESSION_DEFAULTS = b'{"defaultAgentId":"main","mainKey":"main","mainSessionKey":"agent:main:main","scope":"per-sender"}'  # noqa: E501


class Snapshots:
    """The parts by name, and the members of the answers joined from them."""

    def __init__(self) -> None:
        self.version = 1
        """State version of `health`: how often everyone was told."""
        self.revision = 0
        """How often a part changed."""
        self._parts: dict[str, Part] = {}
        self._health = members(HEALTH_DEFAULTS)
        self._status = members(STATUS_DEFAULTS)
        self.session_defaults = SESSION_DEFAULTS

    def put(self, name: str, body: bytes) -> bool:
        """Takes a part; False if the bytes are none."""
        try:
            body.decode()
            part = _decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return False
        self._parts[name] = part
        health: dict[str, Any] = dict(HEALTH_DEFAULTS)
        status: dict[str, Any] = dict(STATUS_DEFAULTS)
        for known in self._parts.values():
            health.update({n: v for n, v in known.health.items() if n not in OWN_MEMBERS})
            status.update({n: v for n, v in known.status.items() if n not in OWN_MEMBERS})
            self.session_defaults = bytes(known.session_defaults) or self.session_defaults
        self._health, self._status = members(health), members(status)
        self.revision += 1
        return True

    def problems(self) -> list[str]:
        """What the workers report to be wrong, as sentences."""
        return [
            str(problem.get("text", problem.get("id", "unknown problem")))
            for part in self._parts.values()
            for problem in part.problems
        ]

    def health(self, own: dict[str, Any]) -> bytes:
        """The `health` answer: `own` members of the front, then the workers'."""
        return b"{%b,%b}" % (members(own), self._health)

    def status(self, own: dict[str, Any]) -> bytes:
        """The `status` answer."""
        return b"{%b,%b}" % (members(own), self._status)


def members(value: dict[str, Any]) -> bytes:
    """The members of an object without its braces."""
    return _encode(value)[1:-1]
