"""A real worker process for tests, built on the runtime: `python -m tests.kit.worker NAME`."""

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from bus.errors import RpcError
from bus.rpc import Bound, Call, LooseParams, Methods, Scope
from workers.runtime import Worker, run


class Anything(LooseParams, frozen=True):
    """What the methods below understand."""

    value: Any = None
    count: int = 1
    size: int = 0
    seconds: float = 0.0
    drop: bool = False


class TestService:
    """Methods that behave well, slowly, badly."""

    topics: tuple[str, ...] = ("system-event",)

    def __init__(self, name: str) -> None:
        self._name = name
        self._worker: Worker
        self._heard: list[str] = []

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        self._worker = worker
        worker.snapshot(self._name, {"health": {"defaultAgentId": "tested"}})
        return declared(self._name).bind(self)

    def on_event(self, topic: str, payload: bytes) -> None:
        self._heard.append(payload.decode())

    async def drain(self) -> None:
        return

    async def stop(self) -> None:
        return

    def echo(self, call: Call, params: Anything) -> Any:
        return {"value": params.value, "padding": "x" * params.size}

    def heard(self, call: Call, params: Anything) -> list[str]:
        return self._heard

    async def slow(self, call: Call, params: Anything) -> str:
        await asyncio.sleep(params.seconds)
        return "slept"

    async def never(self, call: Call, params: Anything) -> None:
        await asyncio.Event().wait()

    async def stages(self, call: Call, params: Anything) -> str:
        call.accept({"status": "accepted"})
        for number in range(params.count):
            self._worker.publish("agent", {"number": number})
            await asyncio.sleep(0)
        return "done"

    def publish(self, call: Call, params: Anything) -> str:
        body = {"padding": "x" * params.size}
        for number in range(params.count):
            event = {**body, "number": number}
            self._worker.publish("agent", event, drop_if_slow=params.drop)
        return "published"

    def fail(self, call: Call, params: Anything) -> None:
        raise ValueError(f"cannot use {params.value}")

    def refuse(self, call: Call, params: Anything) -> None:
        raise RpcError("UNAVAILABLE", "no model", payload={"status": "error"})

    def block(self, call: Call, params: Anything) -> str:
        time.sleep(params.seconds)
        return "blocked"

    async def relay(self, call: Call, params: Anything) -> Any:
        return msgspec.json.decode(await self._worker.call(str(params.value), {}, timeout_s=5))


def declared(name: str) -> Methods:
    """The methods of a test worker, in its own family."""
    methods = Methods()
    for member in ("echo", "slow", "never", "stages", "publish", "fail", "refuse", "block",
                   "relay", "heard"):  # fmt: skip
        scope = Scope.WRITE if member == "publish" else Scope.READ
        timeout_ms = 0 if member == "never" else 1500 if member == "slow" else 30_000
        decorate = methods.method(f"{name}.{member}", scope=scope, timeout_ms=timeout_ms)
        decorate(getattr(TestService, member))
    return methods


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], TestService(sys.argv[1])))
