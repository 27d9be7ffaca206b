"""The list of sessions."""

from typing import Any

import msgspec
import pytest

from conf.schema import Settings
from workers.agent.records import Session, SessionEntry
from workers.agent.sessions import ListParams, Sessions, spoken, title

NOW = 10_000_000


def session(key: str, updated_at: int, **entry: Any) -> Session:
    return Session(key, f"id-{updated_at}", "main", updated_at, SessionEntry(**entry))


def listed(sessions: Sessions, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(sessions.listed(ListParams(**params), NOW))
    return answer


@pytest.fixture
def sessions() -> Sessions:
    found = Sessions(Settings(), "/state/agent.db", lambda: None)
    found.load(
        [
            session("agent:main:main", 5, label="Desk", first_text="Hello", last_text="Bye"),
            session("agent:main:telegram:group:7", 9_990_000, group_channel="#Garden"),
            session("agent:main:subagent:1", 7, spawned_by="agent:main:main"),
            session("agent:main:cron:j:run:1", 8),
            session("global", 9),
            session("unknown", 10),
        ]
    )
    return found


def keys(answer: dict[str, Any]) -> list[str]:
    return [row["key"] for row in answer["sessions"]]


def test_sessions_come_newest_first_without_hidden_ones(sessions: Sessions) -> None:
    answer = listed(sessions)
    assert keys(answer) == [
        "agent:main:telegram:group:7",
        "agent:main:subagent:1",
        "agent:main:main",
    ]
    assert (answer["ts"], answer["count"], answer["path"]) == (NOW, 3, "/state/agent.db")
    assert answer["defaults"]["modelProvider"] == "local"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"include_global": True, "limit": 2}, ["agent:main:telegram:group:7", "global"]),
        ({"include_unknown": True, "limit": 2}, ["agent:main:telegram:group:7", "unknown"]),
        ({"label": "Desk"}, ["agent:main:main"]),
        ({"spawned_by": "agent:main:main"}, ["agent:main:subagent:1"]),
        ({"search": "garden"}, ["agent:main:telegram:group:7"]),
        ({"active_minutes": 1}, ["agent:main:telegram:group:7"]),
        ({"agent_id": "ops"}, []),
    ],
)
def test_filters_choose(sessions: Sessions, params: dict[str, Any], expected: list[str]) -> None:
    assert keys(listed(sessions, **params)) == expected


def test_a_change_is_seen_although_answers_are_kept(sessions: Sessions) -> None:
    assert listed(sessions) == listed(sessions)
    sessions.put(session("agent:main:main", NOW, label="New"))
    assert listed(sessions)["sessions"][0]["label"] == "New"


def test_titles_and_previews_come_only_when_asked_for(sessions: Sessions) -> None:
    plain = listed(sessions, label="Desk")["sessions"][0]
    assert not {"derivedTitle", "lastMessagePreview"} & plain.keys()
    full = listed(sessions, label="Desk", include_derived_titles=True, include_last_message=True)
    row = full["sessions"][0]
    assert (row["derivedTitle"], row["lastMessagePreview"]) == ("Hello", "Bye")
    assert row["totalTokens"] == 0


def test_the_title_stays_that_of_the_first_message() -> None:
    entry = spoken(spoken(SessionEntry(), "first\n message"), "second")
    assert (entry.first_text, entry.last_text) == ("first message", "second")
    assert len(title("word " * 40)) == 60
