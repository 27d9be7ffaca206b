"""How many strangers may be inside at a time: connections that have proved nothing yet. Pure.

A crowd of honest clients is served as fast as handshakes go: those beyond the budget wait
unread. A flood of silent sockets is thinned out: when others wait, silence is not tolerated for
long.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

MAX_ACTIVE = 256
"""Connections being read before authentication."""
MAX_WAITING = 4096
"""Accepted connections left unread until a place is free; more are closed at once."""
DEADLINE_S = 10.0
"""From the accepted socket (or its admission) to the end of the handshake."""
CROWDED_SILENT_S = 0.5
"""While others wait: for the first byte."""
CROWDED_DEADLINE_S = 3.0
"""While others wait: for the whole handshake."""


class Admission(Generic[T]):
    """Places for connections before authentication."""

    def __init__(self) -> None:
        self._active: OrderedDict[T, float] = OrderedDict()
        self._spoke: set[T] = set()
        self._waiting: deque[T] = deque()
        self._left: set[T] = set()

    def arrive(self, connection: T, now: float) -> bool | None:
        """True: read it. False: leave it unread until `next_admitted` names it. None: close it."""
        if len(self._active) < MAX_ACTIVE:
            self._active[connection] = now
            return True
        if len(self._waiting) - len(self._left) >= MAX_WAITING:
            return None
        self._waiting.append(connection)
        return False

    def spoke(self, connection: T) -> None:
        """Its first byte has come."""
        self._spoke.add(connection)

    def leave(self, connection: T) -> None:
        """Its place is free: it was authenticated, handed on, or is gone. May be said twice."""
        if self._active.pop(connection, None) is not None:
            self._spoke.discard(connection)
        elif connection in self._waiting:
            self._left.add(connection)

    def next_admitted(self, now: float) -> T | None:
        """The next waiting connection for which there is a place."""
        while self._waiting and len(self._active) < MAX_ACTIVE:
            connection = self._waiting.popleft()
            if connection in self._left:
                self._left.discard(connection)
                continue
            self._active[connection] = now
            return connection
        return None

    def overdue(self, now: float) -> list[T]:
        """Connections whose time is up, oldest first."""
        is_crowded = len(self._waiting) > len(self._left)
        late = []
        for connection, since in self._active.items():
            age = now - since
            if age < CROWDED_SILENT_S:
                break
            if age >= DEADLINE_S or (is_crowded and age >= self._crowded_limit(connection)):
                late.append(connection)
        return late

    def counts(self) -> tuple[int, int]:
        """Connections being read, and waiting."""
        return len(self._active), len(self._waiting) - len(self._left)

    def _crowded_limit(self, connection: T) -> float:
        return CROWDED_DEADLINE_S if connection in self._spoke else CROWDED_SILENT_S
