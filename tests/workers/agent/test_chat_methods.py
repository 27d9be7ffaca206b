"""`chat.*` and `sessions.list`, asked of a real worker on a real bus."""

import sqlite3
import time
from typing import Any

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, play
from workers.agent import sessions, tables
from workers.agent.records import Session

pytestmark = pytest.mark.processes


async def send(bus: Front, message: str, key: str, session: str = "main", **params: Any) -> Any:
    ask = bus.ask("chat.send", sessionKey=session, message=message, idempotencyKey=key, **params)
    return await ask.result()


def state(bus: Front, run_id: str) -> str | None:
    events = bus.events("chat", run_id)
    return events[-1]["state"] if events else None


def test_a_message_is_acknowledged_before_its_events_which_echo_the_key(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            assert await send(bus, "hi", "k", "Project X") == {"runId": "k", "status": "started"}
            await bus.until(lambda: state(bus, "k") == "final")
            assert bus.log[0][0] == "reply"
            assert {e["sessionKey"] for e in bus.events("chat", "k")} == {"Project X"}
            assert {e["sessionKey"] for e in bus.events("agent", "k")} == {"agent:main:Project X"}
            message = bus.events("chat", "k")[-1]["message"]
            assert message["content"] == [{"type": "text", "text": "hi"}]

    play(scenario())


def test_a_repeated_message_is_in_flight_then_ok_also_after_a_restart(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 150}, {"text": "x"})) as bus:
            await send(bus, "hi", "k")
            assert await send(bus, "hi", "k") == {"runId": "k", "status": "in_flight"}
            await bus.wait("k")
            assert await send(bus, "hi", "k") == {"runId": "k", "status": "ok"}
            await bus.kill()
            await bus.start()
            assert await send(bus, "hi", "k") == {"runId": "k", "status": "ok"}
            history = await bus.ask("chat.history", sessionKey="main").result()
            assert [one["role"] for one in history["messages"]] == ["user", "assistant"]

    play(scenario())


def test_abort_is_quick_told_before_its_answer_and_keeps_what_was_said(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"text": "half"}, {"sleep_ms": 60_000})) as bus:
            await send(bus, "long job", "k")
            await bus.until(lambda: state(bus, "k") == "delta")
            begun = time.monotonic()
            answer = await bus.ask("chat.abort", sessionKey="main", runId="k").result()
            assert time.monotonic() - begun < 0.1
            assert answer == {"ok": True, "aborted": True, "runIds": ["k"]}
            *_, last = bus.events("chat", "k")
            assert (last["state"], last["stopReason"]) == ("aborted", "rpc")
            assert [name for name, _ in bus.log].index("reply", 1) > bus.log.index(("chat", last))
            ended = await bus.wait("k")
            assert ended["status"] == "error"
            assert bus.events("agent", "k")[-1]["data"]["aborted"] is True
            assert state(bus, "k") == "aborted"
            history = await bus.ask("chat.history", sessionKey="main").result()
            said = history["messages"][-1]
            assert (said["content"][0]["text"], said["stopReason"]) == ("half", "aborted")
            again = await bus.ask("chat.abort", sessionKey="main", runId="k").result()
            assert again == {"ok": True, "aborted": False, "runIds": []}

    play(scenario())


def test_abort_names_the_right_session_and_takes_all_its_runs(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 60_000})) as bus:
            for key in ("a", "b"):
                await send(bus, "job", key)
            await send(bus, "job", "c", "other")
            wrong = bus.ask("chat.abort", sessionKey="other", runId="a")
            assert (await wrong.error())["message"] == "runId does not match sessionKey"
            unknown = await bus.ask("chat.abort", sessionKey="main", runId="nope").result()
            assert unknown == {"ok": True, "aborted": False, "runIds": []}
            stopped = await send(bus, " STOP ", "d")
            assert stopped == {"ok": True, "aborted": True, "runIds": ["a", "b"]}
            for key in ("a", "b"):
                assert (await bus.wait(key))["status"] == "error"
                assert bus.events("chat", key)[-1]["stopReason"] == "stop"
            assert await bus.wait("c", 0) == {"runId": "c", "status": "timeout"}
            assert await bus.wait("d", 0) == {"runId": "d", "status": "timeout"}

    play(scenario())


def test_messages_of_a_session_are_answered_in_order_and_the_model_sees_them(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for number in range(6):
                await send(bus, f"m{number}", f"k{number}")
            await bus.wait("k5")
            history = await bus.ask("chat.history", sessionKey="main").result()
            texts = [one["content"][0]["text"] for one in history["messages"]]
            assert texts == [f"m{number}" for number in range(6) for _ in range(2)]
            usage = [m["usage"]["input"] for m in history["messages"] if m["role"] == "assistant"]
            assert usage == [1, 3, 5, 7, 9, 11]  # the scripted model counts words of its prompt
            newest = await bus.ask("chat.history", sessionKey="main", limit=3).result()
            assert newest["messages"] == history["messages"][-3:]

    play(scenario())


def test_a_session_takes_a_bounded_number_of_waiting_messages(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 60_000})) as bus:
            for number in range(51):
                await send(bus, "m", f"k{number}")
            refused = bus.ask("chat.send", sessionKey="main", message="m", idempotencyKey="k51")
            error = await refused.error()
            assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
            assert "50 runs waiting" in error["message"]
            assert (await send(bus, "m", "other", "other"))["status"] == "started"

    play(scenario())


def test_history_of_an_unknown_session_is_empty(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            answer = await bus.ask("chat.history", sessionKey="nobody").result()
            assert answer == {"sessionKey": "nobody", "messages": [], "thinkingLevel": "off"}

    play(scenario())


def test_empty_messages_are_refused(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            ask = bus.ask("chat.send", sessionKey="main", message="  ", idempotencyKey="k")
            assert (await ask.error())["message"] == "message or attachment required"

    play(scenario())


def test_an_injected_note_is_in_history_and_told(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            early = bus.ask("chat.inject", sessionKey="main", message="note")
            assert (await early.error())["message"] == "session not found"
            await bus.agent("hi", "k")
            ask = bus.ask("chat.inject", sessionKey="main", message="note", label="L")
            answer = await ask.result()
            history = await bus.ask("chat.history", sessionKey="main").result()
            said = history["messages"][-1]
            assert said["content"][0]["text"] == "[L]\n\nnote"
            assert said["stopReason"] == "injected"
            event = bus.events("chat", f"inject-{answer['messageId']}")[0]
            assert (event["state"], event["seq"]) == ("final", 0)

    play(scenario())


def test_system_events_go_into_the_next_prompt_once(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for text in ("door open", "door open", "lamp on"):
                bus.publish("system-event", {"text": text})
            waiting = ["door open", "lamp on"]
            await bus.until(
                lambda: (
                    "agent" in bus.snapshots
                    and bus.snapshots["agent"]["status"]["queuedSystemEvents"] == waiting
                )
            )
            first = await bus.agent("hi", "k1")
            text = first["result"]["payloads"][0]["text"]
            assert text == "System: door open\nSystem: lamp on\nhi"
            second = await bus.agent("hi", "k2")
            assert second["result"]["payloads"][0]["text"] == "hi"
            history = await bus.ask("chat.history", sessionKey="main").result()
            assert history["messages"][0]["content"][0]["text"] == "hi"

    play(scenario())


def test_ten_thousand_sessions_are_listed_at_once(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            await bus.kill()
            with sqlite3.connect(paths.database("agent")) as db:
                for number in range(10_000):
                    entry = sessions.spoken(sessions.SessionEntry(), f"message {number}")
                    key = f"agent:main:s{number}"
                    tables.put_session(db, Session(key, f"id{number}", "main", number, entry))
            db.close()
            await bus.start()
            begun = time.monotonic()
            answer = await bus.ask("sessions.list", limit=5, includeDerivedTitles=True).result()
            assert time.monotonic() - begun < 0.1
            assert answer["sessions"][0]["derivedTitle"] == "message 9999"
            everything = await bus.ask("sessions.list").result()
            assert everything["count"] == 10_000
            found = await bus.ask("sessions.list", search="S42", limit=3).result()
            assert [row["key"] for row in found["sessions"]] == [
                "agent:main:s4299",
                "agent:main:s4298",
                "agent:main:s4297",
            ]

    play(scenario())
