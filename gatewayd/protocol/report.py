"""The rows about processes in `status` and `/readyz`, judged by what was heard. Pure."""

from typing import Any

from bus.liveness import Liveness, State

STATE_WORDS = {
    State.STARTING: "starting",
    State.READY: "running",
    State.DRAINING: "draining",
    State.SILENT: "silent",
    State.DOWN: "down",
}


def process_rows(liveness: Liveness, now: float, now_ms: int) -> list[dict[str, Any]]:
    """One row per worker: name, pid, state, restarts, uptime, age of the evidence, counters."""
    rows = []
    for name in liveness.names():
        state = liveness.state(name, now)
        peer = liveness.peer(name)
        row: dict[str, Any] = {"name": name, "state": STATE_WORDS[state], "pid": None,
                               "restarts": 0, "uptimeMs": 0}  # fmt: skip
        if peer is not None:
            is_there = state is not State.DOWN
            row["pid"] = peer.ready.pid if is_there else None
            row["restarts"] = peer.ready.restart_count
            row["uptimeMs"] = max(0, now_ms - peer.ready.started_ms) if is_there else 0
            row["heardMsAgo"] = int((now - peer.heard_at) * 1000)
            progress = {_camel(n): value for n, value in peer.ready.progress.items()}
            row = progress | row
        rows.append(row)
    return rows


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
