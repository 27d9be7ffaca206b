"""The whole channels worker, as a process, between a strict Bot API and a real bus."""

from pathlib import Path
from typing import Any

import pytest

from bus.errors import RpcError, unavailable
from tests.kit.eventually import eventually, run
from tests.workers.channels.bot_api import TOKEN, BotApi, Failure, bot_api
from tests.workers.channels.stand_in_front import channels_worker

pytestmark = pytest.mark.processes


def settings(api: BotApi, **more: Any):
    return {"botToken": TOKEN, "apiRoot": api.root, "pollSeconds": 5, "allowFrom": [42, 43], **more}


def test_a_message_is_answered_and_nothing_of_it_is_left_open(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            front.is_holding = True
            update_id = api.say("hello")
            await api.until(lambda: api.actions == [{"chat_id": 42, "action": "typing"}])
            await eventually(
                lambda: (
                    worker.rows("SELECT state, run_id FROM inbox")
                    == [("running", f"telegram:default:{update_id}")]
                ),
                "the run is noted",
            )
            front.release()
            await api.until(lambda: api.texts() == ["echo: hello"])
            assert front.asked[0] == {
                "message": "hello", "sessionKey": "agent:main:main", "channel": "telegram",
                "idempotencyKey": f"telegram:default:{update_id}", "accountId": "default",
                "to": "42",
            }  # fmt: skip
            await eventually(
                lambda: worker.rows("SELECT state FROM outbox") == [("sent",)], "outbox is sent"
            )
            assert worker.rows("SELECT state FROM inbox") == [("answered",)]
            assert await worker.end() == 0
            assert api.conflict_count == 0
            await eventually(lambda: api.poll is None, "the poll's connection is closed")

    run(test())


def test_a_stranger_gets_one_code_and_is_answered_after_approval(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, _):
            api.say("let me in", chat=77)
            api.say("hello?", chat=77)
            await api.until(lambda: api.texts(77))
            api.say("someone known", chat=42)
            await api.until(lambda: api.texts(42))
            assert len(api.texts(77)) == 1
            (request,) = (await front.call("channels.pairing.list"))["requests"]
            assert request["senderId"] == "77"
            assert request["senderName"] == "Ada"
            assert request["code"] in api.texts(77)[0]
            where = {"channel": "telegram", "code": request["code"].lower()}
            approved = await front.call("channels.pairing.approve", where)
            assert approved["senderId"] == "77"
            api.say("now?", chat=77)
            await api.until(lambda: len(api.texts(77)) == 3)
            assert "approved" in api.texts(77)[1]
            assert api.texts(77)[2] == "echo: now?"
            assert [params["message"] for params in front.asked] == ["someone known", "now?"]
            with pytest.raises(RpcError, match="no pairing request"):
                await front.call("channels.pairing.approve", where)

    run(test())


def test_send_delivers_once_per_key_and_refuses_what_it_cannot_do(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            await api.until(lambda: api.offsets)
            params = {"to": "telegram:99", "message": "news", "idempotencyKey": "k1"}
            sent = await front.call("send", params)
            assert sent == {
                "runId": "k1", "messageId": "1", "channel": "telegram", "chatId": "99",
            }  # fmt: skip
            assert await front.call("send", params) == sent
            await worker.kill()
            await worker.start()
            front.ready = None
            polls = len(api.offsets)
            await api.until(lambda: len(api.offsets) > polls)
            assert await front.call("send", params) == sent
            assert api.texts(99) == ["news"]
            for bad, message in (
                ({"channel": "pigeon"}, "unsupported channel: pigeon"),
                ({"to": "@ada"}, "not a chat id"),
                ({"mediaUrl": "http://x"}, "media cannot be sent"),
                ({"message": " \n"}, "white space"),
                ({"colour": "red"}, "invalid send params"),
            ):
                with pytest.raises(RpcError, match=message) as caught:
                    await front.call("send", {**params, "idempotencyKey": "k2", **bad})
                assert caught.value.code == "INVALID_REQUEST"

    run(test())


def test_send_tells_why_the_service_refused_and_tells_it_again(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, _):
            await api.until(lambda: api.offsets)
            api.failures["sendMessage"].append(Failure(403, "Forbidden: bot was blocked"))
            params = {"to": "99", "message": "news", "idempotencyKey": "k1"}
            for _ in range(2):
                with pytest.raises(RpcError, match="bot was blocked") as caught:
                    await front.call("send", params)
                assert caught.value.code == "UNAVAILABLE"
            assert api.texts(99) == []

    run(test())


def test_an_absent_agent_is_asked_again_with_the_same_key(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, _):
            away = [unavailable("agent is down"), unavailable("agent is down")]
            front.answer = lambda _params: away.pop() if away else "back"
            api.say("hello")
            await api.until(lambda: api.texts() == ["back"])
            assert len({params["idempotencyKey"] for params in front.asked}) == 1
            assert len(front.asked) == 3

    run(test())


def test_a_run_that_fails_becomes_one_sentence(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            error = RpcError("UNAVAILABLE", "the model is not configured.\ndetails", payload={})
            front.answer = lambda _params: error
            api.say("hello")
            await api.until(api.texts)
            assert api.texts() == [
                "Sorry, this could not be answered: the model is not configured."
            ]
            assert len(front.asked) == 1
            assert worker.rows("SELECT state FROM inbox") == [("answered",)]

    run(test())


def test_a_long_answer_comes_in_order_and_whole(tmp_path: Path):
    async def test():
        words = " ".join(f"word{number}" for number in range(2000))
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, _):
            front.answer = lambda _params: words
            api.failures["sendMessage"].append(Failure(500))
            api.failures["sendMessage"].append(Failure(429, "Too Many Requests", retry_after=1))
            api.say("much")
            await api.until(lambda: " ".join(api.texts()) == words)
            assert len(api.texts()) == 5

    run(test())


def test_chats_go_side_by_side_and_each_in_order(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, _):
            front.is_holding = True
            api.say("a1", chat=42)
            api.say("a2", chat=42)
            api.say("b1", chat=43)
            await eventually(lambda: len(front.held) == 2, "one run for each chat")
            assert {params["message"] for params in front.asked} == {"a1", "b1"}
            front.release()
            await api.until(lambda: len(api.sent) == 3)
            assert api.texts(42) == ["echo: a1", "echo: a2"]

    run(test())


def test_health_says_connected_only_on_evidence_and_names_a_bad_token(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            api.token = "other"

            def shown():
                return front.snapshots.get("channels", {}).get("health", {}).get("channels", {})

            await eventually(
                lambda: "token" in shown().get("telegram", {}).get("lastError", ""), "token named"
            )
            assert shown()["telegram"]["connected"] is False
            (problem,) = front.snapshots["channels"]["problems"]
            assert "botToken" in problem["text"]
            assert TOKEN not in worker.log()
            assert TOKEN.partition(":")[2] not in worker.log()
            count = len(api.calls)
            status = await front.call("channels.status", {"probe": True})
            assert status["channels"]["telegram"]["probe"]["ok"] is False
            assert len(api.calls) == count + 1  # the probe; the parked poll waits for minutes

    run(test())


def test_status_has_what_clients_need(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            await api.until(lambda: api.offsets)
            api.say("hello")
            await api.until(api.texts)
            status = await front.call("channels.status", {"probe": True})
            account = status["channels"]["telegram"]
            assert account["configured"] is account["running"] is account["connected"] is True
            assert account["probe"]["bot"] == {"username": "gate_bot"}
            assert status["channelAccounts"]["telegram"][0]["accountId"] == "default"
            assert status["channelDefaultAccountId"] == {"telegram": "default"}
            assert status["channelOrder"] == ["telegram"]
            assert "aiohttp" in worker.maps()
            await eventually(
                lambda: (
                    front.snapshots["channels"]["status"]["channelSummary"]
                    == ["Telegram: connected as @gate_bot"]
                ),
                "the front knows",
            )

    run(test())


def test_without_a_channel_the_worker_is_light_and_says_so(tmp_path: Path):
    async def test():
        async with channels_worker(tmp_path, None) as (front, worker):
            status = await front.call("channels.status")
            assert status["channels"]["telegram"]["configured"] is False
            assert "aiohttp" not in worker.maps()
            with pytest.raises(RpcError, match="channel is required"):
                await front.call("send", {"to": "1", "message": "x", "idempotencyKey": "k"})
            assert front.refused == []
            assert await worker.end() == 0

    run(test())
