"""What every worker does: announce itself, beat, dispatch calls, drain, stop.

A worker process is `run(name, service)`; the service holds what is its own.
"""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec
import uvloop

from bus.calls import Calls
from bus.capabilities import token
from bus.errors import UNAVAILABLE, RpcError, unavailable
from bus.liveness import BEAT_S
from bus.messages import (
    Caller,
    Cancel,
    Event,
    Goodbye,
    Message,
    Partial,
    Ready,
    Refused,
    Reply,
    Request,
    Snapshot,
    Welcome,
)
from bus.peer import Peer
from bus.rpc import Bound, error_frame, read_response, result_frame
from conf import logs
from conf.environment import log_level, restart_count
from conf.paths import Paths, resolve
from conf.settings import ConfigError, Loaded, load_or_last_good

DRAIN_BUDGET_S = 15.0
"""How long a replaced worker may finish what it has begun."""
STOP_BUDGET_S = 1.5
"""How long a stopped worker may write down what it has; the supervisor kills after 2 s."""
CALL_TIMEOUT_S = 30.0
FAILED = 1
MISCONFIGURED = 78

_encode_caller = msgspec.msgpack.Encoder().encode
_decode_caller = msgspec.msgpack.Decoder(Caller).decode
_encode = msgspec.json.Encoder().encode


class Service(Protocol):
    """What one kind of worker adds to the runtime."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics it wants to receive; they may change, and count from the next announcement."""
        ...

    async def start(self, worker: "Worker") -> Mapping[str, Bound]:
        """Opens what it owns and returns its methods; only then the worker is announced."""
        ...

    def on_event(self, topic: str, payload: bytes) -> None:
        """Takes an event of a subscribed topic."""
        ...

    async def drain(self) -> None:
        """Finishes what is under way; takes nothing new. Cancelled after DRAIN_BUDGET_S."""
        ...

    async def stop(self) -> None:
        """Makes durable what must be and lets go; called once, within STOP_BUDGET_S."""
        ...


class WorkerCall:
    """One call being handled."""

    __slots__ = ("_frame_id", "_worker", "call_id", "caller", "method")

    def __init__(self, worker: "Worker", request: Request, caller: Caller) -> None:
        self._worker = worker
        self._frame_id = request.frame_id
        self.call_id = request.call_id
        self.method = request.method
        self.caller = caller

    def accept(self, payload: Any) -> None:
        """Sends a first answer; the call goes on."""
        frame = result_frame(self._frame_id, payload)
        self._worker.peer.send(Partial(self.call_id), frame)

    def succeed(self, payload: Any) -> None:
        """Sends the last answer."""
        self._worker.peer.send(Reply(self.call_id, ok=True), result_frame(self._frame_id, payload))

    def fail(self, error: RpcError) -> None:
        """Sends the last answer: an error."""
        self._worker.peer.send(Reply(self.call_id, ok=False), error_frame(self._frame_id, error))


class _Waiting:
    """A call this worker made."""

    __slots__ = ("future", "on_partial")

    def __init__(self, on_partial: Callable[[bytes], None] | None) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.on_partial = on_partial


class Worker:
    """A worker process on the bus, as its service sees it."""

    def __init__(self, name: str, paths: Paths, loaded: Loaded, service: Service) -> None:
        self.name = name
        self.paths = paths
        self.loaded = loaded
        self.settings = loaded.settings
        self.log = logs.Log(name)
        self.tasks: asyncio.TaskGroup
        self.peer: Peer
        self.progress: dict[str, int | float] = {}
        self.is_draining = False
        self._service = service
        self._methods: Mapping[str, Bound] = {}
        self._started_ms = int(time.time() * 1000)
        self._token = token(paths.bus_key.read_bytes(), name)
        self._is_started = False
        self._front_epoch: int | None = None
        self._calls: Calls[str, _Waiting] = Calls(int.from_bytes(os.urandom(4)) >> 1)
        self._handling: dict[int, asyncio.Task[None]] = {}
        self._spawned: set[asyncio.Task[None]] = set()
        self._callers: dict[bytes, Caller] = {}
        self._handled = itertools.count(1)
        self._snapshots: dict[str, bytes] = {}
        self._stopping = asyncio.Event()

    # What services use

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs `work` as a task of this worker; if it fails, the worker ends and is restarted.

        A task that still runs after the service has stopped is cancelled.
        """
        task = self.tasks.create_task(work, name=name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def publish(
        self,
        topic: str,
        payload: Any,
        *,
        scope: str = "",
        connections: tuple[str, ...] = (),
        drop_if_slow: bool = False,
    ) -> None:
        """Publishes an event to clients (and to workers that subscribed the topic)."""
        body = payload if isinstance(payload, bytes) else _encode(payload)
        self.peer.send(Event(topic, scope, connections, drop_if_slow), body)

    def snapshot(self, part: str, value: Any) -> None:
        """Sets this worker's part of what the front answers by itself (a JSON object)."""
        body = value if isinstance(value, bytes) else _encode(value)
        if self._snapshots.get(part) != body:
            self._snapshots[part] = body
            self.peer.send(Snapshot(part), body)

    async def call(
        self,
        method: str,
        params: Any,
        *,
        timeout_s: float | None = CALL_TIMEOUT_S,
        on_partial: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Calls a method of another worker (or of the front); returns the payload as JSON.

        `on_partial` gets the payload of a first answer. Raises RpcError; UNAVAILABLE with
        retry_after_ms when the other side is away or `timeout_s` has passed.
        """
        waiting = _Waiting(on_partial)
        call_id = self._calls.open("front", waiting, None)
        caller = msgspec.Raw(_encode_caller(Caller("worker", self.name)))
        timeout_ms = 0 if timeout_s is None else int(timeout_s * 1000)
        request = Request(call_id, method, f'"{call_id}"', caller, timeout_ms)
        self.peer.send(request, _encode(params))
        try:
            async with asyncio.timeout(timeout_s):
                return read_response(await waiting.future)
        except TimeoutError:
            raise unavailable(f"{method}: no answer within {timeout_s} s") from None
        finally:
            if self._calls.close(call_id, "front") is not None:
                self.peer.send(Cancel(call_id))

    # What the bus brings

    def receive(self, message: Message, body: bytes) -> None:
        """Takes one message of the front."""
        match message:
            case Request():
                self._handle(message, body)
            case Reply():
                waiting = self._calls.close(message.call_id, "front")
                if waiting is not None and not waiting.future.done():
                    waiting.future.set_result(body)
            case Partial():
                waiting = self._calls.peek(message.call_id, "front")
                if waiting is not None and waiting.on_partial is not None:
                    waiting.on_partial(read_response(body))
            case Event():
                self._service.on_event(message.topic, body)
            case Cancel():
                task = self._handling.get(message.call_id)
                if task is not None:
                    task.cancel()
            case Welcome():
                self._greet(message.epoch)
            case Refused():
                self.log.error("refused by the front", reason=message.reason)
            case _:
                self.log.warning("message of no use to a worker", kind=type(message).__name__)

    def announce(self, *, is_first: bool = False) -> None:
        """Sends a Ready: at start, with every beat, and, first of all, to a new front."""
        declarations = (bound.declaration for bound in self._methods.values())
        ready = Ready(
            name=self.name,
            pid=os.getpid(),
            started_ms=self._started_ms,
            token=self._token,
            is_draining=self.is_draining,
            restart_count=restart_count(),
            methods=tuple(declaration.row() for declaration in declarations),
            topics=self._service.topics,
            progress=self.progress,
        )
        (self.peer.send_first if is_first else self.peer.send)(ready)

    def _greet(self, epoch: int) -> None:
        if epoch == self._front_epoch:
            return
        if self._front_epoch is not None:
            self.log.info("front is new", calls_lost=len(self._calls))
            for waiting in self._calls.lose("front"):
                if not waiting.future.done():
                    waiting.future.set_exception(unavailable("the front was restarted"))
        self._front_epoch = epoch
        for part, value in self._snapshots.items():
            self.peer.send(Snapshot(part), value)

    def _handle(self, request: Request, body: bytes) -> None:
        call = WorkerCall(self, request, self._caller(bytes(request.caller)))
        bound = self._methods.get(request.method)
        try:
            if bound is None:
                raise unavailable(f"{request.method} is not served by {self.name}")
            if self.is_draining and bound.scope != "read":
                raise unavailable(f"{self.name} is being replaced")
            result = bound(call, body)
        except RpcError as error:
            call.fail(error)
        except Exception as error:  # noqa: BLE001 - told to the caller and logged
            self._report(call, error)
        else:
            if bound.is_async:
                task = self.tasks.create_task(self._finish(call, result), name=request.method)
                self._handling[call.call_id] = task
            else:
                self._succeed(call, result)

    async def _finish(self, call: WorkerCall, result: Awaitable[Any]) -> None:
        try:
            self._succeed(call, await result)
        except RpcError as error:
            call.fail(error)
        except Exception as error:  # noqa: BLE001 - told to the caller and logged
            self._report(call, error)
        finally:
            self._handling.pop(call.call_id, None)

    def _succeed(self, call: WorkerCall, result: Any) -> None:
        self.progress["handled_count"] = next(self._handled)
        call.succeed(result)

    def _report(self, call: WorkerCall, error: Exception) -> None:
        self.log.exception("method failed", method=call.method, caller=call.caller.id)
        text = f"{type(error).__name__}: {error}"[:240]
        call.fail(RpcError(UNAVAILABLE, text))

    def _caller(self, encoded: bytes) -> Caller:
        caller = self._callers.get(encoded)
        if caller is None:
            if len(self._callers) > 1024:  # noqa: PLR2004 - far more than are connected at a time
                self._callers.clear()
            caller = self._callers[encoded] = _decode_caller(encoded)
        return caller

    # Life of the process

    async def serve(self) -> None:
        """Runs until told to stop; returns after the service has stopped."""
        # Not to be guessed: who connects with our identity would be taken for us.
        secret = os.urandom(8).hex()
        identity = f"{self.name}.{os.getpid()}.{self._started_ms}.{secret}".encode()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        async with asyncio.TaskGroup() as self.tasks:
            self.peer = Peer(self.paths.bus_endpoint, identity, self.receive, self._on_connected)
            self._methods = await self._service.start(self)
            self._is_started = True
            loop.add_signal_handler(signal.SIGUSR1, self._begin_drain)
            self.announce(is_first=True)
            beat = self.tasks.create_task(self._beat(), name="beat")
            await self._stopping.wait()
            await self._stop()
            beat.cancel()
            for task in (*self._handling.values(), *self._spawned):
                task.cancel()
        self.peer.close()

    def _on_connected(self) -> None:
        if self._is_started:
            self.announce(is_first=True)

    def _begin_drain(self) -> None:
        if not self.is_draining:
            self.is_draining = True
            self.log.info("draining")
            self.announce()
            self.tasks.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_BUDGET_S):
                await self._service.drain()
        except TimeoutError:
            self.log.warning("drain budget spent", budget_s=DRAIN_BUDGET_S)
        self._stopping.set()

    async def _stop(self) -> None:
        self.is_draining = True
        try:
            async with asyncio.timeout(STOP_BUDGET_S):
                await self._service.stop()
        except TimeoutError:
            self.log.warning("stop budget spent", budget_s=STOP_BUDGET_S)
        self.peer.send(Goodbye("stopping"))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        page_bytes = os.sysconf("SC_PAGE_SIZE")
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.progress["lag_ms"] = round((loop.time() - due) * 1000, 1)
            self.progress["rss_bytes"] = _resident_pages() * page_bytes
            self.progress["cpu_s"] = round(time.process_time(), 2)
            self.announce()


def _resident_pages() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read every second
        return int(file.read().split()[1])


def run(name: str, service: Service) -> int:
    """The whole life of worker process `name`; returns its exit code."""
    paths = resolve()
    logs.configure(name)
    try:
        loaded, error = load_or_last_good(paths)
    except ConfigError as broken:
        logs.Log(name).error("config cannot be used", error=str(broken))
        return MISCONFIGURED
    logs.set_level(log_level(loaded.settings.logging.level))
    if error is not None:
        logs.Log(name).error("config is broken, using the last good one", error=str(error))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Worker(name, paths, loaded, service).serve())
    except Exception:  # noqa: BLE001 - the supervisor starts the process again
        logs.Log(name).exception("worker failed")
        return FAILED
    return 0
