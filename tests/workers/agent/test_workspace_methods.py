"""`agents.files.*`, `agents.workspace.ensure`, and agents that only the configuration changes."""

import stat
from pathlib import Path
from typing import Any

import pytest

from conf.paths import Paths
from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, make_place, play
from workers.agent.workspace_methods import agent_id_of

pytestmark = pytest.mark.processes


def place_of(root: Path, workspace: Path) -> Paths:
    """A profile with a second agent whose workspace is not there yet."""
    agents = [{"id": "main", "default": True}, {"id": "work", "workspace": str(workspace)}]
    return make_place(root, {"agents": {"list": agents}})


async def error_of(bus: Front, method: str, **params: Any) -> tuple[str, str]:
    error = await bus.ask(method, **params).error()
    return error["code"], error["message"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_was_set_is_there_private_and_whole_after_a_kill(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "deep" / "work"
        async with front(place_of(tmp_path, root)) as bus:
            named = {"agentId": "WORK", "name": "SOUL.md"}
            answer = await bus.ask("agents.files.set", **named, content="Be kind. ä").result()
            assert (answer["ok"], answer["agentId"], answer["workspace"]) == (
                True,
                "work",
                str(root),
            )
            await bus.kill()
            await bus.start()
            got = await bus.ask("agents.files.get", **named).result()
            assert got["file"] == answer["file"]
            assert got["file"]["content"] == "Be kind. ä"
            assert (got["file"]["size"], got["file"]["missing"]) == (11, False)
            assert (root / "SOUL.md").read_text(encoding="utf-8") == "Be kind. ä"
            assert [mode(path) for path in (root.parent, root, root / "SOUL.md")] == [
                0o700,
                0o700,
                0o600,
            ]

    play(scenario())


def test_the_list_names_all_files_also_those_that_are_not_there(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        (paths.workspace / "memory.md").write_text("old")
        async with front(paths) as bus:
            await bus.ask("agents.files.set", agentId="main", name="USER.md", content="").result()
            listed = await bus.ask("agents.files.list", agentId="main").result()
            states = {one["name"]: one["missing"] for one in listed["files"]}
            assert states == {
                "AGENTS.md": True, "SOUL.md": True, "TOOLS.md": True, "IDENTITY.md": True,
                "USER.md": False, "HEARTBEAT.md": True, "BOOTSTRAP.md": True, "memory.md": False,
            }  # fmt: skip
            assert all("content" not in one for one in listed["files"])
            missing = await bus.ask("agents.files.get", agentId="main", name="AGENTS.md").result()
            assert (missing["file"]["missing"], "content" in missing["file"]) == (True, False)

    play(scenario())


@pytest.mark.parametrize("name", ["../gatewayd.json", "/etc/passwd", "notes.md", "soul.md", "."])
def test_only_the_files_of_a_workspace_are_served(place: Place, name: str) -> None:
    async def scenario() -> None:
        paths = place()
        before = paths.config.read_bytes()
        async with front(paths) as bus:
            named = {"agentId": "main", "name": name}
            refused = ("INVALID_REQUEST", f'unsupported file "{name}"')
            assert await error_of(bus, "agents.files.get", **named) == refused
            assert await error_of(bus, "agents.files.set", **named, content="x") == refused
        assert paths.config.read_bytes() == before
        assert list(paths.workspace.iterdir()) == []

    play(scenario())


def test_a_link_out_of_the_workspace_is_neither_read_nor_written(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        (paths.workspace / "SOUL.md").symlink_to(paths.config)
        (paths.workspace / "USER.md").mkdir()
        before = paths.config.read_bytes()
        async with front(paths) as bus:
            for name in ("SOUL.md", "USER.md"):
                named = {"agentId": "main", "name": name}
                read = await error_of(bus, "agents.files.get", **named)
                written = await error_of(bus, "agents.files.set", **named, content="x")
                assert read[0] == written[0] == "UNAVAILABLE"
                assert str(paths.workspace / name) in read[1]
                assert "is not a regular file" in written[1]
            listed = await bus.ask("agents.files.list", agentId="main").result()
            assert all(one["missing"] for one in listed["files"])
        assert paths.config.read_bytes() == before

    play(scenario())


def test_a_workspace_is_created_when_it_is_wanted_and_only_then(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "work"
        async with front(place_of(tmp_path, root)) as bus:
            await bus.ask("agents.files.list", agentId="work").result()
            assert not root.exists()
            for _ in range(2):
                answer = await bus.ask("agents.workspace.ensure", agentId="work").result()
                assert (answer["ok"], answer["workspace"]) == (True, str(root))
                assert mode(root) == 0o700
            default = await bus.ask("agents.workspace.ensure").result()
            assert default["agentId"] == "main"
            root.rmdir()
            root.write_text("a file")
            code, text = await error_of(bus, "agents.workspace.ensure", agentId="work")
            assert (code, str(root) in text) == ("UNAVAILABLE", True)

    play(scenario())


def test_agents_are_changed_in_the_configuration_and_each_refusal_says_where(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        paths = place_of(tmp_path, tmp_path / "work")
        before = paths.config.read_bytes()
        async with front(paths) as bus:
            asked = [
                ("agents.create", {"name": "My Helper", "workspace": "/w"}, '"id": "my-helper"'),
                ("agents.update", {"agentId": "work", "name": "W"}, 'id "work"'),
                ("agents.delete", {"agentId": "work"}, 'id "work"'),
            ]
            for method, params, text in asked:
                code, message = await error_of(bus, method, **params)
                assert code == "UNAVAILABLE"
                assert text in message
                assert f"`agents.list` in {paths.config}" in message
        assert paths.config.read_bytes() == before

    play(scenario())


def test_agents_that_cannot_be_meant_are_refused_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with front(place_of(tmp_path, tmp_path / "work")) as bus:
            refused = [
                ("agents.create", {"name": "Main", "workspace": "/w"}, '"main" is reserved'),
                ("agents.create", {"name": "Work", "workspace": "/w"}, '"work" already exists'),
                ("agents.update", {"agentId": "x"}, 'agent "x" not found'),
                ("agents.delete", {"agentId": "x"}, 'agent "x" not found'),
                ("agents.delete", {"agentId": "main"}, "is the default agent"),
                ("agents.files.list", {"agentId": "x"}, 'unknown agent id "x"'),
                ("agents.workspace.ensure", {"agentId": "x"}, 'unknown agent id "x"'),
            ]
            for method, params, text in refused:
                code, message = await error_of(bus, method, **params)
                assert code == "INVALID_REQUEST"
                assert text in message

    play(scenario())


@pytest.mark.parametrize(
    ("name", "agent_id"),
    [("Work", "work"), (" My  Helper! ", "my-helper"), ("a_b-c", "a_b-c"), ("äöü", "main")],
)
def test_the_id_of_an_agent_follows_from_its_name(name: str, agent_id: str) -> None:
    assert agent_id_of(name) == agent_id
