"""`agent`, `agent.wait` and the catalogs, asked of a real worker on a real bus."""

from pathlib import Path

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, make_place, play, scripted

pytestmark = pytest.mark.processes


def lifecycle(bus: Front, run_id: str) -> list[str]:
    return [e["stream"] for e in bus.events("agent", run_id)]


def test_a_run_is_accepted_streamed_and_answered_in_this_order(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"text": "Hel"}, {"sleep_ms": 60}, {"text": "lo"})) as bus:
            ask = bus.ask("agent", message="hi", sessionKey="main", idempotencyKey="k-1")
            final = await ask.result()
            first = ask.frames[0]["payload"]
            assert first.keys() == {"runId", "status", "acceptedAt"}
            assert (first["runId"], first["status"]) == ("k-1", "accepted")
            assert final["result"]["payloads"] == [{"text": "Hello", "mediaUrl": None}]
            assert (final["status"], final["summary"]) == ("ok", "completed")
            assert final["result"]["meta"]["agentMeta"]["model"] == "it"
            names = [name for name, _ in bus.log]
            assert names[0] == "partial"
            assert names[-1] == "reply"
            assert lifecycle(bus, "k-1") == ["lifecycle", "assistant", "assistant", "lifecycle"]
            assert [e["seq"] for e in bus.events("agent", "k-1")] == [1, 2, 3, 4]
            assert [e["state"] for e in bus.events("chat", "k-1")] == ["delta", "final"]
            assert {e["sessionKey"] for _, e in bus.log[1:-1]} == {"agent:main:main"}

    play(scenario())


def test_text_that_was_held_back_leaves_soon_although_nothing_follows(place: Place) -> None:
    async def scenario() -> None:
        steps = ({"text": "a"}, {"text": "b"}, {"text": "c"}, {"sleep_ms": 60_000})
        async with front(place(*steps)) as bus:
            bus.ask("agent", message="hi", idempotencyKey="k")

            def said() -> list[str]:
                return [e["data"].get("text", "") for e in bus.events("agent", "k")]

            await bus.until(lambda: "abc" in said())
            assert len(said()) <= 4

    play(scenario())


def test_the_events_of_a_long_answer_cost_a_bounded_multiple_of_it(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"text": "0123456789" * 10, "repeat": 5_000})) as bus:
            final = await bus.agent("hi", "k")
            answer = final["result"]["payloads"][0]["text"]
            assert len(answer) == 500_000
            texts = [e["data"].get("text", "") for e in bus.events("agent", "k")]
            assert sum(map(len, texts)) < 20 * len(answer)
            assert texts[-2] == answer
            deltas = "".join(e["data"].get("delta", "") for e in bus.events("agent", "k"))
            assert deltas == answer

    play(scenario())


def test_a_run_outside_the_main_session_has_no_chat_events(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("hi", "k", sessionKey="other")
            assert bus.events("chat", "k") == []
            assert bus.events("agent", "k")[0]["sessionKey"] == "agent:main:other"

    play(scenario())


def test_the_same_key_gives_the_same_answer_and_one_run_also_after_a_restart(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            first = await bus.agent("one", "k")
            assert await bus.agent("other text", "k") == first
            await bus.kill()
            await bus.start()
            assert await bus.agent("third text", "k") == first
            assert len(bus.ends("k")) == 1

    play(scenario())


def test_the_same_key_during_the_run_is_accepted_again_and_gets_the_final(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 200}, {"text": "done"})) as bus:
            first = bus.ask("agent", message="a", idempotencyKey="k")
            await bus.until(lambda: bool(bus.events("agent", "k")))
            second = bus.ask("agent", message="b", idempotencyKey="k")
            assert await first.result() == await second.result()
            assert first.frames[0]["payload"] == second.frames[0]["payload"]

    play(scenario())


def test_a_failed_run_is_answered_with_payload_and_error_every_time(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"fail": "no credit left"})) as bus:
            frames = [
                await bus.ask("agent", message="hi", idempotencyKey="k").answer() for _ in range(2)
            ]
            assert frames[0]["error"]["code"] == "UNAVAILABLE"
            assert "no credit left" in frames[0]["error"]["message"]
            payload = frames[0]["payload"]
            assert payload.keys() == {"runId", "status", "summary"}
            assert frames[0]["error"] == frames[1]["error"]
            assert bus.ends("k") == ["error"]
            assert bus.events("chat", "k")[-1]["state"] == "error"
            waited = await bus.wait("k")
            assert (waited["status"], "no credit left" in waited["error"]) == ("error", True)

    play(scenario())


def test_an_unknown_model_ends_the_run_naming_the_key_and_what_there_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = scripted(model={"primary": "nowhere/x"})
        async with front(make_place(tmp_path, config)) as bus:
            error = await bus.ask("agent", message="hi", idempotencyKey="k").error()
            for part in ("agents.defaults.model.primary", "nowhere/x", "play", "local"):
                assert part in error["message"]

    play(scenario())


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"message": ""}, "at /message: must NOT have fewer than 1 characters"),
        ({"message": "x", "mood": "good"}, "unexpected property 'mood'"),
        ({"message": "x", "agentId": "ghost"}, 'unknown agent id "ghost"'),
        ({"message": "x", "sessionKey": "agent:ghost:x"}, 'unknown agent id "ghost"'),
        ({"message": "x", "channel": "pigeon"}, "unknown channel: pigeon"),
        ({"message": "x", "timeout": -1}, "at /timeout"),
        ({"message": "x", "label": "l" * 65}, "at /label"),
        ({"message": "x", "sessionId": "none"}, "no session has sessionId"),
        ({"message": "x", "attachments": [{"content": "%%"}]}, "not base64"),
    ],
)
def test_a_bad_request_is_refused_and_its_key_stays_free(
    params: dict[str, object], text: str, place: Place
) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            error = await bus.ask_raw("agent", {"idempotencyKey": "k", **params}).error()
            assert error["code"] == "INVALID_REQUEST"
            assert text in error["message"]
            assert (await bus.agent("good", "k"))["status"] == "ok"

    play(scenario())


def test_wait_polls_waits_ahead_of_the_run_and_remembers_over_restarts(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            assert await bus.wait("k", 0) == {"runId": "k", "status": "timeout"}
            early = bus.ask("agent.wait", runId="k", timeoutMs=15_000)
            await bus.agent("hi", "k")
            ended = await early.result()
            assert ended["status"] == "ok"
            assert ended["startedAt"] <= ended["endedAt"]
            await bus.kill()
            await bus.start()
            assert await bus.wait("k", 0) == ended

    play(scenario())


def test_a_run_over_its_limit_is_stopped_and_the_limit_named(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"text": "begun"}, {"sleep_ms": 60_000})) as bus:
            error = await bus.ask("agent", message="x", idempotencyKey="k", timeout=1).error()
            assert "after 1 s, the limit set by the request" in error["message"]
            last = bus.events("chat", "k")[-1]
            assert (last["state"], last["stopReason"]) == ("aborted", "timeout")
            assert bus.ends("k") == ["error"]
            history = await bus.ask("chat.history", sessionKey="main").result()
            said = history["messages"][-1]
            assert (said["content"][0]["text"], said["stopReason"]) == ("begun", "timeout")

    play(scenario())


def test_the_configured_limit_holds_for_runs_that_say_nothing(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 60_000}, timeoutSeconds=1)) as bus:
            error = await bus.ask("agent", message="x", idempotencyKey="k").error()
            assert "agents.defaults.timeoutSeconds" in error["message"]
            ended = await bus.wait("k")
            assert 1_000 <= ended["endedAt"] - ended["startedAt"] < 2_000

    play(scenario())


def test_agents_models_and_identities_are_listed(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = scripted()
        config["agents"]["list"] = [
            {"id": "ops", "name": "Ops", "identity": {"name": "Otto", "emoji": "🦉"}},
            {"id": "home", "default": True},
        ]
        async with front(make_place(tmp_path, config)) as bus:
            agents = await bus.ask("agents.list").result()
            assert agents["defaultId"] == "home"
            assert [one["id"] for one in agents["agents"]] == ["ops", "home"]
            models = await bus.ask("models.list").result()
            assert ("local", "smollm2-135m") in {
                (one["provider"], one["id"]) for one in models["models"]
            }
            identity = await bus.ask("agent.identity.get", agentId="ops").result()
            assert (identity["name"], identity["emoji"]) == ("Otto", "🦉")
            run = await bus.agent("hi", "k", agentId="ops")
            assert run["status"] == "ok"
            assert bus.events("agent", "k")[0]["sessionKey"] == "agent:ops:main"
            clash = bus.ask(
                "agent", message="x", idempotencyKey="q", agentId="ops", sessionKey="main"
            )
            assert "does not match" in (await clash.error())["message"]

    play(scenario())
