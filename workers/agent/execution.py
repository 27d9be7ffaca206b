"""One run from accepted to its end: prompt, process, stream, transcript, ledger."""

import asyncio
import os
import sqlite3
from dataclasses import dataclass

from msgspec.structs import replace

from bus.errors import RpcError
from conf.paths import Paths
from conf.schema import Settings
from workers.agent import answers, models, prompt, spending, tables, transcript, tree, workspace
from workers.agent.clock import now_ms
from workers.agent.contract import Delta, Done, Exit, Failed, Spec, Turn
from workers.agent.ledger import (
    RunState,
    Stop,
    Verdict,
    move,
    restart_stop,
    timeout_stop,
    verdict,
)
from workers.agent.records import Entry, Run, Session, Spent
from workers.agent.run_process import RunnerError, RunProcess
from workers.agent.runner import Runner
from workers.agent.sessions import Sessions, spoken
from workers.agent.streams import RunStream
from workers.runtime import Worker
from workers.store import Store

COMMIT_RETRY_S = 1.0
LONGEST_TIMER_MS = 2_147_000_000
HISTORY_ENTRIES = 500
"""Turns looked at for a prompt, whatever their length."""
EXIT_BUDGET_S = 2.0
"""How long a process may take to end after its last word, and a killed one to be gone."""


class Active:
    """A run that has not ended, as this process holds it."""

    def __init__(self, run: Run, stream: RunStream) -> None:
        loop = asyncio.get_running_loop()
        self.run = run
        self.stream = stream
        self.committed: asyncio.Future[None] = loop.create_future()
        """Set when the ledger has the run, or to what prevented it."""
        self.released = asyncio.Event()
        """Set when the first answer was sent: only then events may leave."""
        self.ended: asyncio.Future[Run] = loop.create_future()
        self.stop: Stop | None = None
        self.process: RunProcess | None = None
        self.model: tuple[str, str, int] | None = None
        """Provider, model and context size that answer, once that is decided."""
        self.is_answered = False
        """The process said its last word; too late to stop it."""

    def request_stop(self, stop: Stop) -> bool:
        """Has the run end early; False if it is ending already."""
        if self.stop is not None or self.is_answered:
            return False
        self.stop = stop
        if self.process is not None:
            self.process.kill()
        if stop.state is not RunState.ERROR:
            self.stream.abort(stop.reason)
        return True


@dataclass(frozen=True)
class _Prompt:
    """What was made of a run, its session and what waits for it."""

    spec: Spec
    events: tuple[str, ...]
    last_event: int
    context_tokens: int


class Execution:
    """Takes runs to their ends."""

    def __init__(self, worker: Worker, store: Store, sessions: Sessions, runner: Runner) -> None:
        self._settings: Settings = worker.settings
        self._paths: Paths = worker.paths
        self._log = worker.log
        self._store = store
        self._sessions = sessions
        self._runner = runner

    async def execute(self, active: Active) -> None:
        """Runs `active` to its end; returns when its process is gone and the end committed."""
        try:
            made = self._prompt(active.run)
            active.model = (made.spec.provider_id, made.spec.model, made.context_tokens)
            process = await self._runner.prepare(made.spec)
        except (models.ModelError, RunnerError, OSError) as error:
            self._log.warning("run cannot start", run_id=active.run.run_id, error=str(error))
            await self._end_unstarted(active, error)
            return
        except Exception as error:  # noqa: BLE001 - else this run would end every life of the worker
            self._log.exception("run cannot be prepared", run_id=active.run.run_id)
            await self._end_unstarted(active, error)
            return
        try:
            active.process = process
            await self._begin(active, process, made)
            end = await self._observe(active, process)
        except BaseException:
            await process.discard()
            raise
        await self._finish(active, end)

    async def _end_unstarted(self, active: Active, error: Exception) -> None:
        text = str(error) or type(error).__name__
        failed = Stop(RunState.ERROR, "error", text)
        await self.end_stopped(active, active.stop or failed)

    async def end_stopped(self, active: Active, stop: Stop) -> None:
        """Ends a run that never had a process."""
        await self._finish(active, Verdict(stop.state, "", stop.text, stop.reason))

    async def end_interrupted(self, run: Run, stream: RunStream) -> None:
        """Ends a run that another life of this worker left running."""
        if run.pid is not None and run.pid_started is not None:
            below = tree.descendants(run.pid)
            # Not our child any more, so the pid may be another's by now: judged by start time.
            if tree.kill_if_same(run.pid, run.pid_started):
                self._log.warning("killed what a run left", run_id=run.run_id, pid=run.pid)
                tree.kill(below)
                await self._gone(run.pid)
        await self.end_stopped(Active(run, stream), restart_stop())

    async def _gone(self, pid: int) -> None:
        """Waits for the end of a process that is not our child."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(handle, gone.set)
        try:
            async with asyncio.timeout(EXIT_BUDGET_S):
                await gone.wait()
        except TimeoutError:
            self._log.error("a killed process is still there", pid=pid)
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    # Before the process is let go

    def _prompt(self, run: Run) -> _Prompt:
        session = self._sessions.get(run.session_key)
        choice = models.choose(self._settings, run.agent_id, session)
        agent = models.agent_entry(self._settings, run.agent_id)
        defaults = self._settings.agents.defaults
        name = (agent.identity.name or agent.name if agent else None) or run.agent_id
        system = prompt.system_text(name, defaults.system_prompt, run.params.extra_system_prompt)
        waiting = self._store.read(lambda db: tables.system_events(db, run.session_key))
        events = tuple(text for _, text in waiting)
        types = (transcript.MESSAGE, transcript.EVENTS)
        message = prompt.with_events(run.params.message, events)
        budget = prompt.budget_chars(choice.context_tokens, system)

        def conversation(db: sqlite3.Connection) -> tuple[Turn, ...]:
            bodies = tables.newest_entries(db, run.session_id, types, HISTORY_ENTRIES)
            return prompt.fit(transcript.turns(bodies), message, budget)

        spec = Spec(
            run_id=run.run_id,
            session_key=run.session_key,
            agent_id=run.agent_id,
            provider_id=choice.provider_id,
            provider=choice.provider,
            model=choice.model,
            system=system,
            turns=self._store.read(conversation),
            workspace=str(workspace.directory(self._settings, self._paths, run.agent_id)),
            model_socket=str(self._paths.model_socket),
        )
        last_event = waiting[-1][0] if waiting else 0
        return _Prompt(spec, events, last_event, choice.context_tokens)

    async def _begin(self, active: Active, process: RunProcess, made: _Prompt) -> None:
        """Writes down that the run is running, and lets its process go."""
        now = now_ms()
        before = active.run
        run = replace(
            before,
            state=move(before.state, RunState.RUNNING),
            pid=process.pid,
            pid_started=process.started,
            started_at=now,
        )
        entries = transcript.user_entries(run, made.events, now)
        await self._commit(run, before.state, entries, drained_up_to=made.last_event)
        active.run = run
        active.stream.start(now)
        if active.stop is None:
            process.go()
        else:
            process.kill()

    # While it runs

    async def _observe(self, active: Active, process: RunProcess) -> Verdict:
        """What the process says until it is gone, and what that makes of the run."""
        timers = self._limits(active)
        flush: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        report: Done | Failed | None = None
        exit_ = Exit(0)
        try:
            async for item in process.reports():
                match item:
                    case Delta(text=text):
                        wait_ms = active.stream.add(text, now_ms())
                        if wait_ms is not None and (flush is None or flush.when() < loop.time()):
                            due_s = loop.time() + wait_ms / 1000
                            flush = loop.call_at(due_s, lambda: active.stream.flush(now_ms()))
                    case Done() | Failed():
                        report, active.is_answered = item, True
                        # It has nothing more to say: a process that stays must not hold the lane.
                        timers.append(loop.call_later(EXIT_BUDGET_S, process.kill))
                    case Exit():
                        exit_ = item
        finally:
            for handle in (*timers, *([flush] if flush is not None else [])):
                handle.cancel()
        return verdict(active.stop, report, exit_, active.stream.text())

    def _limits(self, active: Active) -> list[asyncio.TimerHandle]:
        """Has the run stopped when its wall time is over."""
        limit_ms = active.run.params.timeout_ms
        source = "the request"
        if limit_ms is None:
            limit_ms = self._settings.agents.defaults.timeout_seconds * 1000
            source = "agents.defaults.timeoutSeconds"
        if limit_ms == 0:
            return []
        limit_s = min(limit_ms, LONGEST_TIMER_MS) / 1000
        stop = timeout_stop(limit_s, source)
        return [asyncio.get_running_loop().call_later(limit_s, active.request_stop, stop)]

    # The end

    async def _finish(self, active: Active, end: Verdict) -> None:
        now = now_ms()
        before = active.run
        run = replace(
            before,
            state=move(before.state, end.state),
            ended_at=now,
            error=end.error,
            stop_reason=end.stop_reason,
        )
        session = self._sessions.get(run.session_key)
        named = active.model or models.names(self._settings, run.agent_id, session)
        provider, model, _ = named
        if end.state is RunState.OK:
            meta = {
                "sessionId": run.session_id,
                "provider": provider,
                "model": model,
                "usage": answers.usage(end.usage),
            }
            ms = now - (run.started_at or now)
            run = replace(run, result=answers.result(end.text, meta, end.stop_reason, ms))
        entries = transcript.end_entries(run, end, (provider, model), now)
        if before.state is RunState.ACCEPTED:
            entries = [*transcript.user_entries(run, (), now), *entries]
        spent = spending.of_run(run, end, (provider, model), session, now)
        session = self._updated(run, end, named, now)
        await self._commit(run, before.state, entries, session, spent=spent)
        active.run = run
        active.stream.end(run, end.text)
        active.ended.set_result(run)

    def _updated(
        self, run: Run, end: Verdict, model: tuple[str, str, int], now: int
    ) -> Session | None:
        session = self._sessions.get(run.session_key)
        if session is None:
            return None
        used = answers.usage(end.usage)
        entry = replace(
            session.entry,
            system_sent=True,
            aborted_last_run=end.state is RunState.ABORTED,
            input_tokens=used["input"] or session.entry.input_tokens,
            output_tokens=used["output"] or session.entry.output_tokens,
            total_tokens=used["total"] or session.entry.total_tokens,
            model_provider=model[0],
            model=model[1],
            context_tokens=model[2],
        )
        entry = spoken(entry, end.text) if end.text else entry
        updated = replace(session, updated_at=max(now, session.updated_at), entry=entry)
        self._sessions.put(updated)
        return updated

    async def _commit(
        self,
        run: Run,
        before: RunState,
        entries: list[Entry],
        session: Session | None = None,
        *,
        spent: Spent | None = None,
        drained_up_to: int = 0,
    ) -> None:
        """Writes a step of a run; tries again while the disk refuses (full, for example)."""

        def job(db: sqlite3.Connection) -> None:
            tables.update_run(db, run, before)
            for entry in entries:
                tables.append(db, entry)
            if session is not None:
                tables.put_session(db, session)
            if spent is not None:
                spending.add(db, spent)
            if drained_up_to:
                tables.drain_system_events(db, run.session_key, drained_up_to)

        while True:
            try:
                await self._store.write(job)
            except (sqlite3.OperationalError, RpcError) as error:
                self._log.error("cannot write the run ledger", run_id=run.run_id, error=str(error))
                await asyncio.sleep(COMMIT_RETRY_S)
            else:
                return
