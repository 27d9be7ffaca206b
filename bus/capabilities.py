"""What each worker may do on the bus; the front enforces it. Pure.

A worker proves its name with a token derived from the profile's bus key. Method names are
granted by their first part, so that a new method of a worker's own family needs no entry here.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from bus.messages import Ready


@dataclass(frozen=True)
class Capability:
    """Rights of one worker."""

    families: frozenset[str]
    """First parts of the method names it may announce (`chat` for `chat.send`)."""
    topics: frozenset[str] = field(default_factory=frozenset)
    """Topics it may publish."""
    calls: frozenset[str] = field(default_factory=frozenset)
    """Families whose methods it may call."""
    parts: frozenset[str] = field(default_factory=frozenset)
    """Snapshot parts it may set."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CAPABILITIES = {
    "agent": Capability(
        families=_names("agent agents chat sessions cron wake last-heartbeat set-heartbeats models"
                        " skills tools usage talk tts voicewake exec"),
        topics=_names("agent chat heartbeat cron talk.mode voicewake.changed"
                      " exec.approval.requested exec.approval.resolved"),
        calls=_names("send poll channels node"),
        parts=_names("agent"),
    ),
    "channels": Capability(
        families=_names("channels send poll web"),
        topics=_names("channels"),
        calls=_names("agent chat sessions"),
        parts=_names("channels"),
    ),
    "web": Capability(
        families=_names("browser"),
        calls=_names("gateway agent chat sessions wake models tools"),
        parts=_names("web"),
    ),
    "health": Capability(
        families=_names("logs doctor update config wizard"),
        topics=_names("health system-event"),
        calls=_names("send channels agent"),
        parts=_names("health"),
    ),
}  # fmt: skip


def token(key: bytes, name: str) -> str:
    """The token with which a worker proves that it may be `name`."""
    return hmac.new(key, f"gatewayd bus {name}".encode(), hashlib.sha256).hexdigest()


def family(name: str) -> str:
    """The part of a method name up to its first dot."""
    return name.partition(".")[0]


def refusal(ready: Ready, key: bytes) -> str | None:
    """Why this announcement is not taken, or None."""
    capability = CAPABILITIES.get(ready.name)
    if capability is None:
        return f"no worker is called {ready.name[:40]!r}"
    if not hmac.compare_digest(ready.token.encode(), token(key, ready.name).encode()):
        return "wrong bus token"
    return _excess((method.name for method in ready.methods), capability)


def _excess(methods: Iterable[str], capability: Capability) -> str | None:
    beyond = sorted(name for name in methods if family(name) not in capability.families)
    return f"may not serve {', '.join(beyond[:8])}"[:240] if beyond else None
