"""Calls that wait for an answer: who asked, who must answer, until when. Pure."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Calls(Generic[K, T]):
    """Open calls by id, by target, and by deadline; ids never repeat across restarts.

    `epoch` (31 bits, random at start) is the upper half of every id, so a late answer to a
    process that is gone is never taken for one of ours.
    """

    __slots__ = ("_by_target", "_deadlines", "_next", "_open")

    def __init__(self, epoch: int) -> None:
        self._next = epoch << 32
        self._open: dict[int, tuple[K, T]] = {}
        self._by_target: dict[K, set[int]] = {}
        self._deadlines: dict[int, float] = {}

    def open(self, target: K, value: T, deadline: float | None) -> int:
        """Registers a call and returns its id; `deadline` is on the clock of `expire`."""
        self._next += 1
        call_id = self._next
        self._open[call_id] = (target, value)
        waiting = self._by_target.get(target)
        if waiting is None:
            self._by_target[target] = {call_id}
        else:
            waiting.add(call_id)
        if deadline is not None:
            self._deadlines[call_id] = deadline
        return call_id

    def peek(self, call_id: int, target: K) -> T | None:
        """The call, if it is open and `target` is the one who must answer it."""
        entry = self._open.get(call_id)
        return entry[1] if entry is not None and entry[0] == target else None

    def close(self, call_id: int) -> T | None:
        """Takes the call out; None if it is not open."""
        entry = self._open.pop(call_id, None)
        if entry is None:
            return None
        waiting = self._by_target[entry[0]]
        waiting.discard(call_id)
        if not waiting:
            del self._by_target[entry[0]]
        self._deadlines.pop(call_id, None)
        return entry[1]

    def lose(self, target: K) -> list[T]:
        """Takes out every call that `target` will never answer."""
        return self._take(list(self._by_target.get(target, ())))

    def expire(self, now: float) -> list[tuple[int, K, T]]:
        """Takes out every call whose deadline has passed: id, target, call."""
        late = [call_id for call_id, deadline in self._deadlines.items() if deadline <= now]
        expired = [(call_id, *self._open[call_id]) for call_id in late]
        for call_id in late:
            self.close(call_id)
        return expired

    def target_of(self, call_id: int) -> K | None:
        entry = self._open.get(call_id)
        return entry[0] if entry else None

    def count(self, target: K) -> int:
        """Calls `target` has not answered yet."""
        return len(self._by_target.get(target, ()))

    def __len__(self) -> int:
        return len(self._open)

    def _take(self, call_ids: Iterable[int]) -> list[T]:
        return [value for i in call_ids if (value := self.close(i)) is not None]
