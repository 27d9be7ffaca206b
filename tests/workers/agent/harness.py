"""The agent worker as a real process on a real bus; the test is the front."""

import asyncio
import ctypes
import itertools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

from bus.broker import Broker
from bus.capabilities import refusal
from bus.errors import unavailable
from bus.messages import (
    Caller,
    Event,
    Goodbye,
    Message,
    Partial,
    Ready,
    Reply,
    Request,
    Snapshot,
    Welcome,
)
from bus.rpc import error_frame, result_frame
from conf.paths import Paths, resolve
from workers.agent import tree

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
DEADLINE_S = 20.0


class Ask:
    """One call: the answers it got so far."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.final: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def answer(self) -> dict[str, Any]:
        """The last `res` frame."""
        return await asyncio.wait_for(asyncio.shield(self.final), DEADLINE_S)

    async def result(self) -> Any:
        """The payload of a call that must succeed."""
        frame = await self.answer()
        assert frame["ok"], frame
        return frame["payload"]

    async def error(self) -> dict[str, Any]:
        """The error of a call that must fail."""
        frame = await self.answer()
        assert not frame["ok"], frame
        error: dict[str, Any] = frame["error"]
        return error


class Front:
    """The bus's broker in the hands of a test, and the worker that talks to it."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.log: list[tuple[str, Any]] = []
        """Everything that came, in order: (`partial`, id), (`reply`, id), (topic, payload)."""
        self.scopes: dict[str, str] = {}
        """For whom the last event of each topic was."""
        self.snapshots: dict[str, Any] = {}
        self.ready: Ready | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.caller = Caller("client", "c1", "operator", ("operator.admin",))
        """Who calls, from now on."""
        self.others: dict[str, Any] = {}
        """What methods of other workers answer, by name; those not named are unavailable."""
        self._identity = b""
        self._children_before = set(tree.children(os.getpid()))
        adopt_orphans(True)
        self._asks: dict[int, Ask] = {}
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._broker = Broker(paths.bus_endpoint, self._take, self._garbage, lambda _: None)

    def close(self) -> None:
        """Ends the worker, if it still runs, and the bus."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._broker.close()
        bury_adopted(self._children_before)

    async def start(self) -> None:
        """Starts a worker and waits until it has announced itself."""
        self.ready = None
        self.start_beside()
        await self.until(lambda: self.ready is not None)

    def start_beside(self) -> None:
        """Starts a worker while another may still be there."""
        environment = {**os.environ, "GATEWAYD_STATE_DIR": str(self.paths.state_dir)}
        environment.pop("GATEWAYD_CONFIG_PATH", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers", "agent"], cwd=ROOT, env=environment
        )

    async def kill(self) -> None:
        """SIGKILL, as a crash does it."""
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals) -> int:
        """Sends a signal to the worker and waits for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Waits for the worker's end; returns its exit code."""
        process = self.process
        assert process is not None
        return await asyncio.wait_for(asyncio.to_thread(process.wait), DEADLINE_S)

    def ask(self, method: str, **params: Any) -> Ask:
        """Calls a method."""
        return self.ask_raw(method, params)

    def ask_raw(self, method: str, params: Any) -> Ask:
        """Calls a method with any params."""
        call_id = next(self._ids)
        ask = self._asks[call_id] = Ask()
        raw = msgspec.Raw(msgspec.msgpack.encode(self.caller))
        request = Request(call_id, method, f'"{call_id}"', raw, 0)
        self._broker.send(self._identity, request, json.dumps(params).encode())
        return ask

    def publish(self, topic: str, payload: Any) -> None:
        """Sends the worker an event of a topic it wants."""
        self._broker.send(self._identity, Event(topic), json.dumps(payload).encode())

    async def agent(self, message: str, key: str, **params: Any) -> Any:
        """The final payload of an `agent` call."""
        return await self.ask("agent", message=message, idempotencyKey=key, **params).result()

    async def wait(self, run_id: str, timeout_ms: int = 15_000) -> Any:
        """The answer of agent.wait."""
        return await self.ask("agent.wait", runId=run_id, timeoutMs=timeout_ms).result()

    def events(self, topic: str, run_id: str) -> list[dict[str, Any]]:
        """The events of a run."""
        return [body for name, body in self.log if name == topic and body["runId"] == run_id]

    def ends(self, run_id: str) -> list[str]:
        """The terminal lifecycle phases of a run."""
        phases = [
            event["data"]["phase"]
            for event in self.events("agent", run_id)
            if event["stream"] == "lifecycle"
        ]
        return [phase for phase in phases if phase != "start"]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that a message of the worker brings about."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _take(self, identity: bytes, message: Message, body: bytes) -> None:
        match message:
            case Ready():
                problem = refusal(message, self.paths.bus_key.read_bytes())
                assert problem is None, problem
                self._identity, self.ready = identity, message
                self._broker.send(identity, Welcome(1))
            case Partial():
                self.log.append(("partial", message.call_id))
                self._asks[message.call_id].frames.append(json.loads(body))
            case Reply():
                self.log.append(("reply", message.call_id))
                ask = self._asks.pop(message.call_id)
                frame = json.loads(body)
                ask.frames.append(frame)
                ask.final.set_result(frame)
            case Event():
                self.scopes[message.topic] = message.scope
                self.log.append((message.topic, json.loads(body)))
            case Snapshot():
                self.snapshots[message.part] = json.loads(body)
            case Request():
                self._answer(identity, message)
            case Goodbye():
                self.log.append(("goodbye", message.reason))
        self._changed.set()

    def _answer(self, identity: bytes, request: Request) -> None:
        """Answers for the worker whose method is called."""
        if request.method in self.others:
            frame = result_frame(request.frame_id, self.others[request.method])
        else:
            frame = error_frame(request.frame_id, unavailable(f"no {request.method} here"))
        ok = request.method in self.others
        self._broker.send(identity, Reply(request.call_id, ok=ok), frame)

    def _garbage(self, identity: bytes, reason: str) -> None:
        raise AssertionError(f"{identity!r} sent {reason}")


def adopt_orphans(is_wanted: bool) -> None:
    """What a dead worker leaves comes to us, as it comes to the supervisor in a real tree."""
    ctypes.CDLL(None).prctl(tree.PR_SET_CHILD_SUBREAPER, int(is_wanted), 0, 0, 0)


def bury_adopted(children_before: set[int]) -> None:
    """Waits for the end of what dead workers left. Fails if it lives on."""
    while left := set(tree.children(os.getpid())) - children_before:
        for pid in left:
            handle = os.pidfd_open(pid)
            ended, _, _ = select.select([handle], [], [], DEADLINE_S)
            os.close(handle)
            assert ended, f"process {pid} survived its agent worker"
            os.waitpid(pid, 0)
    adopt_orphans(False)


def scripted(*steps: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """A config whose model plays `steps`; without any it echoes."""
    return {
        "models": {"providers": {"play": {"api": "scripted", "script": list(steps)}}},
        "agents": {"defaults": {"model": {"primary": "play/it"}, **defaults}},
    }


def make_place(root: Path, config: dict[str, Any]) -> Paths:
    """A profile in `root`, ready for a worker."""
    paths = resolve("main", {"HOME": str(root), "GATEWAYD_STATE_DIR": str(root / "state")})
    for directory in (paths.state_dir, paths.run_dir, paths.log_dir, paths.workspace):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.bus_key.write_bytes(os.urandom(32))
    paths.config.write_text(json.dumps(config), encoding="utf-8")
    return paths


@asynccontextmanager
async def front(paths: Paths) -> AsyncIterator[Front]:
    """A bus with a worker on it."""
    bus = Front(paths)
    try:
        await bus.start()
        yield bus
    finally:
        bus.close()


def play(scenario: Coroutine[Any, Any, T]) -> T:
    """Runs a test's scenario to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario)
