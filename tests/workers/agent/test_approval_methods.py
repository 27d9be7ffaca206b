"""`exec.approval.*` and `exec.approvals.*`."""

import hashlib
import json
import stat
from typing import Any

import pytest

from bus.messages import Caller
from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, play

pytestmark = pytest.mark.processes
ALLOWED = {"version": 1, "agents": {"main": {"allowlist": [{"pattern": "/usr/bin/*"}]}}}


def heard(bus: Front, topic: str) -> list[Any]:
    return [payload for name, payload in bus.log if name == topic]


async def message_of(bus: Front, method: str, **params: Any) -> str:
    error = await bus.ask(method, **params).error()
    assert error["code"] == "INVALID_REQUEST"
    return str(error["message"])


def test_a_request_waits_for_its_decision_and_both_are_told(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            bus.caller = Caller("client", "c1", "operator", ("operator.admin",), client_id="desk")
            ask = bus.ask("exec.approval.request", command="ls -l", id="a", cwd="/", host=None)
            await bus.until(lambda: bool(heard(bus, "exec.approval.requested")))
            (told,) = heard(bus, "exec.approval.requested")
            assert told["id"] == "a"
            assert told["request"] == {
                "command": "ls -l", "cwd": "/", "host": None, "security": None, "ask": None,
                "agentId": None, "resolvedPath": None, "sessionKey": None,
            }  # fmt: skip
            assert told["expiresAtMs"] - told["createdAtMs"] == 120_000
            again = await message_of(bus, "exec.approval.request", command="x", id="a")
            assert again == "approval id already pending"
            params = {"id": "a", "decision": "allow-once"}
            assert await bus.ask("exec.approval.resolve", **params).result() == {"ok": True}
            times = {name: told[name] for name in ("createdAtMs", "expiresAtMs")}
            assert await ask.result() == {"id": "a", "decision": "allow-once", **times}
            (resolved,) = heard(bus, "exec.approval.resolved")
            assert (resolved["decision"], resolved["resolvedBy"]) == ("allow-once", "desk")
            assert set(bus.scopes.items()) >= {
                ("exec.approval.requested", "approvals"),
                ("exec.approval.resolved", "approvals"),
            }
            topics = [name for name, _ in bus.log]
            assert topics.index("exec.approval.resolved") < len(topics) - 2
            assert await message_of(bus, "exec.approval.resolve", **params) == "unknown approval id"

    play(scenario())


def test_a_request_that_nobody_decides_ends_undecided_and_silent(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            answer = await bus.ask("exec.approval.request", command="ls", timeoutMs=20).result()
            assert answer["decision"] is None
            assert answer["id"]
            late = {"id": answer["id"], "decision": "deny"}
            assert await message_of(bus, "exec.approval.resolve", **late) == "unknown approval id"
            assert heard(bus, "exec.approval.resolved") == []

    play(scenario())


def test_a_decision_sent_right_behind_its_request_counts(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            ask = bus.ask("exec.approval.request", command="ls", id="a")
            said = await message_of(bus, "exec.approval.resolve", id="a", decision="perhaps")
            assert said == "invalid decision"
            await bus.ask("exec.approval.resolve", id="a", decision="deny").result()
            assert (await ask.result())["decision"] == "deny"

    play(scenario())


def test_the_file_of_approvals_is_written_private_and_there_after_a_kill(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        path = paths.state_dir / "exec-approvals.json"
        async with front(paths) as bus:
            empty = await bus.ask("exec.approvals.get").result()
            assert empty == {
                "path": str(path),
                "exists": False,
                "hash": hashlib.sha256(b"").hexdigest(),
                "file": {"version": 1, "agents": {}},
            }
            answer = await bus.ask("exec.approvals.set", file=ALLOWED).result()
            assert (answer["exists"], answer["file"]) == (True, ALLOWED)
            assert answer["hash"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await bus.kill()
            await bus.start()
            assert await bus.ask("exec.approvals.get").result() == answer

    play(scenario())


def test_the_file_is_replaced_only_by_who_has_seen_it(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            seen = await bus.ask("exec.approvals.set", file=ALLOWED).result()
            new = {"version": 1, "defaults": {"security": "deny"}}
            without = await message_of(bus, "exec.approvals.set", file=new)
            assert without.startswith("exec approvals base hash required; ")
            wrong = await message_of(bus, "exec.approvals.set", file=new, baseHash="0")
            assert wrong.startswith("exec approvals changed since last load; ")
            assert await bus.ask("exec.approvals.get").result() == seen
            base = f" {seen['hash']} "
            both = [bus.ask("exec.approvals.set", file=new, baseHash=base) for _ in range(2)]
            assert sorted([(await ask.answer())["ok"] for ask in both]) == [False, True]

    play(scenario())


def test_the_token_of_the_socket_is_kept_and_never_shown(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        path = paths.state_dir / "exec-approvals.json"
        path.write_text(json.dumps({"version": 1, "socket": {"path": "/s", "token": "secret"}}))
        async with front(paths) as bus:
            seen = await bus.ask("exec.approvals.get").result()
            assert seen["file"] == {"version": 1, "socket": {"path": "/s"}}
            for file in (seen["file"], ALLOWED):
                written = await bus.ask(
                    "exec.approvals.set", file=file, baseHash=seen["hash"]
                ).result()
                assert "secret" not in json.dumps(written)
                assert json.loads(path.read_text())["socket"] == {"path": "/s", "token": "secret"}
                seen = written

    play(scenario())


def test_a_broken_file_is_named_and_not_overwritten(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        path = paths.state_dir / "exec-approvals.json"
        path.write_text('{"version": 2}')
        async with front(paths) as bus:
            for method, params in (
                ("exec.approvals.get", {}),
                ("exec.approvals.set", {
                    "file": ALLOWED,
                    "baseHash": hashlib.sha256(path.read_bytes()).hexdigest(),
                }),
            ):  # fmt: skip
                error = await bus.ask(method, **params).error()
                assert (error["code"], str(path) in error["message"]) == ("UNAVAILABLE", True)
        assert path.read_text() == '{"version": 2}'

    play(scenario())
