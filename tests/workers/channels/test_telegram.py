"""The Telegram adapter against a strict Bot API: polling, errors, secrets."""

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conf.channels.telegram import Settings
from conf.settings import check_channels
from tests.kit.eventually import eventually, run
from tests.workers.channels.bot_api import TOKEN, BotApi, Failure, bot_api
from workers.channels import telegram
from workers.channels.base import (
    Adapter,
    Clock,
    Inbound,
    LostError,
    NotTakenError,
    Outbound,
    ParkedError,
    RefusedError,
)

SECRET = TOKEN.partition(":")[2]
HI = Outbound("42", "hi")


def adapter_for(root: str, token: str = TOKEN, clock: Clock = lambda: 5):
    settings = Settings(bot_token=token, api_root=root, poll_seconds=2)
    return telegram.open_adapter(settings, clock)


class Taken:
    """Takes batches, as the host would."""

    def __init__(self) -> None:
        self.messages = []
        self.cursors = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.asked = asyncio.Event()

    async def __call__(self, messages: Sequence[Inbound], cursor: str) -> None:
        self.asked.set()
        await self.may_commit.wait()
        self.messages += messages
        self.cursors.append(cursor)


async def reading(
    api: BotApi, adapter: Adapter, taken: "Taken", until: Callable[[], Any], cursor: str = ""
):
    """Reads until the condition holds, then stops and closes."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(adapter.receive(cursor, taken))
        await api.until(until)
        task.cancel()
    await adapter.close()


def test_an_update_is_confirmed_only_after_its_commit():
    async def test():
        async with bot_api() as api:
            taken = Taken()
            taken.may_commit.clear()
            adapter = adapter_for(api.root)
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(adapter.receive("", taken))
                update_id = api.say("one")
                await taken.asked.wait()
                assert api.offsets == [None]
                taken.may_commit.set()
                await api.until(lambda: len(api.offsets) == 2)
                assert api.offsets[1] == update_id + 1
                assert taken.cursors == [str(update_id + 1)]
                task.cancel()
            await adapter.close()

    run(test())


def test_a_cursor_is_taken_up_again():
    async def test():
        async with bot_api() as api:
            api.say("old")
            second = api.say("new")
            taken = Taken()
            await reading(
                api, adapter_for(api.root), taken, lambda: len(api.offsets) > 1, str(second)
            )
            assert [message.text for message in taken.messages] == ["new"]

    run(test())


def test_failed_polls_are_tried_again_after_what_the_service_asks_for():
    async def test():
        async with bot_api() as api:
            api.say("at last")
            api.failures["getUpdates"] += [
                Failure(500), Failure(429, "slow down", retry_after=1), Failure(502, cuts=True),
            ]  # fmt: skip
            taken = Taken()
            adapter = adapter_for(api.root)
            await reading(api, adapter, taken, lambda: api.confirmed_up_to)
            assert [message.text for message in taken.messages] == ["at last"]
            polls = [at for method, at in api.calls if method == "getUpdates"]
            gaps = [after - before for before, after in itertools.pairwise(polls)]
            assert gaps[0] >= 0.3
            assert gaps[1] >= 1.0
            assert adapter.progress().error == ""
            assert adapter.progress().last_ok_ms == 5

    run(test())


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("Conflict: terminated by other getUpdates request", "another poller uses this bot token"),
        ("Conflict: can't use getUpdates while webhook is active", "a webhook is set"),
    ],
    ids=["poller", "webhook"],
)
def test_a_conflict_is_reported_by_name_and_not_fought_over(description: str, shown: str):
    async def test():
        async with bot_api() as api:
            api.failures["getUpdates"].append(Failure(409, description))
            adapter = adapter_for(api.root)
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(adapter.receive("", Taken()))
                await eventually(lambda: shown in adapter.progress().error, "the conflict is named")
                assert adapter.progress().last_ok_ms is None
                task.cancel()
            await adapter.close()

    run(test())


@pytest.mark.parametrize("status", [401, 404])
def test_a_token_nobody_knows_is_not_tried_again(status: int):
    async def test():
        async with bot_api() as api:
            api.failures["getMe"].append(Failure(status, "Unauthorized"))
            adapter = adapter_for(api.root)
            with pytest.raises(ParkedError, match="botToken"):
                await adapter.receive("", Taken())
            assert len(api.calls) == 1
            assert "botToken" in adapter.progress().error
            await adapter.close()

    run(test())


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(400, "Bad Request: chat not found"), RefusedError),
        (Failure(403, "Forbidden: bot was blocked by the user"), RefusedError),
        (Failure(401, "Unauthorized"), ParkedError),
        (Failure(429, "Too Many Requests", retry_after=7), NotTakenError),
        (Failure(500), NotTakenError),
        (Failure(504), LostError),
        (Failure(500, cuts=True, takes_effect=True), LostError),
    ],
    ids=["no chat", "blocked", "token", "too many", "their fault", "gateway", "cut"],
)
def test_each_failure_of_a_send_means_one_thing(failure: Failure, error: type[Exception]):
    async def test():
        async with bot_api() as api:
            api.failures["sendMessage"].append(failure)
            adapter = adapter_for(api.root)
            with pytest.raises(error) as caught:
                await adapter.send(HI)
            assert SECRET not in str(caught.value)
            assert getattr(caught.value, "retry_after_s", None) == failure.retry_after
            assert await adapter.send(HI)
            await adapter.close()

    run(test())


def test_a_service_that_is_not_there_has_taken_nothing():
    async def test():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            adapter = adapter_for(f"http://127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(NotTakenError) as caught:
                await adapter.send(HI)
            assert SECRET not in str(caught.value)
            await adapter.typing("42", "")
            with pytest.raises(NotTakenError):
                await adapter.probe()
            await adapter.close()

    run(test())


@pytest.mark.parametrize("root", ["http://[broken", "http://host:99999999", "http://127.0.0.1:1"])
def test_the_token_stays_out_of_errors_and_logs(root: str, caplog: pytest.LogCaptureFixture):
    async def test():
        caplog.set_level(logging.DEBUG)
        adapter = adapter_for(root)
        with pytest.raises((NotTakenError, LostError)) as caught:
            await adapter.send(HI)
        await adapter.typing("42", "")
        shown = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
        shown += "".join(str(record.__dict__) for record in caplog.records)
        assert SECRET not in shown
        await adapter.close()

    run(test())


@asynccontextmanager
async def always_answering(body: bytes) -> AsyncIterator[str]:
    """The root of a server that answers every request with `body`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()


def test_a_proxy_page_instead_of_an_answer_is_an_error_like_any_other():
    async def test():
        async with always_answering(b"<html>captive portal</html>") as root:
            adapter = adapter_for(root)
            with pytest.raises(LostError, match="apiRoot"):
                await adapter.send(HI)
            await adapter.close()

    run(test())


def test_half_a_symbol_in_an_answer_does_not_spoil_it():
    async def test():
        body = rb'{"ok":true,"result":{"id":7,"is_bot":true,"username":"a","first_name":"\ud83d"}}'
        async with always_answering(body) as root:
            adapter = adapter_for(root)
            assert await adapter.probe() == "@a"
            await adapter.close()

    run(test())


@pytest.mark.parametrize(
    ("text", "chat"),
    [("42", "42"), ("telegram:42", "42"), ("tg:-100", "-100"), ("telegram:group:-100", "-100")],
)
def test_a_target_is_a_chat_id(text: str, chat: str):
    async def test():
        adapter = adapter_for("http://127.0.0.1:1")
        assert adapter.target(text) == chat
        for bad in ("@ada", "", "0", "4 2", "telegram:", "12x", "1" * 40):
            with pytest.raises(ValueError, match="not a chat id"):
                adapter.target(bad)
        await adapter.close()

    run(test())


def test_settings_take_ids_and_refuse_names():
    section = {"botToken": "t", "allowFrom": [42, "tg:43", "telegram:-100", "*"]}
    settings, problems = check_channels({"telegram": section})
    assert problems == []
    assert settings["telegram"].allowed == {"42", "43", "-100", "*"}
    for bad, word in (
        ({"allowFrom": ["@ada"]}, "numeric id"),
        ({"allowFrom": ["telegram:ada"]}, "numeric id"),
        ({"dmPolicy": "open"}, 'allowFrom: ["*"]'),
        ({"apiRoot": "ftp://x"}, "apiRoot"),
        ({"textChunkLimit": 5000}, "textChunkLimit"),
        ({"botTokn": "x"}, "botToken"),
    ):
        _, problems = check_channels({"telegram": bad})
        assert word in str(problems[0]), bad
