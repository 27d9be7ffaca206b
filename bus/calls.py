"""Calls that wait for an answer: who asked, who must answer, until when. Pure."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Calls(Generic[K, T]):
    """Open calls by the one who must answer; ids never repeat across restarts.

    `epoch` (31 bits, random at start) is the upper half of every id, so a late answer to a
    process that is gone is never taken for one of ours.
    """

    __slots__ = ("_last", "_owed")

    def __init__(self, epoch: int) -> None:
        self._last = epoch << 32
        self._owed: dict[K, dict[int, tuple[T, float | None]]] = {}

    def open(self, target: K, value: T, deadline: float | None) -> int:
        """Registers a call and returns its id; `deadline` is on the clock of `expire`."""
        self._last = call_id = self._last + 1
        owed = self._owed.get(target)
        if owed is None:
            self._owed[target] = {call_id: (value, deadline)}
        else:
            owed[call_id] = (value, deadline)
        return call_id

    def peek(self, call_id: int, target: K) -> T | None:
        """The call, if it is open and `target` is the one who must answer it."""
        owed = self._owed.get(target)
        entry = owed.get(call_id) if owed is not None else None
        return entry[0] if entry is not None else None

    def close(self, call_id: int, target: K) -> T | None:
        """Takes the call out; None if it is not open or another must answer it."""
        owed = self._owed.get(target)
        entry = owed.pop(call_id, None) if owed is not None else None
        return entry[0] if entry is not None else None

    def lose(self, target: K) -> list[T]:
        """Takes out every call that `target` will never answer."""
        return [value for value, _ in self._owed.pop(target, {}).values()]

    def expire(self, now: float) -> list[tuple[int, K, T]]:
        """Takes out every call whose deadline has passed: id, target, call."""
        late = [
            (call_id, target, value)
            for target, owed in self._owed.items()
            for call_id, (value, deadline) in owed.items()
            if deadline is not None and deadline <= now
        ]
        for call_id, target, _ in late:
            del self._owed[target][call_id]
        return late

    def count(self, target: K) -> int:
        """Calls `target` has not answered yet."""
        return len(self._owed.get(target, ()))

    def __len__(self) -> int:
        return sum(len(owed) for owed in self._owed.values())
