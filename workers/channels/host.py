"""Runs every configured channel account in a task tree of its own and starts it anew.

Adapters are loaded by the name of the channel; a crash of one stays in its tree.
"""

import asyncio
import importlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from conf.logs import redact
from workers.channels import ledger
from workers.channels.account import Account
from workers.channels.asking import Agent
from workers.channels.backoff import ADAPTER_RESTART
from workers.channels.base import Adapter, Inbound, ParkedError, Progress
from workers.channels.delivery import Delivery
from workers.channels.intake import Intake
from workers.channels.lanes import Lanes
from workers.channels.status import AccountView

PARK_S = 600.0
"""How long an account whose service wants a person to act is left alone."""
STEADY_S = 60.0
"""An account that lived as long starts again with the shortest delay."""
MAX_UNFINISHED = 1_000
"""Messages of an account that wait for answers; beyond it we stop reading."""
CURSOR_VALID_MS = 6 * 86_400_000
"""Services may number messages anew after a quiet week; the inbox knows what it had."""


class Host:
    """One account, alive again and again until cancelled."""

    def __init__(self, account: Account, agent: Agent, changed: Callable[[], None]) -> None:
        self.account = account
        self.adapter: Adapter | None = None
        self.delivery: Delivery | None = None
        self._agent = agent
        self._changed = changed
        self._outbound: Lanes | None = None
        self._reading: asyncio.Task[None] | None = None
        self._error = ""
        self._crash_count = 0
        self._started_ms: int | None = None
        self._last_inbound_ms: int | None = None
        self._is_draining = False

    async def run(self) -> None:
        """Lives until cancelled; whatever goes wrong is logged and tried again later."""
        loop = asyncio.get_running_loop()
        account = self.account
        while True:
            began = loop.time()
            try:
                await self._live()
            except Exception as error:
                account.log.exception("channel crashed", channel=account.channel)
                self._error = redact(f"crashed: {_first(error)}")
            if loop.time() - began > STEADY_S:
                self._crash_count = 0
            self._crash_count += 1
            delay_s = ADAPTER_RESTART.delay_s(self._crash_count, random.random())  # noqa: S311
            self._changed()
            await asyncio.sleep(delay_s)

    def view(self) -> AccountView:
        """What is known of the account now."""
        progress = self.adapter.progress() if self.adapter is not None else Progress()
        return structs.replace(
            describe(self.account),
            is_running=self.adapter is not None,
            last_ok_ms=progress.last_ok_ms,
            error=progress.error or self._error,
            failure_count=progress.failure_count + self._crash_count,
            account_name=progress.account_name,
            last_start_ms=self._started_ms,
            last_inbound_ms=self._last_inbound_ms,
            last_outbound_ms=self.delivery.last_sent_ms if self.delivery else None,
        )

    def deliver(self, chats: Sequence[str]) -> None:
        """Says that the outbox has something for these chats."""
        if self._outbound is not None:
            self._outbound.wake(chats)

    async def moved(self) -> None:
        """Returns when a message may have reached an end since the call."""
        delivery = self.delivery
        if delivery is None:  # between two lives
            await asyncio.sleep(ADAPTER_RESTART.first_s)
        else:
            await delivery.moved()

    async def drain(self) -> None:
        """Reads no more and sends to the end what is being sent."""
        self._is_draining = True
        if self._reading is not None:
            self._reading.cancel()
        if self.delivery is not None:
            await self.delivery.settle()

    async def _live(self) -> None:
        """One life: opens the adapter, takes up what is unfinished, reads until an error."""
        account = self.account
        self.adapter = adapter = self._open()
        self._started_ms, self._error = account.clock(), ""
        try:
            async with asyncio.TaskGroup() as tasks:
                self.delivery = Delivery(account, adapter)
                self._outbound = Lanes(tasks, self.delivery.step)
                intake = Intake(account, adapter, self._agent, self._outbound.wake)
                inbound = Lanes(tasks, intake.step)
                await self._take_up(inbound, self._outbound)
                reading = self._read(adapter, intake, inbound)
                if not self._is_draining:
                    self._reading = tasks.create_task(reading, name="read")
        finally:
            self.adapter = self.delivery = self._outbound = self._reading = None
            await adapter.close()

    def _open(self) -> Adapter:
        name = self.account.channel
        module: Any = importlib.import_module(f"workers.channels.{name}")
        adapter: Adapter = module.open_adapter(self.account.section, self.account.clock)
        return adapter

    async def _take_up(self, inbound: Lanes, outbound: Lanes) -> None:
        account, place = self.account, self.account.place
        lost_count = await account.store.write(ledger.lose_attempts(place, account.clock()))
        waiting = account.store.read(ledger.open_chats(place))
        unsent = account.store.read(ledger.undelivered_chats(place))
        if lost_count or waiting or unsent:
            account.log.info(
                "unfinished messages taken up", channel=account.channel,
                chats_waiting=len(waiting), chats_unsent=len(unsent), sends_unknown=lost_count,
            )  # fmt: skip
        outbound.wake(unsent)
        inbound.wake(waiting)

    async def _read(self, adapter: Adapter, intake: Intake, inbound: Lanes) -> None:
        """Reads until cancelled; waits long where only a person can help."""
        account = self.account

        async def take(messages: Sequence[Inbound], cursor: str) -> None:
            now_ms = account.clock()
            await account.store.write(ledger.take(account.place, messages, cursor, now_ms))
            if messages:
                self._last_inbound_ms = now_ms
                inbound.wake(dict.fromkeys(message.chat for message in messages))
            self._changed()
            while account.store.read(ledger.unfinished_count(account.place)) >= MAX_UNFINISHED:
                intake.progressed.clear()
                await intake.progressed.wait()

        while True:
            cursor, noted_ms = account.store.read(ledger.cursor(account.place))
            try:
                await adapter.receive(_usable(cursor, account.clock() - noted_ms), take)
            except ParkedError as error:
                account.log.warning(
                    "channel parked", channel=account.channel, reason=str(error), retry_s=PARK_S
                )
            self._changed()
            await asyncio.sleep(PARK_S)


def describe(account: Account) -> AccountView:
    """An account that is not running."""
    section = account.section
    return AccountView(
        account.channel,
        section.label,
        account.account_id,
        section.enabled,
        section.is_configured,
        section.dm_policy,
    )


def _usable(cursor: str, age_ms: int) -> str:
    return cursor if age_ms < CURSOR_VALID_MS else ""


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, sqlite3.Error):
        return f"the database cannot be written ({error})"
    return f"{type(error).__name__}: {error}"[:200]
