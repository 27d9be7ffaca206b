"""Methods `agents.*` that change agents and the files in their workspaces."""

import asyncio
from pathlib import Path
from typing import Any

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, LooseParams, Methods, Params, Result, Scope
from conf.paths import Paths
from conf.schema import Settings
from workers.agent import keys, workspace
from workers.agent.sessions import NonEmpty
from workers.agent.workspace import File


class CreateParams(Params, frozen=True):
    """Params of agents.create."""

    name: NonEmpty
    workspace: NonEmpty
    emoji: str | None = None
    avatar: str | None = None


class UpdateParams(Params, frozen=True):
    """Params of agents.update."""

    agent_id: NonEmpty
    name: NonEmpty | None = None
    workspace: NonEmpty | None = None
    model: NonEmpty | None = None
    avatar: str | None = None


class DeleteParams(Params, frozen=True):
    """Params of agents.delete."""

    agent_id: NonEmpty
    delete_files: bool = True


class AgentParams(Params, frozen=True):
    """Params of agents.files.list."""

    agent_id: NonEmpty


class FileParams(Params, frozen=True):
    """Params of agents.files.get."""

    agent_id: NonEmpty
    name: NonEmpty


class WriteParams(Params, frozen=True):
    """Params of agents.files.set."""

    agent_id: NonEmpty
    name: NonEmpty
    content: str


class EnsureParams(LooseParams, frozen=True):
    """Params of agents.workspace.ensure."""

    agent_id: str | None = None
    """None: the default agent."""


class Files(Result, frozen=True):
    """Result of agents.files.list."""

    agent_id: str
    workspace: str
    files: tuple[File, ...]


class OneFile(Result, frozen=True):
    """Result of agents.files.get."""

    agent_id: str
    workspace: str
    file: File


class WorkspaceMethods:
    """What people do to agents and their files."""

    methods = Methods()

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self._settings = settings
        self._paths = paths

    @methods.method("agents.create", scope=Scope.ADMIN)
    def create(self, _call: Call, params: CreateParams) -> dict[str, Any]:
        """Says how an agent is added: agents are part of the configuration."""
        agent_id = agent_id_of(params.name)
        if agent_id == keys.DEFAULT_AGENT:
            raise invalid(f'"{keys.DEFAULT_AGENT}" is reserved')
        if agent_id in keys.known_agents(self._settings):
            raise invalid(f'agent "{agent_id}" already exists')
        raise self._configured(f'add {{"id": "{agent_id}", …}} to')

    @methods.method("agents.update", scope=Scope.ADMIN)
    def update(self, _call: Call, params: UpdateParams) -> dict[str, Any]:
        """Says how an agent is changed: agents are part of the configuration."""
        agent_id = self._known(params.agent_id, 'agent "{0}" not found')
        raise self._configured(f'change the entry with id "{agent_id}" in')

    @methods.method("agents.delete", scope=Scope.ADMIN)
    def delete(self, _call: Call, params: DeleteParams) -> dict[str, Any]:
        """Says how an agent is removed: agents are part of the configuration."""
        agent_id = self._known(params.agent_id, 'agent "{0}" not found')
        if agent_id == self._settings.agents.default_id():
            raise invalid(f'"{agent_id}" is the default agent and cannot be deleted')
        raise self._configured(f'remove the entry with id "{agent_id}" from')

    @methods.method("agents.files.list", scope=Scope.ADMIN)
    async def list(self, _call: Call, params: AgentParams) -> Files:
        """The files of an agent's workspace, also those that are not there."""
        agent_id, root = self._root(params.agent_id)
        return Files(agent_id, str(root), await asyncio.to_thread(workspace.listed, root))

    @methods.method("agents.files.get", scope=Scope.ADMIN)
    async def get(self, _call: Call, params: FileParams) -> OneFile:
        """One file of an agent's workspace."""
        agent_id, root = self._root(params.agent_id)
        workspace.check_name(params.name)
        file = await asyncio.to_thread(workspace.read, root, params.name)
        return OneFile(agent_id, str(root), file)

    @methods.method("agents.files.set", scope=Scope.ADMIN)
    async def set(self, _call: Call, params: WriteParams) -> dict[str, Any]:
        """Replaces one file of an agent's workspace."""
        agent_id, root = self._root(params.agent_id)
        workspace.check_name(params.name)
        file = await asyncio.to_thread(workspace.write, root, params.name, params.content)
        return {"ok": True, "agentId": agent_id, "workspace": str(root), "file": file}

    @methods.method("agents.workspace.ensure", scope=Scope.ADMIN)
    async def ensure(self, _call: Call, params: EnsureParams) -> dict[str, Any]:
        """Creates an agent's workspace if it is not there."""
        wanted = (params.agent_id or "").strip() or self._settings.agents.default_id()
        agent_id, root = self._root(wanted)
        await asyncio.to_thread(workspace.ensure, root)
        files = await asyncio.to_thread(workspace.listed, root)
        return {"ok": True, "agentId": agent_id, "workspace": str(root), "files": files}

    def _root(self, name: str) -> tuple[str, Path]:
        agent_id = self._known(name, 'unknown agent id "{0}"')
        return agent_id, workspace.directory(self._settings, self._paths, agent_id)

    def _known(self, name: str, problem: str) -> str:
        agent_id = name.strip().lower()
        known = keys.known_agents(self._settings)
        if agent_id not in known:
            raise invalid(f"{problem.format(name)}; there are: {', '.join(known)}")
        return agent_id

    def _configured(self, what: str) -> RpcError:
        return unavailable(
            f"agents are kept in the configuration: {what} `agents.list` in {self._paths.config}"
            " and restart the gateway",
            None,
        )


def agent_id_of(name: str) -> str:
    """The id of an agent that people call `name`."""
    words = "".join(letter if _is_plain(letter) else " " for letter in name.lower()).split()
    return "-".join(words).strip("-_")[:64] or keys.DEFAULT_AGENT


def _is_plain(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter in "-_")
