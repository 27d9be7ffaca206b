"""The front's end of a real bus, answering `agent` as a test wants, and a worker process on it."""

import asyncio
import itertools
import json
import os
import secrets
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from bus.broker import Broker
from bus.capabilities import refusal
from bus.errors import RpcError
from bus.messages import (
    Caller,
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
from bus.rpc import error_frame, read_response, result_frame
from conf.paths import Paths, resolve
from conf.private import create_private, private_directory
from tests.kit.eventually import eventually

Answer = Callable[[dict[str, Any]], str | RpcError]


def final(run_id: str, text: str) -> dict[str, Any]:
    """The final payload of a run that ended well."""
    payloads = [{"text": text, "mediaUrl": None}]
    result = {"payloads": payloads, "meta": {"durationMs": 1}}
    return {"runId": run_id, "status": "ok", "summary": "completed", "result": result}


class StandInFront:
    """Welcomes workers, plays the agent, and calls methods as a client would."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.answer: Answer = lambda params: f"echo: {params['message']}"
        self.asked: list[dict[str, Any]] = []
        self.runs: Counter[str] = Counter()
        self.is_holding = False
        self.held: list[tuple[bytes, Request, dict[str, Any]]] = []
        self.ready: Ready | None = None
        self.snapshots: dict[str, Any] = {}
        self.refused: list[str] = []
        self._identity = b""
        self._epoch = secrets.randbelow(1 << 30)
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._broker = Broker(paths.bus_endpoint, self._receive, self._garbage, lambda _: None)

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Calls a method of the worker; raises the RpcError it answers."""
        await eventually(lambda: self.ready, "a worker is ready")
        call_id = next(self._ids)
        future = self._calls[call_id] = asyncio.get_running_loop().create_future()
        caller = msgspec.Raw(msgspec.msgpack.encode(Caller("client", "test")))
        request = Request(call_id, method, '"t"', caller, 30_000)
        self._broker.send(self._identity, request, msgspec.json.encode(params or {}))
        async with asyncio.timeout(35):
            return msgspec.json.decode(read_response(await future))

    def release(self) -> None:
        """Answers what was held, and holds no more."""
        self.is_holding = False
        for identity, request, params in self.held:
            self._answer(identity, request, params)
        self.held.clear()

    def close(self) -> None:
        self._broker.close()

    def _garbage(self, _identity: bytes, reason: str) -> None:
        raise AssertionError(f"garbage on the bus: {reason}")

    def _receive(self, identity: bytes, message: Message, body: bytes) -> None:
        match message:
            case Ready():
                reason = refusal(message, self.paths.bus_key.read_bytes())
                if reason is not None:
                    self.refused.append(reason)
                    self._broker.send(identity, Refused(reason))
                    return
                self.ready, self._identity = message, identity
                self._broker.send(identity, Welcome(self._epoch))
            case Goodbye():
                if identity == self._identity:
                    self.ready = None
            case Snapshot():
                self.snapshots[message.part] = json.loads(body)
            case Reply():
                self._calls.pop(message.call_id).set_result(body)
            case Request(method="agent"):
                self._asked(identity, message, json.loads(body))
            case _:
                pass

    def _asked(self, identity: bytes, request: Request, params: dict[str, Any]) -> None:
        self.asked.append(params)
        run_id = params["idempotencyKey"]
        accepted = {"runId": run_id, "status": "accepted", "acceptedAt": 1}
        if self.is_holding:
            self.held.append((identity, request, params))
            frame = result_frame(request.frame_id, accepted)
            self._broker.send(identity, Partial(request.call_id), frame)
        else:
            self._answer(identity, request, params)

    def _answer(self, identity: bytes, request: Request, params: dict[str, Any]) -> None:
        answer = self.answer(params)
        if isinstance(answer, RpcError):
            reply = Reply(request.call_id, ok=False)
            self._broker.send(identity, reply, error_frame(request.frame_id, answer))
            return
        run_id = params["idempotencyKey"]
        self.runs[run_id] += 1
        frame = result_frame(request.frame_id, final(run_id, answer))
        self._broker.send(identity, Reply(request.call_id, ok=True), frame)


class ChannelsProcess:
    """A real channels worker process; its log is kept."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._process: asyncio.subprocess.Process | None = None
        self._started: list[asyncio.subprocess.Process] = []
        self._log = (paths.state_dir / "worker.log").open("ab")

    async def start(self) -> None:
        root = Path(__file__).parents[3]
        env = {"GATEWAYD_STATE_DIR": str(self.paths.state_dir), "HOME": os.environ["HOME"]}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "workers", "channels", cwd=root,
            env={**env, "PATH": os.environ["PATH"]}, stdout=self._log, stderr=self._log,
        )  # fmt: skip

        self._started.append(self._process)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        async with asyncio.timeout(10):
            return await process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def maps(self) -> str:
        """The files mapped into the process, so the extension modules it has imported."""
        return Path(f"/proc/{self.pid}/maps").read_text()

    def log(self) -> str:
        return (self.paths.state_dir / "worker.log").read_text()

    async def close(self) -> None:
        """Kills and reaps whatever was started and still runs."""
        for process in self._started:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._log.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What channels.db holds, read from outside."""
        path = self.paths.database("channels")
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            try:
                found = database.execute(query).fetchall()
            except sqlite3.OperationalError:  # not created yet
                return []
        database.close()
        return found


def profile(state_dir: Path, channels: dict[str, Any]) -> Paths:
    """A profile with this `channels` section."""
    paths = resolve(environ={"GATEWAYD_STATE_DIR": str(state_dir), "HOME": str(state_dir)})
    private_directory(paths.state_dir)
    private_directory(paths.run_dir)
    create_private(paths.bus_key, secrets.token_bytes(32))
    paths.config.write_text(json.dumps({"channels": channels}))
    return paths


@asynccontextmanager
async def channels_worker(
    state_dir: Path, telegram: dict[str, Any] | None
) -> AsyncIterator[tuple[StandInFront, ChannelsProcess]]:
    """A front and a worker process, started; both are gone afterwards."""
    paths = profile(state_dir, {} if telegram is None else {"telegram": telegram})
    front, process = StandInFront(paths), ChannelsProcess(paths)
    try:
        await process.start()
        yield front, process
    finally:
        await process.close()
        front.close()
