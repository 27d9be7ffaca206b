"""All runs that have not ended: admission, lanes, waiting, aborts, and what a restart finds."""

import asyncio
import sqlite3
import time
import uuid
from typing import Any

from msgspec.structs import replace

from bus.errors import RpcError, unavailable
from workers.agent import tables
from workers.agent.clock import now_ms
from workers.agent.execution import Active, Execution
from workers.agent.lanes import Lanes
from workers.agent.ledger import RunState, Stop, abort_stop, restart_stop
from workers.agent.pacing import ASSISTANT_INTERVAL_MS
from workers.agent.records import NewRun, Run, Session, SessionEntry
from workers.agent.runner import Runner
from workers.agent.sessions import Sessions, spoken
from workers.agent.streams import RunStream
from workers.runtime import Worker
from workers.store import Store

QUEUE_RETRY_MS = 5_000
WAITERS_CAP_COUNT = 10_000
STOP_BUDGET_S = 1.0
KEPT_MS = 30 * 24 * 3_600_000
"""How long the ledger remembers a run, and with it the answer to its idempotency key."""


class Runs:
    """The runs of this worker."""

    def __init__(self, worker: Worker, store: Store, sessions: Sessions, runner: Runner) -> None:
        self._worker = worker
        self._store = store
        self._sessions = sessions
        self._execution = Execution(worker, store, sessions, runner)
        self._lanes = Lanes(worker.settings.agents.defaults.max_concurrent)
        self._active: dict[str, Active] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._strangers: dict[str, set[asyncio.Future[Run]]] = {}
        self._strangers_count = 0
        self._left: list[Run] = []
        self._untold: list[tuple[str, Any]] = []
        self._is_closing = False
        self._done_count = 0
        self._count()

    # What methods use

    async def accept(self, new: NewRun) -> tuple[Active | Run, bool]:
        """The run with this id and whether it is new; the ledger has it when this returns.

        A run that ended comes back as its row. Raises RpcError when no more can be queued.
        """
        known = self._active.get(new.run_id)
        if known is not None:
            await asyncio.shield(known.committed)
            return known, False
        ended = self.find(new.run_id)
        if ended is not None:
            if ended.ended_at is None:  # left for the next life of this worker
                raise unavailable("the agent worker is being replaced")
            return ended, False
        refusal = self._lanes.refusal(new.session_key)
        if refusal is not None:
            raise unavailable(refusal, QUEUE_RETRY_MS)
        active = self._enter(new)
        try:
            await asyncio.shield(active.committed)
        except BaseException:
            active.released.set()
            raise
        return active, True

    def find(self, run_id: str) -> Run | None:
        """The ledger's row of a run."""
        active = self._active.get(run_id)
        if active is not None:
            return active.run
        return self._store.read(lambda db: tables.find_run(db, run_id))

    async def end_of(self, run_id: str, timeout_s: float) -> Run | None:
        """The run once it has ended, also one that is not there yet; None after `timeout_s`."""
        active = self._active.get(run_id)
        if active is None:
            run = self.find(run_id)
            if run is not None and run.ended_at is not None:
                return run
        if timeout_s <= 0:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                if active is not None:
                    return await asyncio.shield(active.ended)
                return await self._stranger(run_id)
        except TimeoutError:
            return None

    def abort(self, session_key: str, run_id: str | None, reason: str) -> list[str]:
        """Aborts one run of a session, or all; returns those that will end `aborted`."""
        candidates = [one for one in self._active.values() if one.run.session_key == session_key]
        stop = abort_stop(reason)
        aborted = []
        for active in candidates:
            if run_id in (None, active.run.run_id) and active.request_stop(stop):
                aborted.append(active.run.run_id)
                self._end_if_queued(active, stop)
        return aborted

    async def quiet(self, session_key: str, timeout_s: float) -> bool:
        """Aborts what runs in a session; True once nothing of it does, False after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while waiting := self._unfinished(session_key):
                    self.abort(session_key, None, "rpc")
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return False
        return True

    def _unfinished(self, session_key: str) -> list[asyncio.Future[Any]]:
        """What to wait for until the session's runs are gone."""
        runs = [one.run for one in self._active.values() if one.run.session_key == session_key]
        tasks = [self._tasks.get(run.run_id) for run in runs]
        # A run in a lane has a task; one that waits for its lane ends when it is aborted.
        return [
            task or self._active[run.run_id].ended for task, run in zip(tasks, runs, strict=True)
        ]

    def active_session(self, run_id: str) -> str | None:
        """The session of a run that has not ended."""
        active = self._active.get(run_id)
        return active.run.session_key if active is not None else None

    # Life of the worker

    async def recover(self) -> None:
        """Resolves what an earlier life left; `resume` does what must wait for the bus."""
        unfinished = self._store.read(tables.unfinished_runs)
        for run in unfinished:
            if run.state is RunState.RUNNING:
                stream = RunStream(self._tell_later, run, _seq_bound(run, now_ms()))
                await self._execution.end_interrupted(run, stream)
            else:
                self._left.append(run)
        forgotten = now_ms() - KEPT_MS
        await self._store.write(lambda db: tables.forget_runs(db, forgotten))
        if unfinished:
            left = len(self._left)
            self._worker.log.warning(
                "unfinished runs found", interrupted=len(unfinished) - left, queued_again=left
            )

    async def resume(self) -> None:
        """Tells clients what `recover` ended and queues again what never began."""
        for topic, payload in self._untold:
            self._worker.publish(topic, payload)
        self._untold.clear()
        for run in self._left:
            active = self._queue(run)
            active.committed.set_result(None)
            active.released.set()
        self._left.clear()

    def _tell_later(self, topic: str, payload: Any, *, drop_if_slow: bool = False) -> None:
        if not drop_if_slow:
            self._untold.append((topic, payload))

    async def drain(self) -> None:
        """Starts nothing new; returns when all that run have ended."""
        self._is_closing = True
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        """Ends what runs, durably; what has not begun stays accepted."""
        self._is_closing = True
        for active in list(self._active.values()):
            task = self._tasks.get(active.run.run_id)
            if active.process is not None:
                active.request_stop(restart_stop())
            elif task is not None:
                task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=STOP_BUDGET_S)
        for task in list(self._tasks.values()):
            task.cancel()

    # Admission

    def _enter(self, new: NewRun) -> Active:
        now = now_ms()
        session = self._ensure_session(new, now)
        run = Run(
            run_id=new.run_id,
            kind=new.kind,
            session_key=session.key,
            session_id=session.session_id,
            agent_id=session.agent_id,
            params=new.params,
            state=RunState.ACCEPTED,
            accepted_at=now,
            origin=new.origin,
        )
        active = self._queue(run)
        self._worker.spawn(self._write(active, session), f"accept {run.run_id}")
        return active

    def _ensure_session(self, new: NewRun, now: int) -> Session:
        said = {
            name: value
            for name in new.entry.__struct_fields__
            if (value := getattr(new.entry, name)) != getattr(SessionEntry(), name)
        }
        known = self._sessions.get(new.session_key)
        if known is None:
            known = Session(new.session_key, str(uuid.uuid4()), new.agent_id, now)
        entry = spoken(replace(known.entry, **said), new.params.message)
        session = replace(known, updated_at=max(now, known.updated_at), entry=entry)
        self._sessions.put(session)
        return session

    async def _write(self, active: Active, session: Session) -> None:
        run = active.run

        def job(db: sqlite3.Connection) -> None:
            tables.put_session(db, session)
            tables.add_run(db, run)

        try:
            await self._store.write(job)
        except (sqlite3.Error, RpcError) as error:
            self._worker.log.warning("cannot accept a run", run_id=run.run_id, error=str(error))
            if self._lanes.withdraw(run.run_id, run.session_key):
                self._forget(active)
            refused = unavailable(f"the run cannot be stored: {error}", QUEUE_RETRY_MS)
            active.committed.set_exception(refused)
            active.committed.exception()  # looked at, should nobody wait for it
        else:
            active.committed.set_result(None)

    def _queue(self, run: Run) -> Active:
        active = self._active[run.run_id] = Active(run, RunStream(self._worker.publish, run))
        self._lanes.add(
            run.run_id,
            run.session_key,
            is_background=run.params.is_background,
            now_s=time.monotonic(),
        )
        self._start_next()
        return active

    # Lanes

    def _start_next(self) -> None:
        if not self._is_closing:
            for run_id in self._lanes.start(time.monotonic()):
                active = self._active[run_id]
                self._tasks[run_id] = self._worker.spawn(self._hold(active), f"run {run_id}")
        self._count()

    async def _hold(self, active: Active) -> None:
        """Holds the lane of a run until its process is gone."""
        try:
            await active.committed
            await active.released.wait()
            if active.stop is not None:
                await self._execution.end_stopped(active, active.stop)
            elif not self._is_closing:
                await self._execution.execute(active)
        except Exception:
            if active.committed.exception() is None:
                raise  # the worker ends, and its next life resolves this run
        finally:
            self._leave(active)

    def _end_if_queued(self, active: Active, stop: Stop) -> None:
        """A run that holds no lane ends at once; one that does ends with its process."""
        run = active.run
        if self._lanes.withdraw(run.run_id, run.session_key):
            self._tasks[run.run_id] = self._worker.spawn(
                self._end_queued(active, stop), f"abort {run.run_id}"
            )

    async def _end_queued(self, active: Active, stop: Stop) -> None:
        try:
            await active.committed
            await active.released.wait()
            await self._execution.end_stopped(active, stop)
        except Exception:
            if active.committed.exception() is None:
                raise
        finally:
            self._leave(active)

    def _leave(self, active: Active) -> None:
        run = active.run
        self._lanes.leave(run.run_id)
        self._tasks.pop(run.run_id, None)
        self._forget(active)
        if run.ended_at is not None:
            self._done_count += 1
            for stranger in self._strangers.get(run.run_id, ()):
                if not stranger.done():
                    stranger.set_result(run)
        self._start_next()

    def _forget(self, active: Active) -> None:
        self._active.pop(active.run.run_id, None)

    def _count(self) -> None:
        progress = self._worker.progress
        progress["runs_running"] = self._lanes.running_count
        progress["runs_queued"] = self._lanes.queued_count
        progress["runs_done_count"] = self._done_count

    # Waiting for a run that nobody has asked for yet

    async def _stranger(self, run_id: str) -> Run:
        if self._strangers_count >= WAITERS_CAP_COUNT:
            raise unavailable("too many calls wait for runs; try again later", QUEUE_RETRY_MS)
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        waiting = self._strangers.setdefault(run_id, set())
        waiting.add(future)
        self._strangers_count += 1
        try:
            return await future
        finally:
            self._strangers_count -= 1
            waiting.discard(future)
            if not waiting and self._strangers.get(run_id) is waiting:
                del self._strangers[run_id]


def _seq_bound(run: Run, now: int) -> int:
    """At least the number of events a run can have had: one per pacing interval, and the start."""
    return 2 + max(0, now - (run.started_at or now)) // ASSISTANT_INTERVAL_MS
