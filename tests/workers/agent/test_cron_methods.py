"""`cron.*` without a scheduler: nothing is there, and nothing is said to be."""

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import front, play

pytestmark = pytest.mark.processes


def test_there_are_no_jobs_and_the_scheduler_is_off(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            assert await bus.ask("cron.list", includeDisabled=True).result() == {"jobs": []}
            assert await bus.ask("cron.status").result() == {
                "enabled": False,
                "storePath": str(paths.database("agent")),
                "jobs": 0,
                "nextWakeAtMs": None,
            }
            for name in ({"id": "x"}, {"jobId": "x"}):
                assert await bus.ask("cron.runs", **name, limit=5).result() == {"entries": []}
                removed = await bus.ask("cron.remove", **name).result()
                assert removed == {"ok": True, "removed": False}

    play(scenario())


def test_no_job_is_taken_that_nothing_would_run(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            added = await bus.ask("cron.add", name="n", schedule={"kind": "every"}).error()
            assert added["code"] == "UNAVAILABLE"
            assert "scheduler is not part of this version" in added["message"]
            assert "retryable" not in added
            unknown = [("cron.run", {"mode": "due"}), ("cron.update", {"patch": {"enabled": True}})]
            for method, params in unknown:
                error = await bus.ask(method, id="x", **params).error()
                assert error["code"] == "UNAVAILABLE"
                assert error["message"].startswith("Error: unknown cron job id: x")

    play(scenario())


@pytest.mark.parametrize("method", ["cron.run", "cron.remove", "cron.runs"])
def test_a_job_is_named_once(place: Place, method: str) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for params in ({}, {"id": "a", "jobId": "b"}, {"id": ""}, {"jobId": 7}):
                error = await bus.ask(method, **params).error()
                assert error["code"] == "INVALID_REQUEST"
                assert error["message"].startswith(f"invalid {method} params: ")

    play(scenario())
