"""Agent runs: how soon a run is accepted, durable, and acknowledged."""

import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests.bench.client import Client
from tests.bench.report import Row
from tests.bench.servers import Gateway

RUNS = 60
WARM_UP_RUNS = 10


def rows(gateway: Gateway) -> Iterator[Row]:
    """One run after the other, each in a session of its own, answered by a scripted model."""
    with gateway.client() as client:
        for _ in range(WARM_UP_RUNS):
            _acknowledge(client)
        took_ms = sorted(_acknowledge(client) for _ in range(RUNS))
    note = f"p95 {took_ms[int(RUNS * 0.95)]:.1f} ms"
    yield Row("agent acknowledged, p50", "ms", statistics.median(took_ms), at_most=10, note=note)


def _acknowledge(client: Client) -> float:
    """Milliseconds from asking for a run to `accepted`; returns after the run ended."""
    key = str(uuid.uuid4())
    params: dict[str, Any] = {
        "message": "Say done.",
        "sessionKey": f"agent:main:bench-{key}",
        "idempotencyKey": key,
    }
    began = time.monotonic()
    accepted = client.call("agent", params)
    took_ms = (time.monotonic() - began) * 1000
    client.call("agent.wait", {"runId": accepted["runId"], "timeoutMs": 30_000})
    return took_ms
