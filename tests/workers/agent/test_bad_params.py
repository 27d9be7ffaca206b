"""Every method of the agent worker, asked wrongly: the documented error, and life goes on."""

from typing import Any

import pytest

from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, play

pytestmark = pytest.mark.processes

# Methods that ignore keys they do not know; the others refuse them.
LOOSE = {
    "agents.workspace.ensure", "cron.add", "last-heartbeat", "sessions.usage.logs",
    "sessions.usage.timeseries", "set-heartbeats", "tts.convert", "tts.disable", "tts.enable",
    "tts.providers", "tts.setProvider", "tts.status", "usage.cost", "usage.status",
    "voicewake.get", "voicewake.set",
}  # fmt: skip
# What each method must be given, with a value of a type it does not take.
REQUIRED: dict[str, dict[str, Any]] = {
    "agent": {"message": 1, "idempotencyKey": 1},
    "agent.wait": {"runId": 1},
    "agents.create": {"name": 1, "workspace": []},
    "agents.delete": {"agentId": 1},
    "agents.files.get": {"agentId": 1, "name": 1},
    "agents.files.list": {"agentId": None},
    "agents.files.set": {"agentId": 1, "name": 1, "content": None},
    "agents.update": {"agentId": 1},
    "chat.abort": {"sessionKey": 1},
    "chat.history": {"sessionKey": 1},
    "chat.inject": {"sessionKey": 1, "message": 1},
    "chat.send": {"sessionKey": 1, "message": 1, "idempotencyKey": 1},
    "cron.update": {"patch": []},
    "exec.approval.request": {"command": 1},
    "exec.approval.resolve": {"id": 1, "decision": 1},
    "exec.approvals.set": {"file": []},
    "sessions.compact": {"key": 1},
    "sessions.delete": {"key": 1},
    "sessions.listTranscripts": {"sessionKey": 1},
    "sessions.patch": {"key": 1},
    "sessions.preview": {"keys": "main"},
    "sessions.reset": {"key": 1},
    "skills.install": {"name": 1, "installId": 1},
    "skills.update": {"skillKey": 1},
    "talk.mode": {"enabled": "yes"},
    "wake": {"mode": 1, "text": 1},
}
# Members for which any text will not do.
GOOD = {"wake": {"mode": "next-heartbeat"}}
# Optional members and values outside what they take.
OUTSIDE: list[tuple[str, dict[str, Any]]] = [
    ("cron.list", {"includeDisabled": "yes"}),
    ("cron.run", {"id": "a", "mode": "later"}),
    ("cron.runs", {"id": "a", "limit": 5001}),
    ("exec.approval.request", {"command": "ls", "timeoutMs": 0}),
    ("exec.approvals.set", {"file": {"version": 2}}),
    ("exec.approvals.set", {"file": {"version": 1, "extra": 1}}),
    ("exec.approvals.set", {"file": {"version": 1, "agents": {"main": {"allowlist": [{}]}}}}),
    ("sessions.compact", {"key": "main", "maxLines": 0}),
    ("sessions.delete", {"key": "main", "deleteTranscript": "no"}),
    ("sessions.list", {"limit": 0}),
    ("sessions.listTranscripts", {"sessionKey": "main", "limit": 101}),
    ("sessions.patch", {"key": ""}),
    ("sessions.patch", {"key": "main", "thinkingLevel": 3}),
    ("sessions.preview", {"keys": []}),
    ("sessions.preview", {"keys": ["main"], "maxChars": 19}),
    ("sessions.resolve", {"key": "main", "includeGlobal": 1}),
    ("sessions.usage", {"startDate": "yesterday"}),
    ("sessions.usage", {"limit": 0}),
    ("skills.install", {"name": "n", "installId": "i", "timeoutMs": 999}),
    ("skills.status", {"agentId": 1}),
    ("wake", {"mode": "soon", "text": "x"}),
]


async def refusal(bus: Front, method: str, params: Any) -> str:
    error = await bus.ask_raw(method, params).error()
    assert error["code"] == "INVALID_REQUEST", (method, params, error)
    text: str = error["message"]
    assert text.startswith(f"invalid {method} params: "), (method, params, text)
    return text


def names(bus: Front) -> set[str]:
    assert bus.ready is not None
    return {method.name for method in bus.ready.methods}


def test_an_unknown_key_is_refused_by_name_unless_the_method_is_loose(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            assert names(bus) >= LOOSE
            for method in sorted(names(bus) - LOOSE):
                given = {"fantasy": 1}
                text = await refusal(bus, method, given)
                # A method may miss what it must have before it sees what it does not know.
                assert "unexpected property 'fantasy'" in text or method in REQUIRED, text
            for method in sorted(LOOSE):
                error = (await bus.ask_raw(method, {"fantasy": 1}).answer()).get("error", {})
                assert "fantasy" not in error.get("message", "")

    play(scenario())


def test_what_is_missing_is_named(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for method, members in REQUIRED.items():
                first = next(iter(members))
                text = await refusal(bus, method, {})
                assert f"must have required property '{first}'" in text

    play(scenario())


def test_a_wrong_type_is_refused_where_it_stands(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for method, members in REQUIRED.items():
                for member in members:
                    given = dict.fromkeys(members, "x") | GOOD.get(method, {})
                    given[member] = members[member]
                    assert f"at /{member}: must be " in await refusal(bus, method, given)
            for method in sorted(names(bus) - LOOSE):
                assert "must be object" in await refusal(bus, method, [1])

    play(scenario())


def test_values_outside_what_a_method_takes_are_refused(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            for method, params in OUTSIDE:
                await refusal(bus, method, params)
            listed = await bus.ask("sessions.list").result()
            assert listed["sessions"] == []

    play(scenario())
