"""The worker against crabline's Telegram server, which aiogram, an independent client, accepts."""

import asyncio
import json
import os
import re
import shutil
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kit.eventually import eventually, run
from tests.workers.channels.stand_in_front import channels_worker

PEERS = Path(__file__).parents[2] / "peers"
NODE = PEERS / ".bin/node"
CRABLINE = PEERS / "node_modules/.bin/crabline"
TOKEN = "123456:crabline_token_for_tests_abcdefghijk"
pytestmark = [pytest.mark.processes, pytest.mark.peers]


class Crabline:
    """A running server: people write through `say`, and what it was asked is recorded."""

    def __init__(
        self, manifest: dict[str, Any], recorder: Path, session: aiohttp.ClientSession
    ) -> None:
        self.root = manifest["endpoints"]["apiRoot"]
        self._inbound = manifest["endpoints"]["adminInboundUrl"]
        self._headers = {"authorization": f"Bearer {manifest['adminToken']}"}
        self._recorder = recorder
        self._session = session

    async def say(self, text: str, chat: int = 42, **more: Any):
        body = {"chatId": chat, "fromId": chat, "fromName": "Ada", "text": text, **more}
        request = self._session.post(self._inbound, json=body, headers=self._headers)
        async with request as response:
            answer = await response.json()
        assert answer["ok"], answer
        return answer["update"]["update_id"]

    def recorded(self, method: str):
        lines = self._recorder.read_text().splitlines() if self._recorder.exists() else []
        events = [json.loads(line) for line in lines]
        return [event["body"] for event in events if event.get("path", "").endswith(f"/{method}")]

    def texts(self):
        return [body["text"] for body in self.recorded("sendMessage")]


@asynccontextmanager
async def crabline(tmp_path: Path):
    ready, recorder = tmp_path / "ready.json", tmp_path / "recorder.jsonl"
    arguments = ["serve", "telegram", "--ready-file", str(ready), "--recorder", str(recorder)]
    process = await asyncio.create_subprocess_exec(
        NODE, CRABLINE, *arguments, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "CRABLINE_BOT_TOKEN": TOKEN, "CRABLINE_ADMIN_TOKEN": "admin"},
    )  # fmt: skip
    try:
        await eventually(lambda: ready.exists() and ready.read_text(), "crabline is up", 30)
        async with aiohttp.ClientSession() as session:
            yield Crabline(json.loads(ready.read_text()), recorder, session)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def settings(server: "Crabline", **more: Any):
    return {"botToken": TOKEN, "apiRoot": server.root, "pollSeconds": 3, **more}


def test_a_person_is_paired_and_then_answered(tmp_path: Path):
    async def test():
        async with (
            crabline(tmp_path) as server,
            channels_worker(tmp_path / "state", settings(server)) as (front, worker),
        ):
            front.answer = lambda params: f"{params['message']} is " + "long " * 1000
            await server.say("Paris")
            await eventually(server.texts, "the code is told")
            code = re.search(r"Pairing code: (\w{8})", server.texts()[0])[1]
            assert front.asked == []
            where = {"channel": "telegram", "code": code}
            await front.call("channels.pairing.approve", where)
            await server.say("Rome")
            await eventually(lambda: len(server.texts()) == 4, "the answer is complete")
            assert " ".join(server.texts()[2:]) == ("Rome is " + "long " * 1000).strip()
            assert server.recorded("sendChatAction")
            asked = server.recorded("getUpdates")
            assert asked[0] == {"timeout": 0, "allowed_updates": ["message"]}
            assert asked[1]["timeout"] == 3
            await worker.kill()
            await server.say("Oslo")
            await worker.start()
            await eventually(
                lambda: any(text.startswith("Oslo") for text in server.texts()),
                "answered after a crash",
            )
            assert [params["message"] for params in front.asked] == ["Rome", "Oslo"]
            assert TOKEN not in worker.log()

    run(test())


def test_a_group_is_answered_when_listed_and_mentioned(tmp_path: Path):
    async def test():
        async with (
            crabline(tmp_path) as server,
            channels_worker(tmp_path / "state", settings(server, allowFrom=[-100500])) as (
                front, worker,
            ),
        ):  # fmt: skip
            group = {"chatType": "supergroup", "fromId": 42}
            mention = {"type": "mention", "offset": 0, "length": 13}
            await server.say("just talking", -100500, **group)
            await server.say("@crabline_bot hi", -100500, **group, entities=[mention])
            await server.say("@crabline_bot hi", -100501, **group, entities=[mention])
            await eventually(
                lambda: (
                    sorted(worker.rows("SELECT state FROM inbox"))
                    == [("answered",), ("refused",), ("refused",)]
                ),
                "all are decided",
            )
            await eventually(server.texts, "answered")
            (asked,) = front.asked
            assert asked["sessionKey"] == "agent:main:telegram:group:-100500"
            assert asked["groupId"] == "-100500"
            assert server.texts() == ["echo: @crabline_bot hi"]
            assert ("",) in worker.rows("SELECT text FROM inbox WHERE state='refused'")

    run(test())


def test_a_foreign_poller_is_shown_in_the_channels_status(tmp_path: Path):
    async def intrude(server: Crabline, session: aiohttp.ClientSession) -> None:
        url = f"{server.root}/bot{TOKEN}/getUpdates"
        while True:
            async with session.post(url, json={"timeout": 1}) as response:
                await response.read()

    async def test():
        async with (
            crabline(tmp_path) as server,
            channels_worker(tmp_path / "state", settings(server)) as (front, _),
            aiohttp.ClientSession() as session,
            asyncio.TaskGroup() as tasks,
        ):
            stranger = tasks.create_task(intrude(server, session))

            def summary() -> str:
                status = front.snapshots.get("channels", {}).get("status", {})
                return str(status.get("channelSummary", [""])[0])

            await eventually(lambda: "another poller" in summary(), "the conflict is shown")
            stranger.cancel()

    run(test())


def test_the_server_is_one_that_an_independent_client_accepts(tmp_path: Path):
    aiogram = pytest.importorskip("aiogram")
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415 - heavy
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    async def test():
        async with crabline(tmp_path) as server:
            session = AiohttpSession(api=TelegramAPIServer.from_base(server.root))
            async with aiogram.Bot(TOKEN, session=session) as bot:
                assert (await bot.get_me()).is_bot
                first = await server.say("one")
                (update,) = await bot.get_updates(timeout=1, allowed_updates=["message"])
                assert update.message.text == "one"
                assert update.message.from_user.id == 42
                assert await bot.get_updates(offset=first + 1, timeout=0) == []
                assert (await bot.send_message(42, "x" * 4096)).message_id
                with pytest.raises(aiogram.exceptions.TelegramBadRequest):
                    await bot.send_message(42, "x" * 4097)

    run(test())


def test_the_peers_are_installed():
    """Fails, and says what to do, where the other tests of this file could not run."""
    assert CRABLINE.exists(), "run `make peers`"
    assert shutil.which(NODE), "run `make peers`"
