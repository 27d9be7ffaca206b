"""Delivery and host with an adapter that fails on command, a real store and a clock of ours."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bus.errors import RpcError, unavailable
from conf.channels.telegram import Settings
from conf.logs import Log
from conf.schema import Settings as AllSettings
from tests.kit.eventually import eventually, run
from tests.workers.channels.stand_in_front import final
from workers.channels import ledger
from workers.channels.account import Account
from workers.channels.asking import Agent
from workers.channels.backoff import Backoff
from workers.channels.base import (
    Inbound,
    LostError,
    NotTakenError,
    Outbound,
    ParkedError,
    Progress,
    RefusedError,
    Take,
)
from workers.channels.delivery import Delivery
from workers.channels.host import Host
from workers.channels.inbox import InboxRow, InboxState, InboxStep
from workers.store import Store

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Scripted:
    """An adapter that does what the test put into `outcomes`."""

    def __init__(self) -> None:
        self.outcomes: list[Exception | None] = []
        self.sent: list[str] = []
        self.lives = 0
        self.crashes = 0
        self.incoming: asyncio.Queue[Inbound | Exception] = asyncio.Queue(100)

    async def receive(self, cursor: str, take: Take) -> None:
        self.lives += 1
        while True:
            item = await self.incoming.get()
            if isinstance(item, Exception):
                self.crashes += 1
                raise item
            await take([item], item.update_key)

    async def send(self, message: Outbound) -> str:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.sent.append(message.text)
        return str(len(self.sent))

    async def typing(self, chat: str, thread: str) -> None:
        pass

    async def probe(self) -> str:
        return "me"

    def target(self, text: str) -> str:
        return text

    def progress(self) -> Progress:
        return Progress(last_ok_ms=0)

    async def close(self) -> None:
        pass


class Bench:
    """An account on a store of its own; `now_ms` is the time."""

    def __init__(self, store: Store, channel: str) -> None:
        self.now_ms = 0
        self.adapter = Scripted()
        section = Settings(allow_from=("7",))
        self.account = Account(channel, section, store, lambda: self.now_ms, Log("test"))
        self.delivery = Delivery(self.account, self.adapter)

    async def enqueue(self, text: str = "hi") -> None:
        place, messages = self.account.place, [Outbound("7", text)]
        times = (self.now_ms, self.now_ms)
        await self.account.store.write(lambda db: ledger.enqueue(db, place, text, messages, times))

    def states(self) -> list[str]:
        rows = self.account.store.read(
            lambda db: db.execute("SELECT state FROM outbox ORDER BY id").fetchall()
        )
        return [row[0] for row in rows]


@asynccontextmanager
async def bench(tmp_path: Path, channel: str = "scripted") -> AsyncIterator[Bench]:
    store = ledger.open_store(tmp_path / f"{channel}.db")
    try:
        yield Bench(store, channel)
    finally:
        await store.close()


def inbound(text: str, update_key: str = "1", sender: str = "7") -> Inbound:
    return Inbound(update_key, sender, "dm", sender, "Ada", text, 0)


def test_an_outage_delays_a_reply_and_marks_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue("one")
            await on.enqueue("two")
            on.adapter.outcomes = [NotTakenError("no network")] * 2
            assert await on.delivery.step("7")
            on.now_ms = 14 * MINUTE_MS
            assert await on.delivery.step("7")
            on.now_ms = 30 * MINUTE_MS
            while await on.delivery.step("7"):
                pass
            assert on.adapter.sent == ["(delayed) one", "(delayed) two"]
            assert on.states() == ["sent", "sent"]

    run(test())


def test_a_reply_that_is_a_day_old_is_not_sent(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue()
            on.now_ms = DAY_MS
            while await on.delivery.step("7"):
                pass
            assert on.adapter.sent == []
            assert on.states() == ["expired"]

    run(test())


def test_a_service_that_names_a_pause_gets_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue()
            on.adapter.outcomes = [NotTakenError("slow down", retry_after_s=90.0)]
            await on.delivery.step("7")
            row = on.account.store.read(ledger.next_outbound(on.account.place, "7"))
            assert row is not None
            assert row.next_attempt_ms == 90_000

    run(test())


def test_a_refused_part_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue("bad")
            await on.enqueue("good")
            on.adapter.outcomes = [RefusedError("chat not found")]
            while await on.delivery.step("7"):
                pass
            assert (on.adapter.sent, on.states()) == (["good"], ["failed", "sent"])

    run(test())


def test_what_is_lost_twice_is_not_sent_a_third_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue()
            on.adapter.outcomes = [LostError("cut"), LostError("cut")]
            attempts = 0
            while await on.delivery.step("7"):
                attempts += 1
                on.now_ms += MINUTE_MS
            assert (attempts, on.adapter.sent, on.states()) == (2, [], ["reconciled"])

    run(test())


def test_the_second_send_may_wait_for_the_service_without_being_spent(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue()
            on.adapter.outcomes = [LostError("cut"), NotTakenError("down"), ParkedError("token")]
            while await on.delivery.step("7"):
                on.now_ms += 2 * MINUTE_MS
            assert (on.adapter.sent, on.states()) == (["hi"], ["reconciled"])

    run(test())


def test_a_drained_delivery_begins_nothing_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as on:
            await on.enqueue()
            await on.delivery.settle()
            assert not await on.delivery.step("7")
            assert on.states() == ["new"]

    run(test())


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    """Two channels that exist only here, with quick restarts."""
    adapters = {name: Scripted() for name in ("shaky", "steady")}
    for name, adapter in adapters.items():
        module: Any = ModuleType(f"workers.channels.{name}")
        module.open_adapter = lambda _settings, _clock, adapter=adapter: adapter
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("workers.channels.host.ADAPTER_RESTART", Backoff(0.01, 1.0, 0.01, 0.0))
    return adapters


async def echo(method: str, params: dict[str, str], **_more: Any) -> bytes:
    answer = final(params["idempotencyKey"], f"echo: {params['message']}")
    return json.dumps(answer).encode()


def test_a_crash_of_one_channel_is_its_own_and_is_over_after_a_restart(
    tmp_path: Path, channels: dict[str, Scripted]
) -> None:
    async def test() -> None:
        async with bench(tmp_path, "shaky") as one, bench(tmp_path, "steady") as two:
            agent = Agent(echo, AllSettings(), Log("test"))
            shaky, steady = (Host(on.account, agent, lambda: None) for on in (one, two))
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(host.run()) for host in (shaky, steady)]
                for number in range(5):
                    await channels["shaky"].incoming.put(RuntimeError(f"bug {number}"))
                await channels["steady"].incoming.put(inbound("quiet"))
                await eventually(lambda: channels["shaky"].crashes == 5, "crashed five times")
                await channels["shaky"].incoming.put(inbound("again"))
                await eventually(lambda: channels["shaky"].sent, "it works again")
                await eventually(lambda: channels["steady"].sent, "the other worked on")
                assert channels["steady"].lives == 1
                assert shaky.view().failure_count == 5
                assert channels["shaky"].sent == ["echo: again"]
                for task in running:
                    task.cancel()

    run(test())


def test_a_message_that_came_twice_is_answered_once(
    tmp_path: Path, channels: dict[str, Scripted]
) -> None:
    async def test() -> None:
        async with bench(tmp_path, "steady") as on:
            host = Host(on.account, Agent(echo, AllSettings(), Log("test")), lambda: None)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(host.run())
                incoming = channels["steady"].incoming
                for message in (inbound("a"), inbound("a"), inbound("b", "2"), inbound("a")):
                    await incoming.put(message)
                await eventually(lambda: len(channels["steady"].sent) == 2, "both are answered")
                assert incoming.empty()
                assert channels["steady"].sent == ["echo: a", "echo: b"]
                running.cancel()

    run(test())


def test_a_crash_while_answering_costs_one_message_and_says_so(
    tmp_path: Path, channels: dict[str, Scripted]
) -> None:
    async def broken(method: str, params: dict[str, str], **more: Any) -> bytes:
        if params["message"] == "poison":
            return b'{"result": "not what was agreed"}'
        return await echo(method, params, **more)

    async def test() -> None:
        async with bench(tmp_path, "steady") as on:
            host = Host(on.account, Agent(broken, AllSettings(), Log("test")), lambda: None)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(host.run())
                await channels["steady"].incoming.put(inbound("poison"))
                await channels["steady"].incoming.put(inbound("fine", "2"))
                await eventually(lambda: len(channels["steady"].sent) == 2, "both are answered")
                assert channels["steady"].sent[0].startswith("Sorry")
                assert channels["steady"].sent[1] == "echo: fine"
                assert channels["steady"].lives == 1
                running.cancel()

    run(test())


def ask(call: Any, give_up_after_s: float) -> Any:
    row = InboxRow(1, "telegram", "default", InboxState.ACCEPTED, inbound("hi"), 0)
    agent = Agent(call, AllSettings(), Log("test"), give_up_after_s)
    return run(agent.ask(row, lambda: None))


def test_an_agent_that_stays_away_is_given_up_and_the_person_told() -> None:
    asked = []

    async def away(_method: str, params: dict[str, str], **_more: Any) -> bytes:
        asked.append(params["idempotencyKey"])
        raise unavailable("agent is down")

    answer = ask(away, 0.5)
    assert answer.step is InboxStep.GIVE_UP
    assert "not reachable" in answer.text
    assert len(asked) > 1
    assert set(asked) == {"telegram:default:1"}


def test_a_question_that_is_wrong_is_not_asked_again() -> None:
    async def refuse(_method: str, _params: dict[str, str], **_more: Any) -> bytes:
        raise RpcError("INVALID_REQUEST", "message too long")

    answer = ask(refuse, 60)
    assert answer.step is InboxStep.ANSWER
    assert answer.text == "Sorry, this could not be answered: message too long."


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ('[{"text":"a","mediaUrl":null},{"text":" b "}]', "a\n\nb"),
        ('[{"text":"NO_REPLY"}]', ""),
        ("[]", "The agent finished without an answer."),
    ],
    ids=["two parts", "silence", "nothing"],
)
def test_what_is_said_for_an_answer(payloads: str, text: str) -> None:
    async def answer(_method: str, _params: dict[str, str], **_more: Any) -> bytes:
        return f'{{"status":"ok","result":{{"payloads":{payloads},"meta":{{}}}}}}'.encode()

    assert ask(answer, 60).text == text
