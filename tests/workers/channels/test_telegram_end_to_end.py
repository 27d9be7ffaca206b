"""A person on Telegram and the whole tree of processes, with a scripted model."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.kit.eventually import eventually, run
from tests.kit.gateway import Tree, running, scripted
from tests.kit.waiting import wait_until
from tests.workers.channels.bot_api import TOKEN, BotApi, bot_api

pytestmark = pytest.mark.processes

ANSWER = [{"text": "Paris, "}, {"sleep_ms": 200}, {"text": "of course."}]


def config(api: BotApi, script: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    telegram = {"botToken": TOKEN, "apiRoot": api.root, "pollSeconds": 5, "allowFrom": [42]}
    return {**scripted(model=script or ANSWER), "channels": {"telegram": telegram}}


def call(tree: Tree, method: str, params: dict[str, Any] | None = None) -> Any:
    with tree.patient_client() as client:
        return client.call(method, params or {})


def with_tree(tmp_path: Path, test: Any, script: list[dict[str, Any]] | None = None) -> None:
    """Runs `test(api, tree)`; the tree is started and stopped beside the loop."""

    async def whole() -> None:
        async with bot_api() as api:
            context = running(tmp_path / "state", config(api, script))
            tree = await asyncio.to_thread(context.__enter__)
            try:
                await test(api, tree)
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)

    run(whole(), 90)


def test_a_stranger_is_paired_and_then_talks_to_the_agent(tmp_path: Path) -> None:
    async def test(api: BotApi, tree: Tree) -> None:
        api.say("hello", chat=77)
        await api.until(lambda: api.texts(77))
        assert "Pairing code" in api.texts(77)[0]
        (request,) = (await asyncio.to_thread(call, tree, "channels.pairing.list"))["requests"]
        where = {"channel": "telegram", "code": request["code"]}
        await asyncio.to_thread(call, tree, "channels.pairing.approve", where)
        api.say("What is the capital of France?", chat=77)
        await api.until(lambda: len(api.texts(77)) == 3)
        assert api.texts(77)[2] == "Paris, of course."
        await asyncio.to_thread(
            wait_until, lambda: call(tree, "health")["channels"]["telegram"]["connected"]
        )
        sent = {"to": "telegram:77", "message": "news", "idempotencyKey": "n1"}
        assert (await asyncio.to_thread(call, tree, "send", sent))["chatId"] == "77"
        assert api.texts(77)[3:] == ["news"]

    with_tree(tmp_path, test)


@pytest.mark.parametrize("victim", ["channels", "front", "agent"])
def test_a_process_killed_while_the_agent_works_costs_no_message(
    victim: str, tmp_path: Path
) -> None:
    async def test(api: BotApi, tree: Tree) -> None:
        api.say("first")
        await api.until(lambda: api.actions)
        await asyncio.to_thread(tree.kill, victim)
        api.say("second")
        await api.until(lambda: len(api.texts()) == 2, 40)
        await eventually(lambda: api.confirmed_up_to == api.next_update_id, "all confirmed")
        answers = api.texts()
        if victim == "agent":  # its run ended with it: one sentence says so
            assert answers[0] == "Paris, of course." or answers[0].startswith("Sorry")
        else:
            assert answers[0] == "Paris, of course."
        assert answers[1] == "Paris, of course."
        assert api.conflict_count == 0

    with_tree(tmp_path, test, [{"text": "Paris, "}, {"sleep_ms": 1500}, {"text": "of course."}])
