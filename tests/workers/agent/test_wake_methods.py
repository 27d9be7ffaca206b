"""`wake`, `last-heartbeat` and `set-heartbeats`."""

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import front, play

pytestmark = pytest.mark.processes


def test_a_wake_text_reaches_the_next_prompt_also_after_a_kill(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            answer = await bus.ask("wake", mode="next-heartbeat", text=" The door rang ").result()
            assert answer == {"ok": True}
            await bus.until(
                lambda: bus.snapshots["agent"]["status"]["queuedSystemEvents"] == ["The door rang"]
            )
            await bus.kill()
            await bus.start()
            run = await bus.agent("hi", "k")
            # "System: The door rang" and "hi": the scripted model counts words.
            assert run["result"]["meta"]["agentMeta"]["usage"]["input"] == 5
            await bus.until(lambda: bus.snapshots["agent"]["status"]["queuedSystemEvents"] == [])

    play(scenario())


def test_nothing_is_said_to_be_awake_that_is_not(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            error = await bus.ask("wake", mode="now", text="up").error()
            assert error["code"] == "UNAVAILABLE"
            assert "next-heartbeat" in error["message"]
            blank = await bus.ask("wake", mode="next-heartbeat", text="  ").result()
            assert blank == {"ok": False}
            run = await bus.agent("hi", "k")
            assert run["result"]["meta"]["agentMeta"]["usage"]["input"] == 1

    play(scenario())


def test_heartbeats_are_off_and_stay_off(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            assert await bus.ask("last-heartbeat").result() is None
            off = await bus.ask("set-heartbeats", enabled=False, note="ignored").result()
            assert off == {"ok": True, "enabled": False}
            on = await bus.ask("set-heartbeats", enabled=True).error()
            assert (on["code"], "not part" in on["message"]) == ("UNAVAILABLE", True)
            for params in ({}, {"enabled": 1}, {"enabled": "yes"}):
                error = await bus.ask("set-heartbeats", **params).error()
                assert error["code"] == "INVALID_REQUEST"

    play(scenario())
