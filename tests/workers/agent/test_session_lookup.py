"""`sessions.preview`, `sessions.resolve` and `sessions.listTranscripts`."""

from typing import Any

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, play

pytestmark = pytest.mark.processes


async def refusal(bus: Front, **params: Any) -> str:
    error = await bus.ask("sessions.resolve", **params).error()
    assert error["code"] == "INVALID_REQUEST"
    return str(error["message"])


def test_previews_show_the_last_messages_shortened_under_the_names_asked_for(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("one", "k1", sessionKey="x")
            await bus.agent("a message of thirty characters", "k2", sessionKey="x")
            await bus.ask("sessions.patch", key="empty", label="E").result()
            answer = await bus.ask(
                "sessions.preview", keys=["x", "empty", "none"], limit=3, maxChars=20
            ).result()
            full, empty, missing = answer["previews"]
            assert (full["key"], full["status"]) == ("x", "ok")
            short = "a message of thir..."
            assert full["items"] == [
                {"role": "assistant", "text": "one"},
                {"role": "user", "text": short},
                {"role": "assistant", "text": short},
            ]
            assert empty == {"key": "empty", "status": "empty", "items": []}
            assert missing == {"key": "none", "status": "missing", "items": []}

    play(scenario())


def test_previews_are_of_the_first_64_keys(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            names = [f"s{number}" for number in range(70)]
            answer = await bus.ask("sessions.preview", keys=names).result()
            assert [one["key"] for one in answer["previews"]] == names[:64]

    play(scenario())


def test_a_session_is_found_by_key_by_id_and_by_label(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            entry = (await bus.ask("sessions.patch", key="x", label="Desk").result())["entry"]
            for name in ({"key": "x"}, {"sessionId": entry["sessionId"]}, {"label": "Desk"}):
                found = await bus.ask("sessions.resolve", **name).result()
                assert found == {"ok": True, "key": "agent:main:x"}

    play(scenario())


def test_what_names_no_session_or_several_is_refused(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for key in ("a", "b"):  # `agent` labels without looking at other sessions
                await bus.agent("hi", key, sessionKey=key, label="Twice")
            assert await refusal(bus) == "Either key, sessionId or label is required"
            both = await refusal(bus, key="a", label="Twice")
            assert both == "Provide either key, sessionId, or label (not multiple)"
            assert await refusal(bus, key="nope") == "No session found: nope"
            assert await refusal(bus, sessionId="nope") == "No session found: nope"
            assert await refusal(bus, label="nope") == "No session found with label: nope"
            several = await refusal(bus, label="Twice")
            assert several.startswith("Multiple sessions found with label: Twice")
            other = await refusal(bus, label="Twice", agentId="other")
            assert other == "No session found with label: Twice"

    play(scenario())


def test_transcripts_are_those_that_hold_something(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            none = await bus.ask("sessions.listTranscripts", sessionKey="x").result()
            assert (none["sessionKey"], none["transcripts"]) == ("x", [])
            await bus.agent("what is this?", "k", sessionKey="x")
            answer = await bus.ask("sessions.listTranscripts", sessionKey="x").result()
            (only,) = answer["transcripts"]
            assert only["firstQuestion"] == "what is this?"
            assert only["mtime"] <= answer["ts"]

    play(scenario())
