"""Who has been heard from, how lately, and what may be said about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from bus.messages import Ready

BEAT_S = 1.0
"""A worker announces itself this often."""
SILENT_AFTER_S = 3.5
"""Three missed beats: it gets no new calls."""
LOST_AFTER_S = 10.0
"""Its open calls are given up: whoever waits is told."""


class State(StrEnum):
    """What a worker is, judged by what was heard from it."""

    STARTING = "starting"
    """Never heard from since this process started."""
    READY = "ready"
    DRAINING = "draining"
    SILENT = "silent"
    """Announced, but not heard from lately."""
    DOWN = "down"
    """Gone: said goodbye, unreachable, or silent for too long."""


@dataclass
class Peer:
    """The newest process of one name."""

    identity: bytes
    ready: Ready
    heard_at: float
    is_down: bool = False


class Liveness:
    """The workers by name: the newest announcement wins, silence is counted."""

    def __init__(self, expected: tuple[str, ...]) -> None:
        self.expected = expected
        self._peers: dict[str, Peer] = {}

    def announce(self, identity: bytes, ready: Ready, now: float) -> bytes | None:
        """Takes a heartbeat; returns the identity of an older process it replaces."""
        known = self._peers.get(ready.name)
        if known is not None and known.identity == identity:
            known.ready, known.heard_at, known.is_down = ready, now, False
            return None
        if known is not None and not known.is_down and _is_older(ready, known.ready):
            return identity
        self._peers[ready.name] = Peer(identity, ready, now)
        return known.identity if known is not None else None

    def gone(self, identity: bytes) -> str | None:
        """Marks the process down (goodbye, or unreachable); returns its name."""
        for name, peer in self._peers.items():
            if peer.identity == identity and not peer.is_down:
                peer.is_down = True
                return name
        return None

    def lose_silent(self, now: float) -> list[bytes]:
        """Marks down, and returns, those not heard from for too long."""
        lost = [
            peer
            for peer in self._peers.values()
            if not peer.is_down and now - peer.heard_at > LOST_AFTER_S
        ]
        for peer in lost:
            peer.is_down = True
        return [peer.identity for peer in lost]

    def state(self, name: str, now: float) -> State:
        """What may be said about `name`; never `ready` on old evidence."""
        peer = self._peers.get(name)
        if peer is None:
            return State.STARTING
        if peer.is_down:
            return State.DOWN
        if now - peer.heard_at > SILENT_AFTER_S:
            return State.SILENT
        return State.DRAINING if peer.ready.is_draining else State.READY

    def peer(self, name: str) -> Peer | None:
        """The newest process of that name, whatever its state."""
        return self._peers.get(name)

    def names(self) -> tuple[str, ...]:
        """Expected workers first, then others that announced themselves."""
        extra = tuple(name for name in self._peers if name not in self.expected)
        return self.expected + extra

    def troubles(self, now: float) -> list[str]:
        """One sentence per expected worker that cannot serve, empty when all can."""
        return [
            f"worker {name} is {state.value}"
            for name in self.expected
            if (state := self.state(name, now)) is not State.READY
        ]


def _is_older(ready: Ready, known: Ready) -> bool:
    return (ready.started_ms, ready.pid) < (known.started_ms, known.pid)
