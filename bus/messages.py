"""What crosses the bus: a header of one of these types and an opaque body. Pure.

Bodies are the bytes a client sent or will get: `params`, a whole `res` frame, an event's
payload. Only headers are decoded on the way.
"""

from msgspec import Raw, Struct

MAX_MESSAGE_BYTES = 33_554_432
"""Largest body; above the largest frame a client may send or get (25 MiB)."""
MAX_HEADER_BYTES = 1_048_576
"""Largest header; it holds a request's id, which may fill a frame of a client (512 KiB)."""


class Method(Struct, frozen=True, array_like=True, gc=False):
    """One row of a worker's method table, derived from its declaration."""

    name: str
    scope: str
    """Scope an operator needs, without the prefix `operator.`; `node`: only nodes may call."""
    timeout_ms: int
    """Longest time until the final answer; 0: as long as the worker lives."""


class Caller(Struct, frozen=True, array_like=True, gc=False):
    """Who asks: a client of the port or another worker."""

    kind: str
    """`client` or `worker`."""
    id: str
    """Connection id, or the worker's name."""
    role: str = "operator"
    scopes: tuple[str, ...] = ()
    client_id: str = ""
    mode: str = ""
    caps: tuple[str, ...] = ()
    is_local: bool = False


class Ready(Struct, frozen=True, array_like=True, tag=1):
    """A worker announces itself; every heartbeat is one, so a new front knows all in one beat."""

    name: str
    pid: int
    started_ms: int
    """Wall clock, ms since the epoch, when the process began."""
    token: str
    """Proof that it may use this name (capabilities.token)."""
    is_draining: bool
    restart_count: int
    methods: tuple[Method, ...]
    topics: tuple[str, ...]
    """Topics it wants to receive."""
    progress: dict[str, int | float]
    """Counters that show it works: handled_count, lag_ms, rss_bytes, …"""


class Welcome(Struct, frozen=True, array_like=True, tag=2):
    """The front took the announcement. A new epoch means a new front: old calls are lost."""

    epoch: int


class Refused(Struct, frozen=True, array_like=True, tag=3):
    """The front did not take what a worker sent; it stays without calls until it is restarted."""

    reason: str


class Request(Struct, frozen=True, array_like=True, tag=4):
    """A call; the body is its params (JSON, empty if absent)."""

    call_id: int
    method: str
    frame_id: str
    """The id of the request frame as JSON text, quotes included, to be echoed as it is."""
    caller: Raw
    """An encoded Caller: made once a connection, decoded once a call."""
    timeout_ms: int


class Partial(Struct, frozen=True, array_like=True, tag=5):
    """A first answer of a call that goes on; the body is the whole `res` frame."""

    call_id: int


class Reply(Struct, frozen=True, array_like=True, tag=6):
    """The last answer of a call; the body is the whole `res` frame."""

    call_id: int
    ok: bool


class Cancel(Struct, frozen=True, array_like=True, tag=7):
    """Nobody waits for this call any more."""

    call_id: int


class Event(Struct, frozen=True, array_like=True, tag=8):
    """Something published; the body is the payload (JSON)."""

    topic: str
    scope: str = ""
    """Only connections holding this scope (or admin) get it; empty: everyone."""
    connections: tuple[str, ...] = ()
    """Only these connections get it, without a sequence number; empty: by scope."""
    drop_if_slow: bool = False


class Snapshot(Struct, frozen=True, array_like=True, tag=9):
    """A worker's part of what the front answers by itself; the body is a JSON object."""

    part: str


class Goodbye(Struct, frozen=True, array_like=True, tag=10):
    """The sender leaves now; its open calls are lost."""

    reason: str


Message = (
    Ready | Welcome | Refused | Request | Partial | Reply | Cancel | Event | Snapshot | Goodbye
)
