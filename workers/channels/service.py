"""The channels worker: chat services in, the agent's answers out, nothing lost in between."""

import asyncio
import sqlite3
import time
from collections.abc import Mapping

from bus.errors import RpcError
from bus.rpc import Bound
from workers.channels import ledger
from workers.channels.account import Account
from workers.channels.asking import Agent
from workers.channels.host import Host, describe
from workers.channels.lease import Lease
from workers.channels.methods import ChannelMethods
from workers.channels.sections import channel_sections
from workers.channels.status import front_snapshot
from workers.runtime import Worker
from workers.store import Store

SNAPSHOT_EVERY_S = 1.0
"""At most this often the front is told what changed."""
STALENESS_CHECK_S = 2.0
PRUNE_EVERY_S = 3600.0
SETTLE_S = 1.0
"""How long a send under way may take when we are told to stop."""


def build() -> "Channels":
    """The service of `python -m workers channels`."""
    return Channels()


def wall_ms() -> int:
    """Now, in ms since the epoch."""
    return int(time.time() * 1000)


class Channels:
    """Holds the store, the accounts, and a host for each that is on."""

    topics: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._worker: Worker
        self._store: Store
        self._accounts: dict[str, Account] = {}
        self._hosts: dict[str, Host] = {}
        self._changed = asyncio.Event()
        self._life: asyncio.Task[None]

    async def start(self, worker: Worker) -> Mapping[str, Bound]:
        """Opens the store; the channels connect on their own, in any order with the front."""
        self._worker = worker
        self._store = ledger.open_store(worker.paths.database("channels"))
        agent = Agent(worker.call, worker.settings, worker.log)
        for name, section in channel_sections(worker.loaded).items():
            account = Account(name, section, self._store, wall_ms, worker.log)
            self._accounts[name] = account
            if section.enabled and section.is_configured:
                self._hosts[name] = Host(account, agent, self._changed.set)
        self._push()
        self._life = worker.spawn(self._live(), "channels")
        methods = ChannelMethods(self._accounts, self._hosts)
        return methods.methods.bind(methods)

    def on_event(self, topic: str, payload: bytes) -> None:
        """Nothing is subscribed."""

    async def drain(self) -> None:
        """Reads no more and sends to the end what is being sent; our successor does the rest."""
        await asyncio.gather(*(host.drain() for host in self._hosts.values()))

    async def stop(self) -> None:
        """Lets sends under way end, cuts every connection, commits what is queued."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self.drain()
        except TimeoutError:
            self._worker.log.warning("sends cut off", budget_s=SETTLE_S)
        self._life.cancel()
        await asyncio.wait([self._life])
        await self._store.close()

    async def _live(self) -> None:
        if not self._hosts:
            return
        lease = Lease(self._worker.paths.state_dir / "channels.lock")
        await lease.acquire()
        async with asyncio.TaskGroup() as tasks:
            for name, host in self._hosts.items():
                tasks.create_task(host.run(), name=name)
            tasks.create_task(self._tell(), name="tell the front")
            tasks.create_task(self._prune(), name="prune")

    async def _tell(self) -> None:
        """Pushes what the front shows, when something changed or evidence became stale."""
        while True:
            self._push()
            await asyncio.sleep(SNAPSHOT_EVERY_S)
            try:
                async with asyncio.timeout(STALENESS_CHECK_S - SNAPSHOT_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    def _push(self) -> None:
        views = [
            self._hosts[name].view() if name in self._hosts else describe(account)
            for name, account in self._accounts.items()
        ]
        self._worker.snapshot("channels", front_snapshot(views, wall_ms()))

    async def _prune(self) -> None:
        while True:
            try:
                await self._store.write(ledger.prune(wall_ms()))
            except (sqlite3.Error, RpcError) as error:
                self._worker.log.warning("old messages not forgotten", reason=str(error))
            await asyncio.sleep(PRUNE_EVERY_S)
