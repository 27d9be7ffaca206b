"""The port under load, side by side with npm ws: answers, fan-out, connects."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.bench import generator
from tests.bench.generator import Measured, Port
from tests.bench.report import Row, median
from tests.bench.servers import Gateway

ROUNDS = 5
SECONDS = 2.0
CLIENTS = 50
FANOUT_CLIENTS = 1000
CONNECTING = 32  # handshakes in flight
WORKER_METHOD = "sessions.list"  # owned by the agent worker
EVENT_PARAMS = {"text": "bench: one line for everyone"}

Measure = Callable[[Port], Measured]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: where it listens and the CPU seconds it has used."""

    port: Port
    cpu_s: Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """What one round gave for one side."""

    per_s: float
    cpu_us_each: float


def payloads(gateway: Gateway) -> dict[str, Any]:
    """What the yardstick has to answer: the gateway's own payloads."""
    with gateway.client() as client:
        answers = {method: client.call(method) for method in ("health", WORKER_METHOD)}
        answers["system-event"] = client.call("system-event", EVENT_PARAMS)
        presence = client.event("presence")
    broadcast = {"event": "presence", "payload": presence}
    return {"answers": answers, "broadcasts": {"system-event": broadcast}}


def rows(gateway: Side, node: Side) -> Iterator[Row]:
    """Each comparison, gateway and yardstick in turn within every round."""
    for name, unit, measure, at_least in (
        ("answered in front, depth 1", "req/s", _asking("health", 1), 2.3),
        ("answered in front, depth 16", "req/s", _asking("health", 16), 6),
        ("through a worker, depth 1", "req/s", _asking(WORKER_METHOD, 1), 0.9),
        ("through a worker, depth 16", "req/s", _asking(WORKER_METHOD, 16), 2.5),
        ("fan-out to 1,000 clients", "deliveries/s", _fanning_out, 1.3),
        ("full connects / bare upgrades", "per s", _connecting, 1.0),
    ):
        try:
            pairs = [(_sample(gateway, measure), _sample(node, measure)) for _ in range(ROUNDS)]
        except generator.GeneratorError as error:
            yield Row(name, unit, None, at_least=at_least, note=str(error))
        else:
            yield _row(name, unit, pairs, at_least)


def _asking(method: str, depth: int) -> Measure:
    return lambda port: generator.requests(port, CLIENTS, depth, SECONDS, method)


def _fanning_out(port: Port) -> Measured:
    request = f"system-event {json.dumps(EVENT_PARAMS)}"
    return generator.fanout(port, FANOUT_CLIENTS, SECONDS, request, "presence")


def _connecting(port: Port) -> Measured:
    return generator.connects(port, CONNECTING, SECONDS)


def _sample(side: Side, measure: Measure) -> Sample:
    before = side.cpu_s()
    measured = measure(side.port)
    used_us = (side.cpu_s() - before) * 1e6
    return Sample(measured.per_s, used_us / max(measured.count + measured.warm_count, 1))


def _row(name: str, unit: str, pairs: list[tuple[Sample, Sample]], at_least: float) -> Row:
    """Medians; the ratio is the median of the rounds' ratios, so that a busy moment cancels."""
    ours = median([one.per_s for one, _ in pairs])
    theirs = median([other.per_s for _, other in pairs])
    ratio = median([one.per_s / other.per_s for one, other in pairs])
    our_cpu = median([one.cpu_us_each for one, _ in pairs])
    their_cpu = median([other.cpu_us_each for _, other in pairs])
    note = f"CPU {our_cpu:.1f} and {their_cpu:.1f} us each"
    return Row(name, unit, ours, theirs, ratio, at_least, note=note)
