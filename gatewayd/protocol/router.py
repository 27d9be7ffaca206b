"""Which worker serves a method, which calls it owes, and what happens when it goes. Pure."""

from dataclasses import dataclass

import msgspec

from bus.calls import Calls
from bus.capabilities import CAPABILITIES, family, refusal
from bus.errors import RETRY_SOON_MS, RpcError, invalid, unavailable
from bus.liveness import Liveness, State
from bus.messages import Method, Ready, Request

MAX_OPEN_PER_WORKER = 16_384
"""Calls one worker may owe; more are refused so that its queue stays bounded."""
STARTING_RETRY_MS = 300


class ClientOrigin(msgspec.Struct, frozen=True, gc=False):
    """A call of a connection of the port."""

    connection_id: str
    frame_id: str
    size_bytes: int = 0
    """Of its params; they may wait in memory until the worker reads them."""


class WorkerOrigin(msgspec.Struct, frozen=True, gc=False):
    """A call of another worker."""

    identity: bytes
    call_id: int
    frame_id: str


Origin = ClientOrigin | WorkerOrigin


@dataclass(frozen=True, slots=True)
class Lost:
    """A call that will not be answered, and what its caller is told."""

    origin: Origin
    error: RpcError


@dataclass(frozen=True, slots=True)
class Announcement:
    """What came of a Ready."""

    refusal: str | None = None
    lost: tuple[Lost, ...] = ()
    is_new: bool = False
    """First word of this process."""
    changed_state: bool = False


class Router:
    """The method table learned from announcements, and every open call."""

    def __init__(self, epoch: int, expected: tuple[str, ...], key: bytes) -> None:
        self.epoch = epoch
        self.liveness = Liveness(expected)
        self.methods: dict[str, Method] = {}
        self._owners: dict[str, str] = {}
        self._key = key
        self._calls: Calls[bytes, Origin] = Calls(epoch)
        self._names: dict[bytes, str] = {}
        self._serving: dict[str, bytes] = {}
        """Processes that get calls now, by name: kept in step with every word and silence."""
        self._tables: dict[str, tuple[Method, ...]] = {}

    # Workers

    def announce(self, identity: bytes, ready: Ready, now: float) -> Announcement:
        """Takes a heartbeat of a worker, or says why not."""
        known = self._names.get(identity)
        if known is None or ready.methods != self._tables.get(ready.name):
            reason = refusal(ready, self._key) or self._clash(ready)
            if reason is not None:
                return Announcement(refusal=reason)
        elif known != ready.name:
            return Announcement(refusal=f"this process is {known}")
        before = self.liveness.state(ready.name, now)
        replaced = self.liveness.announce(identity, ready, now)
        if replaced == identity:
            return Announcement(refusal="a newer process of this name is there")
        lost = self._forget(replaced, ready.name) if replaced is not None else ()
        self._names[identity] = ready.name
        self._serving[ready.name] = identity
        self._learn(ready)
        after = self.liveness.state(ready.name, now)
        return Announcement(lost=lost, is_new=known is None, changed_state=before is not after)

    def name_of(self, identity: bytes) -> str | None:
        """The worker behind an identity, once its announcement was taken."""
        return self._names.get(identity)

    def gone(self, identity: bytes) -> tuple[str | None, tuple[Lost, ...]]:
        """A worker left or cannot be reached: its name, and the calls lost with it."""
        name = self.liveness.gone(identity)
        return name, self._forget(identity, name or "worker")

    def expire(self, now: float) -> tuple[list[tuple[bytes, int]], list[Lost]]:
        """Calls past their deadline (to cancel: target and id) and calls of silent workers."""
        lost: list[Lost] = []
        cancels: list[tuple[bytes, int]] = []
        for call_id, target, origin in self._calls.expire(now):
            cancels.append((target, call_id))
            name = self._names.get(target, "worker")
            lost.append(Lost(origin, unavailable(f"worker {name} did not answer in time", 1000)))
        self._skip_silent(now)
        for identity in self.liveness.lose_silent(now):
            name = self._names.get(identity, "worker")
            lost.extend(self._forget(identity, name))
        return cancels, lost

    # Calls

    def open(
        self, method: Method, frame_id: str, caller: msgspec.Raw, origin: Origin, now: float
    ) -> tuple[bytes, Request]:
        """The request for the worker that owns `method`. Raises RpcError when none can serve."""
        name = self._owners[method.name]
        identity = self._serving.get(name)
        if identity is None:
            state = self.liveness.state(name, now)
            raise unavailable(f"{method.name}: worker {name} is {state.value}, retry")
        if self._calls.count(identity) >= MAX_OPEN_PER_WORKER:
            raise unavailable(f"{method.name}: worker {name} has too many open calls", 500)
        deadline = now + method.timeout_ms / 1000 if method.timeout_ms else None
        call_id = self._calls.open(identity, origin, deadline)
        return identity, Request(call_id, method.name, frame_id, caller, method.timeout_ms)

    def unknown(self, name: str, now: float) -> RpcError:
        """The error for a method nobody announced."""
        starting = [
            worker
            for worker in self.liveness.expected
            if self.liveness.state(worker, now) is State.STARTING
            and family(name) in CAPABILITIES[worker].families
        ]
        if starting:
            return unavailable(f"{name}: worker {starting[0]} is starting", STARTING_RETRY_MS)
        return invalid(f"unknown method: {name}")

    def partial(self, identity: bytes, call_id: int) -> Origin | None:
        """Who gets a first answer; None if the call is not open or not owed by this worker."""
        return self._calls.peek(call_id, identity)

    def reply(self, identity: bytes, call_id: int) -> Origin | None:
        """Who gets the last answer; the call is closed."""
        return self._calls.close(call_id, identity)

    def may_call(self, name: str, method: str) -> bool:
        """Whether worker `name` may call `method` of another."""
        return family(method) in CAPABILITIES[name].calls

    def open_count(self) -> int:
        """Calls waiting for an answer."""
        return len(self._calls)

    def _clash(self, ready: Ready) -> str | None:
        for method in ready.methods:
            owner = self._owners.get(method.name, ready.name)
            if owner != ready.name:
                return f"{method.name} is served by {owner}"
        return None

    def _learn(self, ready: Ready) -> None:
        if self._tables.get(ready.name) == ready.methods:
            return
        for method in self._tables.get(ready.name, ()):
            self.methods.pop(method.name, None)
            self._owners.pop(method.name, None)
        self._tables[ready.name] = ready.methods
        for method in ready.methods:
            self.methods[method.name] = method
            self._owners[method.name] = ready.name

    def _skip_silent(self, now: float) -> None:
        for name in list(self._serving):
            if self.liveness.state(name, now) in (State.SILENT, State.DOWN):
                del self._serving[name]

    def _forget(self, identity: bytes, name: str) -> tuple[Lost, ...]:
        self._names.pop(identity, None)
        if self._serving.get(name) == identity:
            del self._serving[name]
        text = f"worker {name} went away before it answered, retry"
        error = unavailable(text, RETRY_SOON_MS)
        return tuple(Lost(origin, error) for origin in self._calls.lose(identity))
