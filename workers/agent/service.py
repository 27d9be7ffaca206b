"""The agent worker: sessions, runs and their ledger, as a service of the bus."""

import asyncio
import fcntl
import sqlite3
from collections.abc import Mapping
from typing import IO

import msgspec
from msgspec import Struct

from bus.errors import RpcError
from bus.rpc import Bound
from conf.channels import channel_settings
from workers.agent import keys, summary, tables
from workers.agent.agent_methods import AgentMethods
from workers.agent.approval_methods import ApprovalMethods
from workers.agent.chat_methods import ChatMethods
from workers.agent.clock import now_ms
from workers.agent.cron_methods import CronMethods
from workers.agent.link import SpawnerLink
from workers.agent.models import providers
from workers.agent.runner import Runner
from workers.agent.runs import Runs
from workers.agent.session_lookup import SessionLookup
from workers.agent.session_methods import SessionMethods
from workers.agent.sessions import Sessions
from workers.agent.skill_methods import SkillMethods
from workers.agent.spawner import start_spawner
from workers.agent.usage_methods import UsageMethods
from workers.agent.voice_methods import VoiceMethods
from workers.agent.wake_methods import WakeMethods
from workers.agent.workspace_methods import WorkspaceMethods
from workers.runtime import Service, Worker
from workers.store import Store

LOCK_BUDGET_S = 20.0
"""A predecessor that finishes its runs holds the database; it has 15 s for that."""
LOCK_POLL_S = 0.02
SNAPSHOT_INTERVAL_S = 0.5
SYSTEM_EVENT = "system-event"


class _SystemEvent(Struct, frozen=True):
    text: str
    session_key: str | None = msgspec.field(default=None, name="sessionKey")


class PredecessorError(Exception):
    """Another agent worker of this profile does not let go of the database."""


class AgentService:
    """What makes a worker the agent worker."""

    topics: tuple[str, ...] = (SYSTEM_EVENT,)

    def __init__(self, link: SpawnerLink) -> None:
        self._link = link
        self._worker: Worker
        self._store: Store
        self._sessions: Sessions
        self._runner: Runner
        self._runs: Runs
        self._lock: IO[bytes]
        self._is_snapshot_due = False
        self._is_stopped = False

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        """Opens the database, resolves what an earlier life left, and returns the methods."""
        self._worker = worker
        path = worker.paths.database("agent")
        self._lock = await _hold(str(path.with_suffix(".lock")))
        self._store = Store(path, tables.MIGRATIONS)
        self._sessions = Sessions(worker.settings, str(path), self._snapshot_soon)
        self._sessions.load(self._store.read(tables.load_sessions))
        self._runner = Runner(self._link, worker.spawn)
        apis = {provider.api for provider in providers(worker.settings).values()}
        self._runner.preload(tuple(sorted(apis)))
        self._runs = Runs(worker, self._store, self._sessions, self._runner)
        await self._runs.recover()
        # First steps that clients see: they come after the announcement, which is next.
        worker.spawn(self._runs.resume(), "resume")
        self._snapshot()
        return self._methods()

    def _methods(self) -> Mapping[str, Bound]:
        """Every method of this worker, bound to what it acts on."""
        worker, store, sessions, runs = self._worker, self._store, self._sessions, self._runs
        settings, paths = worker.settings, worker.paths
        path = paths.database("agent")
        channels = frozenset(channel_settings())
        return {
            **AgentMethods.methods.bind(AgentMethods(settings, channels, sessions, runs)),
            **ChatMethods.methods.bind(ChatMethods(worker, store, sessions, runs)),
            **SessionMethods.methods.bind(SessionMethods(settings, path, store, sessions, runs)),
            **SessionLookup.methods.bind(SessionLookup(settings, store, sessions)),
            **UsageMethods.methods.bind(UsageMethods(settings, store, sessions)),
            **WorkspaceMethods.methods.bind(WorkspaceMethods(settings, paths)),
            **CronMethods.methods.bind(CronMethods(path)),
            **WakeMethods.methods.bind(WakeMethods(settings, store, self._snapshot_soon)),
            **VoiceMethods.methods.bind(VoiceMethods(worker)),
            **SkillMethods.methods.bind(SkillMethods(settings, paths)),
            **ApprovalMethods.methods.bind(ApprovalMethods(worker)),
        }

    def on_event(self, topic: str, payload: bytes) -> None:
        """Keeps a system event for the next prompt of its session."""
        if topic != SYSTEM_EVENT or self._is_stopped:
            return
        try:
            event = msgspec.json.decode(payload, type=_SystemEvent)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._worker.log.warning("system event that cannot be read", error=str(error))
            return
        if event.text.strip():
            self._worker.spawn(self._keep(event), "system event")

    async def drain(self) -> None:
        """Lets runs finish that have begun."""
        await self._runs.drain()

    async def stop(self) -> None:
        """Ends what runs, durably, and closes the database."""
        self._is_stopped = True
        await asyncio.sleep(0)  # writes that were begun get into the store's queue
        await self._runs.stop()
        await self._store.close()
        await self._runner.close()
        self._lock.close()

    async def _keep(self, event: _SystemEvent) -> None:
        settings = self._worker.settings
        key = keys.canonical(settings, event.session_key or "")
        text, now = event.text.strip(), now_ms()
        try:
            await self._store.write(lambda db: tables.add_system_event(db, key, text, now))
        except (sqlite3.Error, RpcError) as error:
            self._worker.log.warning("system event lost", error=str(error))
        self._snapshot_soon()

    def _snapshot_soon(self) -> None:
        if not self._is_snapshot_due:
            self._is_snapshot_due = True
            loop = asyncio.get_running_loop()
            loop.call_later(SNAPSHOT_INTERVAL_S, self._snapshot)

    def _snapshot(self) -> None:
        self._is_snapshot_due = False
        if self._is_stopped:
            return
        settings = self._worker.settings
        main = keys.main_session(settings)
        waiting = [text for _, text in self._store.read(lambda db: tables.system_events(db, main))]
        path = str(self._worker.paths.database("agent"))
        part = summary.part(settings, self._sessions, path, waiting, now_ms())
        self._worker.snapshot("agent", part)


async def _hold(path: str) -> IO[bytes]:
    """The kernel's lock on the database; it is let go when this process ends, however."""
    lock = open(path, "ab")  # noqa: SIM115, PTH123, ASYNC230 - held for life
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LOCK_BUDGET_S
    while True:
        try:
            # A record lock, because child processes do not inherit it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() > deadline:
                raise PredecessorError(f"another agent worker holds {path}") from None
            await asyncio.sleep(LOCK_POLL_S)
        else:
            return lock


def build() -> Service:
    """The service of `python -m workers agent`; forks the spawner before anything else."""
    return AgentService(start_spawner())
