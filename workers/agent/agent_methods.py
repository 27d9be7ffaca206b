"""Methods `agent`, `agent.wait` and `agent.identity.get`, and the catalogs of agents and models."""

import asyncio
from typing import Any

from bus.rpc import UNLIMITED_MS, Call, Methods, Params, Scope
from conf.schema import Agent, Settings
from workers.agent import answers, keys, models, requests
from workers.agent.execution import LONGEST_TIMER_MS, Active
from workers.agent.requests import AgentParams, Count, NonEmpty
from workers.agent.runs import Runs
from workers.agent.sessions import Sessions

WAIT_MS = 30_000


class WaitParams(Params, frozen=True):
    """Params of agent.wait."""

    run_id: NonEmpty
    timeout_ms: Count = WAIT_MS


class IdentityParams(Params, frozen=True):
    """Params of agent.identity.get."""

    agent_id: NonEmpty | None = None
    session_key: str | None = None


class EmptyParams(Params, frozen=True):
    """No params, and none are ignored."""


class AgentMethods:
    """What clients ask of agents."""

    methods = Methods()

    def __init__(
        self, settings: Settings, channels: frozenset[str], sessions: Sessions, runs: Runs
    ) -> None:
        self._settings = settings
        self._channels = channels
        self._sessions = sessions
        self._runs = runs

    @methods.method("agent", scope=Scope.WRITE, timeout_ms=UNLIMITED_MS)
    async def agent(self, call: Call, params: AgentParams) -> dict[str, Any]:
        """Runs an agent on a message: `accepted` at once, the answer when it is there."""
        known = self._sessions.key_of(params.session_id) if params.session_id else None
        key = requests.session_key(self._settings, params, known)
        new = requests.agent_run(self._settings, self._channels, call.caller, params, key)
        requests.check_send_policy(self._sessions.get(key))
        active, _ = await self._runs.accept(new)
        if not isinstance(active, Active):
            return answers.final(active)
        call.accept(answers.accepted(active.run))
        active.released.set()
        return answers.final(await asyncio.shield(active.ended))

    @methods.method("agent.wait", scope=Scope.WRITE, timeout_ms=UNLIMITED_MS)
    async def wait(self, _call: Call, params: WaitParams) -> dict[str, Any]:
        """Waits for the end of a run, also of one begun before a restart."""
        timeout_s = min(params.timeout_ms, LONGEST_TIMER_MS) / 1000
        ended = await self._runs.end_of(params.run_id, timeout_s)
        return answers.waited(params.run_id, ended)

    @methods.method("agent.identity.get", scope=Scope.READ)
    def identity(self, _call: Call, params: IdentityParams) -> dict[str, Any]:
        """Name and face of an agent."""
        settings = self._settings
        agent_id = params.agent_id.lower() if params.agent_id else None
        key = params.session_key or keys.main_session(settings, agent_id)
        agent_id = requests.check_agent(settings, keys.canonical(settings, key), agent_id)
        agent = models.agent_entry(settings, agent_id) or Agent(id=agent_id)
        identity = agent.identity
        emoji = {"emoji": identity.emoji} if identity.emoji else {}
        name = identity.name or agent.name or agent_id
        avatar = identity.avatar or f"/avatar/{agent_id}"
        return {"agentId": agent_id, "name": name, "avatar": avatar, **emoji}

    @methods.method("agents.list", scope=Scope.READ)
    def agents(self, _call: Call, _params: EmptyParams) -> dict[str, Any]:
        """The agents there are."""
        settings = self._settings
        listed = settings.agents.list or (Agent(id=keys.DEFAULT_AGENT),)
        return {
            "defaultId": settings.agents.default_id(),
            "mainKey": settings.session.main_key.lower(),
            "scope": "per-sender",
            "agents": [_agent_row(agent) for agent in listed],
        }

    @methods.method("models.list", scope=Scope.READ)
    def models(self, _call: Call, _params: EmptyParams) -> dict[str, Any]:
        """The models there are."""
        rows = []
        for provider_id, provider in models.providers(self._settings).items():
            for model in provider.models:
                row = {"id": model.id, "name": model.name or model.id, "provider": provider_id}
                window = {"contextWindow": model.context_window} if model.context_window else {}
                rows.append({**row, **window, "input": ["text"]})
        return {"models": rows}


def _agent_row(agent: Agent) -> dict[str, Any]:
    face = agent.identity
    members = {"name": face.name, "theme": face.theme, "emoji": face.emoji, "avatar": face.avatar}
    identity = {name: value for name, value in members.items() if value is not None}
    row: dict[str, Any] = {"id": agent.id}
    if agent.name is not None:
        row["name"] = agent.name
    if identity:
        row["identity"] = identity
    return row
