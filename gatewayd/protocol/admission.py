"""How many strangers may be inside at a time: connections that have proved nothing yet. Pure.

A connection that has said nothing costs a descriptor and no place; when there are too many, the
one silent for longest goes, so that a flood of silent sockets shuts nobody out. The first byte
asks for one of few places; beyond them connections wait unread, first come, first served.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

MAX_ACTIVE = 256
"""Connections being read before authentication."""
MAX_WAITING = 4096
"""Connections that spoke and wait for a place; more are closed at once."""
MAX_SILENT = 8192
"""Connections that said nothing yet."""
DEADLINE_S = 10.0
"""From the accepted socket, and again from its admission, to the end of the handshake."""
CROWDED_DEADLINE_S = 3.0
"""While others wait: for the whole handshake."""


class Admission(Generic[T]):
    """Places for connections before authentication."""

    def __init__(self) -> None:
        self._silent: OrderedDict[T, float] = OrderedDict()
        self._active: OrderedDict[T, float] = OrderedDict()
        self._waiting: OrderedDict[T, None] = OrderedDict()

    def arrive(self, connection: T, now: float) -> T | None:
        """Takes an accepted connection; returns one to close in its stead, if it is too many."""
        self._silent[connection] = now
        if len(self._silent) <= MAX_SILENT:
            return None
        return self._silent.popitem(last=False)[0]

    def speak(self, connection: T, now: float) -> bool | None:
        """Its first byte has come. True: read on. False: wait for `next_admitted`. None: close."""
        if self._silent.pop(connection, None) is None:
            return True
        if len(self._active) < MAX_ACTIVE:
            self._active[connection] = now
            return True
        if len(self._waiting) >= MAX_WAITING:
            return None
        self._waiting[connection] = None
        return False

    def leave(self, connection: T) -> None:
        """Its place is free: it was authenticated, handed on, or is gone. May be said twice."""
        for places in (self._active, self._silent, self._waiting):
            places.pop(connection, None)

    def next_admitted(self, now: float) -> T | None:
        """The next waiting connection for which there is a place."""
        if not self._waiting or len(self._active) >= MAX_ACTIVE:
            return None
        connection = self._waiting.popitem(last=False)[0]
        self._active[connection] = now
        return connection

    def overdue(self, now: float) -> list[T]:
        """Connections whose time is up."""
        limit_s = CROWDED_DEADLINE_S if self._waiting else DEADLINE_S
        return [*_older(self._active, now - limit_s), *_older(self._silent, now - DEADLINE_S)]

    def counts(self) -> tuple[int, int]:
        """Connections inside, silent ones included, and waiting."""
        return len(self._active) + len(self._silent), len(self._waiting)


def _older(places: OrderedDict[T, float], than: float) -> list[T]:
    """The connections that came before a time; places are ordered by it."""
    late = []
    for connection, since in places.items():
        if since > than:
            break
        late.append(connection)
    return late
