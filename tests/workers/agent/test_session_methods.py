"""`sessions.patch`, `reset`, `delete` and `compact`, asked of a real worker on a real bus."""

import uuid
from typing import Any

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, make_place, play

pytestmark = pytest.mark.processes

TWO_MODELS = {
    "models": {
        "providers": {
            "play": {"api": "scripted", "script": [], "models": [{"id": "it"}, {"id": "big"}]},
            "slow": {"api": "scripted", "script": [{"text": "half"}, {"sleep_ms": 60_000}]},
        }
    },
    "agents": {"defaults": {"model": {"primary": "play/it"}}},
}


async def texts(bus: Front, session: str, session_id: str | None = None) -> list[str]:
    named = {"sessionId": session_id} if session_id else {}
    history = await bus.ask("chat.history", sessionKey=session, **named).result()
    return [one["content"][0]["text"] for one in history["messages"]]


async def patch(bus: Front, key: str, **changes: Any) -> Any:
    return await bus.ask("sessions.patch", key=key, **changes).result()


async def row(bus: Front, key: str) -> dict[str, Any]:
    listed = await bus.ask("sessions.list").result()
    (found,) = [one for one in listed["sessions"] if one["key"] == key]
    return dict(found)


async def message_of(bus: Front, method: str, **params: Any) -> str:
    error = await bus.ask(method, **params).error()
    assert error["code"] == "INVALID_REQUEST"
    return str(error["message"])


def test_a_patch_creates_the_session_and_survives_a_kill(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            answer = await patch(bus, "Garden", label="G", verboseLevel="off", thinkingLevel="HIGH")
            assert (answer["ok"], answer["key"]) == (True, "agent:main:Garden")
            assert answer["path"] == str(paths.database("agent"))
            assert answer["resolved"] == {"modelProvider": "play", "model": "it"}
            entry = answer["entry"]
            assert uuid.UUID(entry["sessionId"])
            assert (entry["label"], entry["verboseLevel"]) == ("G", "off")
            await bus.kill()
            await bus.start()
            listed = await row(bus, "agent:main:Garden")
            assert (listed["label"], listed["thinkingLevel"]) == ("G", "high")
            history = await bus.ask("chat.history", sessionKey="Garden").result()
            assert (history["thinkingLevel"], history["verboseLevel"]) == ("high", "off")

    play(scenario())


def test_null_clears_and_off_clears_what_is_off_without_a_word(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            levels = {"thinkingLevel": "low", "reasoningLevel": "on", "verboseLevel": "full"}
            await patch(bus, "x", label="L", responseUsage="full", execHost="node", **levels)
            kept = (await patch(bus, "x", thinkingLevel="off", responseUsage="off"))["entry"]
            assert "thinkingLevel" not in kept
            assert "responseUsage" not in kept
            assert (kept["reasoningLevel"], kept["execHost"]) == ("on", "node")
            gone = dict.fromkeys(("label", "reasoningLevel", "verboseLevel", "execHost"))
            entry = (await patch(bus, "x", **gone))["entry"]
            assert set(entry) == {"sessionId", "updatedAt"}

    play(scenario())


def test_the_model_of_a_session_answers_its_next_run_and_null_gives_back_the_default(
    place: Place,
) -> None:
    async def scenario() -> None:
        paths = place()
        make_place(paths.state_dir.parent, TWO_MODELS)
        async with front(paths) as bus:
            answer = await patch(bus, "x", model="big")
            assert answer["resolved"] == {"modelProvider": "play", "model": "big"}
            assert (await row(bus, "agent:main:x"))["model"] == "big"
            await bus.kill()
            await bus.start()
            run = await bus.agent("hi", "k1", sessionKey="x")
            assert run["result"]["meta"]["agentMeta"]["model"] == "big"
            await patch(bus, "x", model=None)
            assert (await row(bus, "agent:main:x"))["model"] == "it"
            run = await bus.agent("hi", "k2", sessionKey="x")
            assert run["result"]["meta"]["agentMeta"]["model"] == "it"
            said = await message_of(bus, "sessions.patch", key="x", model="play/none")
            assert said.startswith("invalid model: model is 'play/none': no such model")

    play(scenario())


def test_a_closed_session_takes_no_message_until_it_is_opened(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await patch(bus, "x", sendPolicy="deny")
            sent = {"sessionKey": "x", "message": "hi", "idempotencyKey": "k"}
            for method in ("chat.send", "agent"):
                assert await message_of(bus, method, **sent) == "send blocked by session policy"
            assert await texts(bus, "x") == []
            await patch(bus, "x", sendPolicy="allow")
            await bus.agent("hi", "k", sessionKey="x")
            assert await texts(bus, "x") == ["hi", "hi"]

    play(scenario())


def test_what_a_session_cannot_be_is_refused_and_changes_nothing(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await patch(bus, "a", label="Desk")
            await patch(bus, "subagent:1", spawnedBy="agent:main:main")
            refused = [
                ({"key": "b", "label": "Desk"}, "label already in use: Desk"),
                ({"key": "b", "thinkingLevel": "huge"}, "invalid thinkingLevel (use off|"),
                ({"key": "b", "execAsk": "yes"}, "invalid execAsk (use off|on-miss|always)"),
                ({"key": "b", "spawnedBy": "a"}, "spawnedBy is only supported for subagent:*"),
                ({"key": "subagent:1", "spawnedBy": "b"}, "spawnedBy cannot be changed"),
                ({"key": "subagent:1", "spawnedBy": None}, "spawnedBy cannot be cleared"),
                ({"key": "agent:nobody:x"}, 'unknown agent id "nobody"'),
                ({"key": "b", "sendPolicy": "maybe"}, "must be equal to one of the allowed values"),
                ({"key": "b", "groupActivation": "x"}, "at /groupActivation: must be equal"),
                ({"key": "b", "label": "x" * 65}, "must NOT have more than 64 characters"),
                ({"key": "x" * 513}, "must NOT have more than 512 characters"),
            ]
            for params, text in refused:
                assert text in await message_of(bus, "sessions.patch", **params)
            listed = await bus.ask("sessions.list").result()
            assert {one["key"] for one in listed["sessions"]} == {
                "agent:main:a",
                "agent:main:subagent:1",
            }

    play(scenario())


def test_a_reset_begins_anew_keeps_choices_and_leaves_the_transcript_readable(
    place: Place,
) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("first", "k1", sessionKey="x", label="Desk")
            await patch(bus, "x", thinkingLevel="low")
            before = await row(bus, "agent:main:x")
            answer = await bus.ask("sessions.reset", key="x").result()
            entry = answer["entry"]
            assert (answer["ok"], answer["key"]) == (True, "agent:main:x")
            assert entry["sessionId"] != before["sessionId"]
            assert (entry["label"], entry["thinkingLevel"]) == ("Desk", "low")
            assert "totalTokens" not in entry
            await bus.kill()
            await bus.start()
            assert await texts(bus, "x") == []
            assert await texts(bus, "x", before["sessionId"]) == ["first", "first"]
            run = await bus.agent("second", "k2", sessionKey="x")
            assert run["result"]["meta"]["agentMeta"]["usage"]["input"] == 1
            old = await bus.ask("sessions.listTranscripts", sessionKey="x").result()
            assert [one["sessionId"] for one in old["transcripts"]] == [
                entry["sessionId"],
                before["sessionId"],
            ]

    play(scenario())


def test_a_deleted_session_is_gone_its_transcript_archived_also_after_a_kill(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("first", "k1", sessionKey="x")
            session_id = (await row(bus, "agent:main:x"))["sessionId"]
            answer = await bus.ask("sessions.delete", key="x").result()
            (archived,) = answer.pop("archived")
            assert answer == {"ok": True, "key": "agent:main:x", "deleted": True}
            assert archived.startswith(f"{session_id}.deleted.")
            await bus.kill()
            await bus.start()
            assert (await bus.ask("sessions.list").result())["sessions"] == []
            assert await texts(bus, "x", archived) == ["first", "first"]
            again = await bus.ask("sessions.delete", key="x").result()
            assert again == {"ok": True, "key": "agent:main:x", "deleted": False, "archived": []}
            await bus.agent("new", "k2", sessionKey="x")
            assert await texts(bus, "x") == ["new", "new"]
            kept = await bus.ask("sessions.delete", key="x", deleteTranscript=False).result()
            assert (kept["deleted"], kept["archived"]) == (True, [])

    play(scenario())


def test_a_main_session_cannot_be_deleted(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for name in ("main", "agent:main:main"):
                said = await message_of(bus, "sessions.delete", key=name)
                assert said == "Cannot delete the main session (agent:main:main)."

    play(scenario())


@pytest.mark.parametrize("method", ["sessions.delete", "sessions.reset"])
def test_what_runs_and_what_waits_is_aborted_before_a_session_is_changed(
    place: Place, method: str
) -> None:
    async def scenario() -> None:
        async with front(place({"text": "half"}, {"sleep_ms": 60_000})) as bus:
            for key in ("runs", "waits"):
                bus.ask("agent", message=f"do {key}", idempotencyKey=key, sessionKey="x")
            await bus.until(lambda: len(bus.events("agent", "runs")) > 1)
            answer = await bus.ask(method, key="x").result()
            assert answer["ok"]
            for key in ("runs", "waits"):
                assert (await bus.wait(key, 0))["status"] == "error"
                assert bus.events("agent", key)[-1]["data"]["aborted"] is True
            assert await texts(bus, "x") == []
            if method == "sessions.delete":
                archived = await texts(bus, "x", answer["archived"][0])
                assert sorted(archived) == ["do runs", "do waits", "half"]

    play(scenario())


def test_compacting_keeps_the_newest_and_archives_the_rest(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            missing = await bus.ask("sessions.compact", key="x").result()
            assert missing == {
                "ok": True,
                "key": "agent:main:x",
                "compacted": False,
                "reason": "no sessionId",
            }
            await patch(bus, "x", label="L")
            empty = await bus.ask("sessions.compact", key="x").result()
            assert (empty["compacted"], empty["reason"]) == (False, "no transcript")
            for number in range(3):
                await bus.agent(f"m{number}", f"k{number}", sessionKey="x")
            short = await bus.ask("sessions.compact", key="x", maxLines=6).result()
            assert (short["compacted"], short["kept"]) == (False, 6)
            answer = await bus.ask("sessions.compact", key="x", maxLines=2).result()
            assert (answer["compacted"], answer["kept"]) == (True, 2)
            await bus.kill()
            await bus.start()
            assert await texts(bus, "x") == ["m2", "m2"]
            assert await texts(bus, "x", answer["archived"]) == ["m0", "m0", "m1", "m1"]
            assert (await row(bus, "agent:main:x"))["totalTokens"] == 0
            run = await bus.agent("m3", "k3", sessionKey="x")
            assert run["result"]["meta"]["agentMeta"]["usage"]["input"] == 3

    play(scenario())
