"""This worker's part of health, status and the greeting of clients. Pure."""

from collections import Counter
from operator import attrgetter
from typing import Any

from conf.schema import Settings
from workers.agent import keys, models
from workers.agent.records import Session
from workers.agent.sessions import Sessions

HEALTH_RECENT = 5
STATUS_RECENT = 10
MOST_PERCENT = 999


class Overview:
    """The newest sessions and their counts, from one pass over all of them."""

    def __init__(self, sessions: Sessions) -> None:
        listed = [one for one in sessions.all() if one.key not in keys.RESERVED]
        listed.sort(key=attrgetter("updated_at"), reverse=True)
        self.count = len(listed)
        self.newest = listed[:STATUS_RECENT]
        self.count_by_agent = Counter(map(attrgetter("agent_id"), listed))
        self._newest_by_agent: dict[str, list[Session]] = {}
        missing = set(self.count_by_agent)
        for session in listed:
            own = self._newest_by_agent.setdefault(session.agent_id, [])
            if len(own) < STATUS_RECENT:
                own.append(session)
            else:
                missing.discard(session.agent_id)
                if not missing:
                    break

    def newest_of(self, agent_id: str) -> list[Session]:
        """The newest sessions of an agent."""
        return self._newest_by_agent.get(agent_id, [])


def part(settings: Settings, sessions: Sessions, path: str, waiting: list[str], now: int) -> Any:
    """The snapshot part `agent`; `waiting` are the system events of the main session."""
    overview = Overview(sessions)
    return {
        "health": _health(settings, overview, path, now),
        "status": {
            "heartbeat": {
                "defaultAgentId": settings.agents.default_id(),
                "agents": [
                    {"agentId": agent_id, "enabled": False, "every": "disabled", "everyMs": None}
                    for agent_id in keys.known_agents(settings)
                ],
            },
            "queuedSystemEvents": waiting,
            "sessions": _status(settings, overview, path, now),
        },
        "sessionDefaults": {
            "defaultAgentId": settings.agents.default_id(),
            "mainKey": settings.session.main_key.lower(),
            "mainSessionKey": keys.main_session(settings),
            "scope": "per-sender",
        },
        "problems": [
            {"id": f"model.{number}", "text": text}
            for number, text in enumerate(_missing_models(settings))
        ],
    }


def _missing_models(settings: Settings) -> list[str]:
    """What every run of some agent would fail with, told before anyone asks for one."""
    found: dict[str, None] = {}
    for agent_id in keys.known_agents(settings):
        try:
            models.choose(settings, agent_id)
        except models.ModelError as error:
            found[str(error)] = None
    return list(found)


def _health(settings: Settings, overview: Overview, path: str, now: int) -> dict[str, Any]:
    default_id = settings.agents.default_id()
    agents = []
    for agent_id in keys.known_agents(settings):
        agent = models.agent_entry(settings, agent_id)
        row: dict[str, Any] = {"agentId": agent_id, "isDefault": agent_id == default_id}
        if agent is not None and agent.name:
            row["name"] = agent.name
        row["heartbeat"] = _no_heartbeat()
        row["sessions"] = _ages(overview, agent_id, path, now)
        agents.append(row)
    return {
        "heartbeatSeconds": 0,
        "defaultAgentId": default_id,
        "agents": agents,
        "sessions": _ages(overview, default_id, path, now),
    }


def _no_heartbeat() -> dict[str, Any]:
    return {
        "enabled": False,
        "every": "disabled",
        "everyMs": None,
        "prompt": "",
        "target": "none",
        "ackMaxChars": 0,
    }


def _ages(overview: Overview, agent_id: str, path: str, now: int) -> dict[str, Any]:
    recent = [
        {"key": one.key, "updatedAt": one.updated_at, "age": max(0, now - one.updated_at)}
        for one in overview.newest_of(agent_id)[:HEALTH_RECENT]
    ]
    return {"path": path, "count": overview.count_by_agent[agent_id], "recent": recent}


def _status(settings: Settings, overview: Overview, path: str, now: int) -> dict[str, Any]:
    _, model, window = models.names(settings, settings.agents.default_id())
    by_agent = [
        {
            "agentId": agent_id,
            "path": path,
            "count": overview.count_by_agent[agent_id],
            "recent": [_status_row(settings, one, now) for one in overview.newest_of(agent_id)],
        }
        for agent_id in keys.known_agents(settings)
    ]
    return {
        "paths": [path],
        "count": overview.count,
        "defaults": {"model": model, "contextTokens": window},
        "recent": [_status_row(settings, one, now) for one in overview.newest],
        "byAgent": by_agent,
    }


def _status_row(settings: Settings, session: Session, now: int) -> dict[str, Any]:
    entry = session.entry
    _, model, context = models.shown(settings, session)
    used = entry.total_tokens
    return {
        "agentId": session.agent_id,
        "key": session.key,
        "kind": keys.kind(session.key),
        "sessionId": session.session_id,
        "updatedAt": session.updated_at,
        "age": max(0, now - session.updated_at),
        "systemSent": entry.system_sent,
        "abortedLastRun": entry.aborted_last_run,
        "inputTokens": entry.input_tokens,
        "outputTokens": entry.output_tokens,
        "totalTokens": used,
        "remainingTokens": max(0, context - used),
        "percentUsed": min(MOST_PERCENT, round(used * 100 / context)),
        "model": model,
        "contextTokens": context,
        "flags": [],
    }
