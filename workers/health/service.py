"""The health worker: log and config for clients; watches disk, clocks, processes, workers."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bus.errors import unavailable
from bus.rpc import Bound, Call, Methods, Params, Scope
from conf.environment import supervisor_pid
from workers.health import findings, log_tail, machine
from workers.health.absent_methods import AbsentMethods
from workers.health.config_methods import ConfigMethods
from workers.health.recovery import Observation, Problem, Recovery
from workers.health.restart import Restarts
from workers.runtime import Service, Worker

LOOK_S = 5.0
FOLLOW_UP_S = 1.0
"""While a worker is being ended we look more often than the front reports."""
FRESH_S = 6.0
"""The front reports every 5 s; an older report proves nothing."""


class TailParams(Params, frozen=True):
    """Where to read the log, and how much of it."""

    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 500
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 250_000


class TailResult(msgspec.Struct, frozen=True):
    """Lines of the log; all members are always there."""

    file: str
    cursor: int
    size: int
    lines: tuple[str, ...]
    truncated: bool
    reset: bool


class WorkerRow(msgspec.Struct, frozen=True, rename="camel"):
    """A worker as the front reports it."""

    name: str
    state: str
    pid: int | None = None


class WorkersReport(msgspec.Struct, frozen=True):
    """The payload of topic `workers`."""

    workers: tuple[WorkerRow, ...]


_decode_report = msgspec.json.Decoder(WorkersReport).decode


class Health:
    """The health worker's part in the runtime."""

    topics: tuple[str, ...] = ("workers",)
    methods = Methods()

    def __init__(self) -> None:
        self._supervisor_pid = supervisor_pid() or os.getppid()
        self._recovery = Recovery("health")
        self._tree = findings.Tree(self._supervisor_pid)
        self._clocks = findings.Clocks()
        self._rows: tuple[WorkerRow, ...] = ()
        self._reported_at = 0.0
        self._problems: dict[str, Problem] = {}
        self._worker: Worker
        self._restarts: Restarts

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        """Takes a first look and goes on looking."""
        self._worker = worker
        self._look()
        worker.spawn(self._watch(), "watch")
        self._restarts = Restarts(worker, supervisor_pid())
        config = ConfigMethods(worker, self._restarts)
        return {
            **self.methods.bind(self),
            **ConfigMethods.methods.bind(config),
            **AbsentMethods.methods.bind(AbsentMethods()),
        }

    @methods.method("logs.tail", scope=Scope.READ)
    async def tail(self, call: Call, params: TailParams) -> TailResult:
        """The newest lines of the log, or what was written behind a cursor."""
        path = self._worker.paths.log
        try:
            # A slow disk must not keep this worker from beating.
            tail = await asyncio.to_thread(
                log_tail.read, path, params.cursor, params.limit, params.max_bytes
            )
        except OSError as error:
            raise unavailable(f"log read failed: {path}: {error.strerror}", None) from error
        return TailResult(str(path), tail.cursor, tail.size, tail.lines, tail.truncated, tail.reset)

    def on_event(self, topic: str, payload: bytes) -> None:
        """Judges the workers by what the front heard of them."""
        if topic != "workers":
            return
        try:
            self._rows = _decode_report(payload).workers
        except msgspec.DecodeError as error:
            self._worker.log.warning("report about workers not understood", error=str(error))
            return
        self._reported_at = time.monotonic()
        if any(row.name == "agent" and row.state == "ready" for row in self._rows):
            self._restarts.deliver()
        self._recover()

    async def drain(self) -> None:
        """Every answer is short; a restart that was promised is asked for now."""
        self._restarts.flush()

    async def stop(self) -> None:
        """What is durable is so already; a restart that was promised is asked for now."""
        self._restarts.flush()

    async def _watch(self) -> None:
        due = time.monotonic() + LOOK_S
        while not self._worker.is_draining:
            await asyncio.sleep(FOLLOW_UP_S if self._recovery.problems() else LOOK_S)
            if self._recovery.problems() and time.monotonic() - self._reported_at < FRESH_S:
                self._recover()
            if time.monotonic() >= due:
                due = time.monotonic() + LOOK_S
                self._look()

    def _look(self) -> None:
        """Measures, and reports what changed."""
        paths = self._worker.paths
        wall_s, steady_s = machine.clocks()
        jump_s = self._clocks.compare(wall_s, steady_s)
        if jump_s is not None:
            self._worker.log.warning("system clock jumped", seconds=round(jump_s, 1))
        disk = machine.disk(paths.state_dir)
        children = machine.tree(self._supervisor_pid)
        self._report(
            disk,
            [
                *findings.disk_problems(disk, str(paths.state_dir)),
                *findings.log_problems(machine.logs_bytes(paths.log_dir), str(paths.log_dir)),
                *self._clocks.problems(steady_s),
                *self._tree.problems(children, time.monotonic()),
                *self._recovery.problems(),
            ],
        )

    def _recover(self) -> None:
        """Ends the workers that hang."""
        observations = [self._observation(row) for row in self._rows]
        for action in self._recovery.observe(observations, time.monotonic()):
            was_sent = machine.send(action, self._supervisor_pid)
            self._worker.log.error(
                "hung worker signalled" if was_sent else "hung worker was gone already",
                worker=action.name,
                worker_pid=action.process.pid,
                signal=action.signal.value,
            )

    def _observation(self, row: WorkerRow) -> Observation:
        process = machine.child_of(self._supervisor_pid, row.pid) if row.pid else None
        return Observation(row.name, row.state, process)

    def _report(self, disk: findings.Disk, problems: list[Problem]) -> None:
        """Tells the front everything, and the log what is new or over."""
        current = {problem.id: problem for problem in problems}
        for name in current.keys() - self._problems.keys():
            self._worker.log.warning("problem found", problem=name, text=current[name].text)
        for name in self._problems.keys() - current.keys():
            self._worker.log.info("problem is over", problem=name)
        self._problems = current
        rows: list[dict[str, Any]] = [
            {"id": one.id, "severity": one.severity, "text": one.text} for one in problems
        ]
        self._worker.snapshot("health", {"problems": rows, "status": {"disk": disk.told()}})


def build() -> Service:
    """The service `python -m workers health` runs."""
    return Health()
