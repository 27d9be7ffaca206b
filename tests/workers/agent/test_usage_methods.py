"""`sessions.usage*` and `usage.*`: what runs used, kept when the runs are forgotten."""

import sqlite3
from typing import Any

import pytest

from conf.paths import Paths
from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import front, play
from workers.agent.clock import now_ms
from workers.agent.runs import KEPT_MS

pytestmark = pytest.mark.processes
LONG_AGO = "2020-01-01"


def test_usage_is_summed_by_session_model_and_day(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("one two", "k1", sessionKey="a", channel="webchat")
            await bus.agent("three", "k2", sessionKey="a")
            await bus.agent("four", "k3", sessionKey="b")
            answer = await bus.ask("sessions.usage").result()
            by_key = {one["key"]: one for one in answer["sessions"]}
            assert [*by_key] == ["agent:main:b", "agent:main:a"]
            used = by_key["agent:main:a"]["usage"]
            # The scripted model counts words: of its prompt, and of what it echoes.
            assert (used["input"], used["output"], used["totalTokens"]) == (2 + 5, 2 + 1, 10)
            assert used["messageCounts"]["total"] == 4
            assert answer["totals"]["totalTokens"] == 12
            assert answer["totals"]["missingCostEntries"] == 3
            sums = answer["aggregates"]
            assert sums["messages"]["user"] == sums["messages"]["assistant"] == 3
            (model,) = sums["byModel"]
            assert (model["provider"], model["model"], model["count"]) == ("play", "it", 3)
            (channel,) = sums["byChannel"]
            assert (channel["channel"], channel["totals"]["totalTokens"]) == ("webchat", 10)
            (day,) = sums["daily"]
            assert (day["date"], day["tokens"]) == (answer["endDate"], 12)
            (latency,) = sums["dailyLatency"]
            assert latency["minMs"] <= latency["avgMs"] <= latency["p95Ms"] == latency["maxMs"]

    play(scenario())


def test_usage_of_one_session_and_of_other_days(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for key in ("a", "b"):
                await bus.agent("hi", key, sessionKey=key)
            one = await bus.ask("sessions.usage", key="a").result()
            assert [row["key"] for row in one["sessions"]] == ["agent:main:a"]
            assert one["totals"]["totalTokens"] == 2
            first = await bus.ask("sessions.usage", limit=1).result()
            assert len(first["sessions"]) == 1
            assert first["totals"]["totalTokens"] == 4
            old = await bus.ask("sessions.usage", startDate=LONG_AGO, endDate=LONG_AGO).result()
            assert (old["startDate"], old["endDate"], old["sessions"]) == (LONG_AGO, LONG_AGO, [])
            unknown = await bus.ask("sessions.usage", key="none").error()
            assert unknown["message"] == "Invalid session reference: none"

    play(scenario())


def test_a_failed_run_counts_as_an_error(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"error": "out of luck"})) as bus:
            await bus.ask("agent", message="hi", idempotencyKey="k").error()
            answer = await bus.ask("sessions.usage").result()
            counted = answer["aggregates"]["messages"]
            assert (counted["user"], counted["assistant"], counted["errors"]) == (1, 0, 1)

    play(scenario())


def test_a_series_has_a_point_for_each_run_and_adds_up(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for number in range(3):
                await bus.agent("hi", f"k{number}", sessionKey="a")
            answer = await bus.ask("sessions.usage.timeseries", key="a").result()
            points = answer["points"]
            assert [one["input"] for one in points] == [1, 3, 5]
            assert [one["cumulativeTokens"] for one in points] == [2, 6, 12]
            for key in ("none", ""):
                refused = await bus.ask("sessions.usage.timeseries", key=key).error()
                assert refused["code"] == "INVALID_REQUEST"

    play(scenario())


def test_logs_are_the_messages_with_their_tokens(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            await bus.agent("one two", "k1", sessionKey="a")
            await bus.agent("x" * 3_000, "k2", sessionKey="a")
            logs = (await bus.ask("sessions.usage.logs", key="a").result())["logs"]
            assert [one["role"] for one in logs] == ["user", "assistant"] * 2
            assert [one.get("tokens") for one in logs] == [None, 4, None, 6]
            assert (logs[0]["content"], len(logs[2]["content"])) == ("one two", 2_000)
            newest = await bus.ask("sessions.usage.logs", key="a", limit=1).result()
            assert newest["logs"] == logs[-1:]
            assert (await bus.ask("sessions.usage.logs", key="none").result()) == {"logs": []}
            refused = await bus.ask("sessions.usage.logs").error()
            assert refused["message"] == "key is required for logs"

    play(scenario())


def test_costs_outlive_the_ledger_s_memory_of_runs_and_a_kill(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            await bus.agent("one two", "k1")
            await bus.kill()
            with sqlite3.connect(paths.database("agent")) as db:
                db.execute("UPDATE runs SET ended_at = ?", (now_ms() - KEPT_MS - 1,))
            db.close()
            await bus.start()
            assert (await bus.wait("k1", 0))["status"] == "timeout"  # forgotten
            answer = await bus.ask("usage.cost", days="7").result()
            assert answer["days"] == 7
            (day,) = answer["daily"]
            assert day["totalTokens"] == answer["totals"]["totalTokens"] == 4
            old = await bus.ask("usage.cost", startDate=LONG_AGO, endDate=LONG_AGO).result()
            assert (old["days"], old["daily"], old["totals"]["totalTokens"]) == (1, [], 0)
            status = await bus.ask("usage.status").result()
            assert status["providers"] == []

    play(scenario())


def downgraded(paths: Paths) -> None:
    """The database as the version before usage was recorded left it."""
    with sqlite3.connect(paths.database("agent")) as db:
        db.executescript("DROP TABLE spent; DROP TABLE archives; PRAGMA user_version = 1")
    db.close()


def test_what_runs_used_before_it_was_recorded_is_taken_from_the_ledger(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            await bus.agent("one two", "k1")
            before = await usage_of_all(bus)
            await bus.kill()
            downgraded(paths)
            await bus.start()
            assert await usage_of_all(bus) == before

    play(scenario())


async def usage_of_all(bus: Any) -> tuple[Any, ...]:
    answer = await bus.ask("sessions.usage").result()
    sums = answer["aggregates"]
    return answer["totals"], sums["messages"], sums["byModel"], sums["daily"]
