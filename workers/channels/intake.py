"""Takes a chat's messages one by one from received to answered."""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from bus.errors import RpcError
from workers.channels import acquaintances, ledger, pairing, reply
from workers.channels.access import Verdict, decide
from workers.channels.account import Account
from workers.channels.acquaintances import Stranger
from workers.channels.asking import Agent, Answer
from workers.channels.base import Adapter, Outbound
from workers.channels.chunking import chunks
from workers.channels.inbox import InboxRow, InboxState, InboxStep

TYPING_EVERY_S = 5.0
TYPING_AT_MOST_S = 120.0


class Intake:
    """Works off the inbox of one account; `deliver(chats)` is told where answers wait."""

    def __init__(
        self,
        account: Account,
        adapter: Adapter,
        agent: Agent,
        deliver: Callable[[Iterable[str]], None],
    ) -> None:
        self._account = account
        self._adapter = adapter
        self._agent = agent
        self._deliver = deliver
        self.progressed = asyncio.Event()
        """Set whenever a message is finished."""

    async def step(self, chat: str) -> bool:
        """Works on the chat's oldest message; False if none is left."""
        row = self._oldest(chat)
        if row is None:
            return False
        try:
            if row.state is not InboxState.RECEIVED or await self._admit(row):
                await self._answer(row)
        except Exception as error:
            # One message must not stop those behind it. When the store fails, all wait.
            if _is_about_the_store(error):
                raise
            self._account.log.exception("message failed", inbox_id=row.id, run=row.key)
            await self._finish(row, Answer(InboxStep.GIVE_UP, reply.BROKEN))
        self.progressed.set()
        return True

    def _oldest(self, chat: str) -> InboxRow | None:
        return self._account.store.read(ledger.next_inbound(self._account.place, chat))

    async def _admit(self, row: InboxRow) -> bool:
        """Decides whether the sender may talk to the agent; tells a stranger the code, once."""
        account = self._account
        approved = account.store.read(acquaintances.approved(account.channel))
        section = account.section
        verdict = decide(row.message, section.dm_policy, section.allowed, approved)

        def job(db: sqlite3.Connection) -> bool:
            now_ms = account.clock()
            what = InboxStep.ACCEPT if verdict is Verdict.ALLOW else InboxStep.REFUSE
            ledger.advance(db, row, what, now_ms)
            if verdict is not Verdict.PAIR:
                return False
            stranger = Stranger(account.channel, row.message, now_ms, secrets.randbelow)
            request = acquaintances.ask(db, stranger)
            if request is not None:
                text = pairing.invitation(section.label, request)
                messages = [Outbound(row.message.chat, text, row.message.thread)]
                ledger.enqueue(db, account.place, row.key, messages, (now_ms, now_ms), row.id)
            return request is not None

        if await account.store.write(job):
            account.log.info("pairing requested", channel=account.channel, id=row.message.sender)
            self._deliver([row.message.chat])
        return verdict is Verdict.ALLOW

    async def _answer(self, row: InboxRow) -> None:
        async with asyncio.TaskGroup() as tasks:
            typing = tasks.create_task(self._type(row), name="typing")
            answer = await self._agent.ask(row, lambda: _start(tasks, self._note_running(row)))
            typing.cancel()
        await self._finish(row, answer)

    async def _note_running(self, row: InboxRow) -> None:
        account = self._account
        await account.store.write(
            lambda db: ledger.advance(db, row, InboxStep.RUN, account.clock())
        )

    async def _finish(self, row: InboxRow, answer: Answer) -> None:
        """The end of a message and what is said about it, in one commit."""
        account, place = self._account, row.message
        messages = [
            Outbound(place.chat, text, place.thread)
            for text in chunks(answer.text, account.chunk_limit)
        ]

        def job(db: sqlite3.Connection) -> None:
            now_ms = account.clock()
            was_accepted = ledger.inbox_state(db, row.id) is not InboxState.RECEIVED
            ledger.advance(db, row, answer.step, now_ms)
            if was_accepted:
                times = (row.received_ms, now_ms)
                ledger.enqueue(db, account.place, row.key, messages, times, row.id)

        await account.store.write(job)
        self._deliver([place.chat])

    async def _type(self, row: InboxRow) -> None:
        """Shows "typing" while the run goes on, but not for ever."""
        for _ in range(int(TYPING_AT_MOST_S / TYPING_EVERY_S)):
            await self._adapter.typing(row.message.chat, row.message.thread)
            await asyncio.sleep(TYPING_EVERY_S)


def _start(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
    tasks.create_task(work)


def _is_about_the_store(error: Exception) -> bool:
    kinds = (sqlite3.Error, RpcError)
    if isinstance(error, ExceptionGroup):
        return error.subgroup(kinds) is not None
    return isinstance(error, kinds)
