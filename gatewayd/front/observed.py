"""`/healthz`, `/readyz` and `/metrics`: the front seen from outside."""

import resource
import time
from collections.abc import Callable

from gatewayd.front.facts import Facts
from gatewayd.front.gateway import Gateway
from gatewayd.front.http import json_response, metrics, response
from gatewayd.protocol.report import process_rows

Samples = dict[str, float]


class Observed:
    """Answers the front's own HTTP paths."""

    def __init__(self, gateway: Gateway, facts: Facts) -> None:
        self._gateway = gateway
        self._facts = facts
        self.strangers: Callable[[], tuple[int, int]] = lambda: (0, 0)

    def answer(self, path: bytes, method: bytes, *, is_local: bool) -> bytes:
        """The whole answer to a request for one of OWN_PATHS; `is_local`: no proxy in between."""
        if method not in (b"GET", b"HEAD"):
            text = b"Method Not Allowed\n"
            return response(405, text, "text/plain; charset=utf-8", "Allow: GET, HEAD\r\n")
        if path == b"/healthz":
            return self._cut(method, json_response(200, {"ok": True, "status": "live"}))
        if path == b"/readyz":
            return self._cut(method, self._ready())
        if not is_local:
            text = b"metrics are answered to this machine only\n"
            return response(401, text, "text/plain; charset=utf-8")
        return self._cut(method, self._metrics())

    def _cut(self, method: bytes, answer: bytes) -> bytes:
        return answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else answer

    def _ready(self) -> bytes:
        liveness = self._gateway.forwarder.router.liveness
        now = time.monotonic()
        troubles = liveness.troubles(now)
        rows = process_rows(liveness, now, int(time.time() * 1000))
        workers = {row["name"]: row["state"] for row in rows}
        status = 503 if troubles else 200
        return json_response(status, {"ok": not troubles, "problems": troubles, "workers": workers})

    def _metrics(self) -> bytes:
        gateway, usage = self._gateway, resource.getrusage(resource.RUSAGE_SELF)
        active, waiting = self.strangers()
        counted: dict[str, int] = {
            **gateway.counters,
            **gateway.forwarder.counters,
            **gateway.forwarder.broker.counters,
            **gateway.audience.counters,
        }
        now = time.monotonic()
        rows = process_rows(gateway.forwarder.router.liveness, now, int(time.time() * 1000))
        gauges: Samples = {
            '{state="clients"}': len(gateway.audience),
            '{state="before_authentication"}': active,
            '{state="waiting"}': waiting,
        }
        up: Samples = {f'{{worker="{r["name"]}"}}': float(r["state"] == "running") for r in rows}
        restarts: Samples = {f'{{worker="{r["name"]}"}}': r["restarts"] for r in rows}
        totals: Samples = {f'{{what="{name}"}}': float(n) for name, n in counted.items()}
        own: Samples = {"": usage.ru_utime + usage.ru_stime}
        return metrics(
            {
                "gatewayd_connections": ("gauge", "Connections of the port.", gauges),
                "gatewayd_front_total": ("counter", "What the front has done.", totals),
                "gatewayd_open_calls": (
                    "gauge",
                    "Calls waiting for a worker.",
                    {"": float(gateway.forwarder.router.open_count())},
                ),
                "gatewayd_worker_up": ("gauge", "1 while heard from lately and ready.", up),
                "gatewayd_worker_restarts": ("gauge", "Starts before this one.", restarts),
                "gatewayd_front_cpu_seconds_total": ("counter", "CPU time of the front.", own),
                "gatewayd_front_loop_lag_ms": (
                    "gauge",
                    "How late the last timer of the front was.",
                    {"": gateway.methods.lag_ms},
                ),
                "gatewayd_front_uptime_seconds": (
                    "gauge",
                    "Since this front started.",
                    {"": now - self._facts.started},
                ),
            }
        )
