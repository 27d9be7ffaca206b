"""Run processes as the agent worker sees them: prepare, go, reports, kill."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from workers.agent import tree
from workers.agent.contract import Spec
from workers.agent.link import (
    LONGEST_MESSAGE_BYTES,
    Born,
    Gone,
    Kill,
    Kind,
    Order,
    Preload,
    Spawn,
    SpawnerLink,
    Unborn,
    decode_notice,
    encode,
)
from workers.agent.run_process import Ends, RunnerError, RunProcess
from workers.agent.shared_model import SharedModel

BIRTH_BUDGET_S = 15.0
"""A spawner that takes longer (it may be importing an SDK, seconds on a busy machine) is hung."""
CLOSE_BUDGET_S = 1.0
SPAWNER_END_BUDGET_S = 0.3
ORPHANS_BUDGET_S = 2.0
POLL_S = 0.005
SPEC_MAY_HAVE_BYTES = 67_108_864

SpawnTask = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class SpawnerLostError(Exception):
    """The spawner died; the agent worker cannot fork another and must be restarted."""


class Runner:
    """Makes and ends run processes through the spawner.

    `worker_spawn` runs a task whose failure ends the worker (`Worker.spawn`).
    """

    def __init__(self, link: SpawnerLink, worker_spawn: SpawnTask) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._births: dict[int, asyncio.Future[Born]] = {}
        self._processes: dict[int, RunProcess] = {}
        self._outbox: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._children_before = frozenset(tree.children(os.getpid())) - {link.pid}
        self._lost = asyncio.Event()
        self._is_closing = False
        self._model = SharedModel(self._spawn_model, worker_spawn)
        self._loop.add_reader(link.socket, self._receive)
        self._watch = worker_spawn(self._watch_spawner(), "spawner")

    # What the agent worker uses

    def preload(self, apis: tuple[str, ...]) -> None:
        """Has the spawner import what runs of these apis need; a run then starts faster."""
        self._post(Preload(apis))

    async def prepare(self, spec: Spec) -> RunProcess:
        """A process that has `spec` and waits for `go()`; its pid and start are known.

        Whoever prepares a process iterates `reports()` to the end, or awaits `discard()`.
        Raises RunnerError when there can be no process.
        """
        body = msgspec.msgpack.encode(spec)
        if len(body) > SPEC_MAY_HAVE_BYTES:
            raise RunnerError(f"the conversation has {len(body)} bytes: too long for one run")
        if spec.provider.api != "local-gguf":
            return await self._spawn("run", body, spec.max_output_bytes)
        async with self._model.needed(Path(spec.model_socket)) as hold:
            process = await self._spawn("run", body, spec.max_output_bytes)
            process.on_gone(hold.keep())
            return process

    @property
    def model_pid(self) -> int | None:
        """The shared local model process, while there is one."""
        return self._model.pid

    async def close(self) -> None:
        """Kills every process, waits until they are gone, and ends the spawner. Once is enough."""
        if self._is_closing:
            return
        self._is_closing = True
        self._model.close()
        for process in self._processes.values():
            process.kill()
        await _poll(lambda: not self._processes or self._lost.is_set(), CLOSE_BUDGET_S)
        self._watch.cancel()
        self._unlink()
        await _poll(self._has_reaped_spawner, SPAWNER_END_BUDGET_S)

    # Making a process

    async def _spawn_model(self, listener: socket.socket) -> RunProcess:
        return await self._spawn("model", b"", 0, listener.fileno())

    async def _spawn(self, kind: Kind, spec: bytes, max_output: int, *extra: int) -> RunProcess:
        if self._lost.is_set() or self._is_closing:
            raise RunnerError("the agent worker is stopping")
        process_id = next(self._ids)
        ends = Ends.make(spec)
        birth = self._births[process_id] = self._loop.create_future()
        self._post(Spawn(process_id, kind), (*ends.theirs, *map(os.dup, extra)))
        try:
            async with asyncio.timeout(BIRTH_BUDGET_S):
                born = await birth
        except BaseException as error:
            self._post(Kill(process_id))
            ends.close()
            if isinstance(error, TimeoutError):
                self._lost.set()
                raise RunnerError("the spawner does not answer") from None
            raise
        finally:
            self._births.pop(process_id, None)
        process = RunProcess(born, ends, max_output, lambda: self._post(Kill(process_id)))
        self._processes[process_id] = process
        return process

    # The link

    def _post(self, order: Order, descriptors: tuple[int, ...] = ()) -> None:
        """Sends an order, or queues it: at most a few per process are ever waiting."""
        self._outbox.append((encode(order), descriptors))
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            body, descriptors = self._outbox[0]
            try:
                socket.send_fds(self._link.socket, [body], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._link.socket, self._flush)
                return
            except OSError:
                self._lost.set()
            self._outbox.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        if self._link.socket.fileno() >= 0:
            self._loop.remove_writer(self._link.socket)

    def _receive(self) -> None:
        while True:
            try:
                body = self._link.socket.recv(LONGEST_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self._loop.remove_reader(self._link.socket)
                self._lost.set()
                return
            self._take(body)

    def _take(self, body: bytes) -> None:
        match decode_notice(body):
            case Born(id=process_id) as born:
                birth = self._births.get(process_id)
                if birth is not None and not birth.done():
                    birth.set_result(born)
            case Unborn(id=process_id, error=error):
                birth = self._births.get(process_id)
                if birth is not None and not birth.done():
                    birth.set_exception(RunnerError(error))
            case Gone(id=process_id, status=status):
                process = self._processes.pop(process_id, None)
                if process is not None:
                    process.bury(status)

    def _unlink(self) -> None:
        self._loop.remove_reader(self._link.socket)
        self._loop.remove_writer(self._link.socket)
        self._link.socket.close()

    # The spawner's end

    async def _watch_spawner(self) -> None:
        await self._lost.wait()
        if self._is_closing:
            return
        await self._end_orphans()
        for birth in self._births.values():
            if not birth.done():
                birth.set_exception(RunnerError("the spawner died"))
        for process in self._processes.values():
            process.bury(-9)
        self._processes.clear()
        raise SpawnerLostError("the spawner of the run processes died; restarting the worker")

    async def _end_orphans(self) -> None:
        """Ends the spawner, should it hang, and what it left: its runs died with it."""
        tree.kill([self._link.pid])
        await _poll(self._has_ended_orphans, ORPHANS_BUDGET_S)

    def _has_ended_orphans(self) -> bool:
        left = set(tree.children(os.getpid())) - self._children_before
        for pid in left:
            tree.kill_tree(pid)
        _reap(left | {self._link.pid})
        return not left

    def _has_reaped_spawner(self) -> bool:
        _reap({self._link.pid})
        return tree.start_time(self._link.pid) is None


async def _poll(condition: Callable[[], bool], budget_s: float) -> None:
    """Waits until `condition` holds, or `budget_s` has passed."""
    deadline = time.monotonic() + budget_s
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel's state
        await asyncio.sleep(POLL_S)


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
