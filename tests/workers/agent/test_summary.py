"""The agent worker's part of health and status."""

from typing import Any

import msgspec

from conf.schema import Settings
from workers.agent import summary
from workers.agent.records import Session, SessionEntry
from workers.agent.sessions import Sessions

SETTINGS = msgspec.convert(
    {"agents": {"list": [{"id": "home", "name": "Home"}, {"id": "ops", "default": True}]}},
    Settings,
)


def part_of(sessions: list[Session], settings: Settings = SETTINGS) -> dict[str, Any]:
    found = Sessions(settings, "p", lambda: None)
    found.load(sessions)
    made: dict[str, Any] = summary.part(settings, found, "p", ["door open"], 1_000)
    return msgspec.json.decode(msgspec.json.encode(made), type=dict[str, Any])


def test_sessions_are_counted_per_agent_and_the_newest_listed_first() -> None:
    many = [Session(f"agent:ops:s{n}", f"i{n}", "ops", n) for n in range(30)]
    part = part_of(
        [*many, Session("agent:home:main", "h", "home", 500), Session("global", "g", "ops", 9)]
    )
    ages = part["health"]["sessions"]
    assert ages == {
        "path": "p",
        "count": 30,
        "recent": [
            {"key": f"agent:ops:s{n}", "updatedAt": n, "age": 1_000 - n} for n in range(29, 24, -1)
        ],
    }
    status = msgspec.convert(part["status"]["sessions"], dict)
    assert status["count"] == 31
    assert [row["key"] for row in status["recent"]][:2] == ["agent:home:main", "agent:ops:s29"]
    assert [(one["agentId"], one["count"]) for one in status["byAgent"]] == [
        ("home", 1),
        ("ops", 30),
    ]
    assert [len(one["recent"]) for one in status["byAgent"]] == [1, 10]


def test_agents_without_sessions_are_there_too() -> None:
    part = part_of([])
    agents = msgspec.convert(part["health"]["agents"], list[dict[str, object]])
    assert [(one["agentId"], one.get("name"), one["isDefault"]) for one in agents] == [
        ("home", "Home", False),
        ("ops", None, True),
    ]
    assert part["status"]["queuedSystemEvents"] == ["door open"]
    assert part["sessionDefaults"] == {
        "defaultAgentId": "ops",
        "mainKey": "main",
        "mainSessionKey": "agent:ops:main",
        "scope": "per-sender",
    }


def test_what_is_left_of_the_context_is_computed() -> None:
    entry = SessionEntry(total_tokens=1_024, context_tokens=2_048)
    part = part_of([Session("agent:ops:main", "i", "ops", 1, entry)])
    row = msgspec.convert(part["status"]["sessions"], dict)["recent"][0]
    assert (row["remainingTokens"], row["percentUsed"]) == (1_024, 50)


def test_a_model_that_is_not_there_is_a_problem_before_anyone_asks_it() -> None:
    assert part_of([])["problems"] == []
    broken = {
        "defaults": {"model": {"primary": "nope/m"}},
        "list": [{"id": "a"}, {"id": "b"}, {"id": "c", "model": {"primary": "local/other"}}],
    }
    problems = part_of([], msgspec.convert({"agents": broken}, Settings))["problems"]
    assert [problem["text"].partition(";")[0] for problem in problems] == [
        "agents.defaults.model.primary is 'nope/m': no provider 'nope'",
        "agents.list[c].model is 'local/other': no such model",
    ]
