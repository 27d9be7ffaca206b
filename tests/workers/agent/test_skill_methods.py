"""`skills.*`: none is there, and their directories are the real ones."""

from pathlib import Path

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import front, make_place, play

pytestmark = pytest.mark.processes


def test_the_directories_of_skills_are_those_of_the_agent_and_the_profile(tmp_path: Path) -> None:
    async def scenario() -> None:
        agents = [{"id": "main"}, {"id": "work", "workspace": str(tmp_path / "work")}]
        paths = make_place(tmp_path, {"agents": {"list": agents}})
        async with front(paths) as bus:
            managed = str(paths.state_dir / "skills")
            for params, workspace in (
                ({}, paths.workspace),
                ({"agentId": "Work"}, tmp_path / "work"),
            ):
                assert await bus.ask("skills.status", **params).result() == {
                    "workspaceDir": str(workspace),
                    "managedSkillsDir": managed,
                    "skills": [],
                }
            error = await bus.ask("skills.status", agentId="x").error()
            assert error["message"].startswith('unknown agent id "x"')

    play(scenario())


def test_only_nodes_ask_for_the_programs_of_skills(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            assert bus.ready is not None
            scopes = {method.name: method.scope for method in bus.ready.methods}
            assert scopes["skills.bins"] == "node"
            assert await bus.ask("skills.bins").result() == {"bins": []}

    play(scenario())


def test_an_installation_fails_in_the_shape_of_one(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            frame = await bus.ask("skills.install", name="n", installId="i").answer()
            assert (frame["ok"], frame["error"]["code"]) == (False, "UNAVAILABLE")
            payload = frame["payload"]
            assert (payload["ok"], payload["code"]) == (False, None)
            assert payload["message"] == frame["error"]["message"]
            changed = await bus.ask("skills.update", skillKey="k", enabled=True).error()
            assert changed["code"] == "UNAVAILABLE"

    play(scenario())
