"""This worker's part of health, status and the greeting of clients. Pure."""

import heapq
from typing import Any

from conf.schema import Settings
from workers.agent import keys, models
from workers.agent.records import Session
from workers.agent.sessions import Sessions

HEALTH_RECENT = 5
STATUS_RECENT = 10
MOST_PERCENT = 999


def part(settings: Settings, sessions: Sessions, path: str, waiting: list[str], now: int) -> Any:
    """The snapshot part `agent`; `waiting` are the system events of the main session."""
    default_id = settings.agents.default_id()
    listed = [one for one in sessions.all() if one.key not in keys.RESERVED]
    by_agent = [
        {"agentId": agent_id, "path": path, **_recent(settings, listed, agent_id, now)}
        for agent_id in keys.known_agents(settings)
    ]
    _, model, window = models.names(settings, default_id)
    return {
        "health": _health(settings, listed, path, now),
        "status": {
            "heartbeat": {
                "defaultAgentId": default_id,
                "agents": [
                    {"agentId": agent_id, "enabled": False, "every": "disabled", "everyMs": None}
                    for agent_id in keys.known_agents(settings)
                ],
            },
            "queuedSystemEvents": waiting,
            "sessions": {
                "paths": [path],
                "count": len(listed),
                "defaults": {"model": model, "contextTokens": window},
                "recent": _recent(settings, listed, None, now)["recent"],
                "byAgent": by_agent,
            },
        },
        "sessionDefaults": {
            "defaultAgentId": default_id,
            "mainKey": settings.session.main_key.lower(),
            "mainSessionKey": keys.main_session(settings),
            "scope": "per-sender",
        },
    }


def _health(settings: Settings, listed: list[Session], path: str, now: int) -> dict[str, Any]:
    default_id = settings.agents.default_id()
    agents = []
    for agent_id in keys.known_agents(settings):
        agent = models.agent_entry(settings, agent_id)
        name = {"name": agent.name} if agent is not None and agent.name else {}
        row = {"agentId": agent_id, **name, "isDefault": agent_id == default_id}
        agents.append(
            {**row, "heartbeat": _no_heartbeat(), "sessions": _ages(listed, agent_id, path, now)}
        )
    return {
        "heartbeatSeconds": 0,
        "defaultAgentId": default_id,
        "agents": agents,
        "sessions": _ages(listed, default_id, path, now),
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


def _newest(listed: list[Session], agent_id: str | None, limit: int) -> list[Session]:
    own = (one for one in listed if agent_id in (None, one.agent_id))
    return heapq.nlargest(limit, own, key=lambda session: session.updated_at)


def _count(listed: list[Session], agent_id: str) -> int:
    return sum(one.agent_id == agent_id for one in listed)


def _ages(listed: list[Session], agent_id: str, path: str, now: int) -> dict[str, Any]:
    recent = [
        {"key": one.key, "updatedAt": one.updated_at, "age": max(0, now - one.updated_at)}
        for one in _newest(listed, agent_id, HEALTH_RECENT)
    ]
    return {"path": path, "count": _count(listed, agent_id), "recent": recent}


def _recent(
    settings: Settings, listed: list[Session], agent_id: str | None, now: int
) -> dict[str, Any]:
    newest = _newest(listed, agent_id, STATUS_RECENT)
    rows = [_status_row(settings, session, now) for session in newest]
    return {"count": len(listed) if agent_id is None else _count(listed, agent_id), "recent": rows}


def _status_row(settings: Settings, session: Session, now: int) -> dict[str, Any]:
    entry = session.entry
    _, model, window = models.names(settings, session.agent_id)
    context = entry.context_tokens or window
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
        "model": entry.model or model,
        "contextTokens": context,
        "flags": [],
    }
