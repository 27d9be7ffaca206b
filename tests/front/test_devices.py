"""Devices at a real front: pairing, tokens, restarts, what may not be had by trickery."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.kit.device import Device
from tests.kit.front import TOKEN, FrontProcess, running
from tests.kit.waiting import wait_until
from tests.kit.wire import CLOSE, TEXT, Wire, frame

ADMIN = "operator.admin"
PAIRING = ["operator.pairing"]


@pytest.fixture(scope="module")
def alone() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def paired(front: FrontProcess, device: Device, **params: Any) -> tuple[Wire, dict[str, Any]]:
    """A connection of a device of this machine, and its `auth`."""
    wire, answer = device.knock(front.port, TOKEN, **params)
    assert answer["ok"], answer
    return wire, answer["payload"]["auth"]


def rejected(wire: Wire, answer: dict[str, Any]) -> dict[str, Any]:
    assert not answer["ok"], answer
    closed = wire.closed()
    wire.close()
    assert (closed.code, closed.reason) == (1008, answer["error"]["message"][:120])
    return dict(answer["error"])


def request_of(front: FrontProcess, device: Device, **params: Any) -> str:
    """The id of the request a remote device leaves."""
    error = rejected(*device.knock(front.port, TOKEN, remote=True, **params))
    assert (error["code"], error["message"]) == ("NOT_PAIRED", "pairing required")
    return str(error["details"]["requestId"])


def listed(operator: Wire, device: Device) -> dict[str, Any]:
    rows = operator.call("device.pair.list", {})["payload"]["paired"]
    return next(row for row in rows if row["deviceId"] == device.id)


def test_a_remote_device_waits_for_approval_and_then_lives_by_its_own_token(alone: FrontProcess):
    device, scopes = Device(), [ADMIN, "operator.approvals", "operator.pairing"]
    with alone.connect(scopes=scopes) as operator, alone.connect(scopes=["operator.read"]) as other:
        request = request_of(alone, device, scopes=scopes)
        asked = operator.event("device.pair.requested")
        ts = asked["payload"].pop("ts")
        assert asked["payload"] == {
            "requestId": request, "deviceId": device.id, "publicKey": device.public_key,
            "platform": "linux", "clientId": "cli", "clientMode": "cli", "role": "operator",
            "roles": ["operator"], "scopes": scopes, "remoteIp": "127.0.0.1", "silent": False,
            "isRepair": False,
        }  # fmt: skip
        assert request_of(alone, device, scopes=["operator.read"]) == request
        pending = operator.call("device.pair.list", {})["payload"]["pending"]
        assert [(row["requestId"], row["scopes"], row["ts"]) for row in pending] == [
            (request, scopes, ts)
        ]
        frame_id = operator.ask("device.pair.approve", {"requestId": request})
        first = operator.receive()
        assert (first["event"], first["payload"]["decision"]) == (
            "device.pair.resolved", "approved",
        )  # fmt: skip
        answer = operator.answer(frame_id)["payload"]
        assert answer["requestId"] == request
        assert answer["device"]["scopes"] == scopes
        assert set(answer["device"]["tokens"][0]) == {"role", "scopes", "createdAtMs"}
        assert "event" not in other.call("health"), "readers hear nothing of pairing"
    wire, answer = device.knock(alone.port, TOKEN, remote=True, scopes=scopes)
    auth = answer["payload"]["auth"]
    assert (auth["role"], auth["scopes"], len(auth["deviceToken"])) == ("operator", scopes, 32)
    wire.close()
    wire, answer = device.knock(
        alone.port, auth["deviceToken"], remote=True, scopes=scopes, version="v3"
    )
    with wire:
        assert answer["payload"]["auth"] == auth
        assert wire.call("health")["ok"]


def test_a_device_of_this_machine_is_paired_at_once_and_seen_by_its_id(alone: FrontProcess):
    device, client = Device(), {"id": "gatewayd-macos", "version": "1", "platform": "macos",
                                "mode": "ui", "instanceId": "i-1"}  # fmt: skip
    with alone.connect(scopes=PAIRING) as operator:
        wire, auth = paired(alone, device, client=client)
        decision = operator.event("device.pair.resolved")["payload"]
        assert (decision["deviceId"], decision["decision"]) == (device.id, "approved")
        assert auth["scopes"] == [ADMIN]
        rows = wire.call("system-presence")["payload"]
        row = next(row for row in rows if row.get("deviceId") == device.id)
        assert (row["instanceId"], row["reason"]) == (device.id, "connect")
        wire.close()
        assert "device.pair.approve" in operator.hello["features"]["methods"]
        assert "device.pair.requested" in operator.hello["features"]["events"]


def test_a_paired_node_comes_in_without_scopes_and_hears_nothing_of_pairing(alone: FrontProcess):
    device, node = Device(), {"id": "node-host", "version": "1", "platform": "linux",
                              "mode": "node"}  # fmt: skip
    wire, auth = paired(alone, device, role="node", client=node, scopes=[ADMIN])
    with wire:
        assert (auth["role"], auth["scopes"]) == ("node", [])
        assert wire.call("health")["error"]["message"] == "unauthorized role: node"
        paired(alone, Device())[0].close()
        frame_id = wire.ask("device.pair.list", {})
        while (message := wire.receive()).get("id") != frame_id:
            assert not message["event"].startswith("device.")


@pytest.mark.parametrize("remote", [False, True])
def test_being_here_or_signing_well_is_no_substitute_for_the_secret(
    alone: FrontProcess, remote: bool
):
    for token in ("", "x" * 32):
        error = rejected(*Device().knock(alone.port, token, remote=remote))
        assert error["message"].startswith("unauthorized: gateway token ")


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: ::1",
     "X-Forwarded-Host: localhost"],
)  # fmt: skip
def test_nobody_is_paired_at_once_by_saying_they_are_here(alone: FrontProcess, header: str):
    request_of(alone, Device(), header=header)


def test_a_device_without_a_nonce_is_taken_once_and_only_from_here(alone: FrontProcess):
    device = Device()
    request = device.request(TOKEN, "", version="v1")
    for expected in ("", "device signature expired"):
        with Wire.upgraded(alone.port) as wire:
            wire.receive()
            wire.send(request)
            answer = wire.receive()
            assert answer.get("error", {}).get("message", "") == expected
    with Wire.upgraded(alone.port, "X-Real-IP: 127.0.0.1\r\n") as wire:
        wire.receive()
        wire.send(device.request(TOKEN, "", version="v1"))
        assert wire.receive()["error"]["message"] == "device nonce required"


def test_a_connect_that_was_overheard_is_worth_nothing(alone: FrontProcess):
    device = Device()
    with Wire.upgraded(alone.port) as wire:
        request = device.request(TOKEN, wire.receive()["payload"]["nonce"])
        wire.send(request)
        assert wire.receive()["ok"]
        with Wire.upgraded(alone.port) as thief:
            thief.receive()
            thief.send(request)
            assert thief.receive()["error"]["message"] == "device nonce mismatch"
        assert wire.call("health")["ok"]


@pytest.mark.parametrize("method", ["device.token.revoke", "device.token.rotate"])
def test_the_end_of_a_token_ends_the_connections_of_that_role(alone: FrontProcess, method: str):
    device = Device()
    wire, auth = paired(alone, device)
    node, _ = paired(alone, device, role="node")
    with alone.connect(scopes=[ADMIN]) as operator, node:
        answer = operator.call(method, {"deviceId": device.id, "role": "operator"})["payload"]
        wire.socket.settimeout(1)
        closed = wire.closed()
        assert (closed.code, closed.reason) == (1008, "device token revoked")
        assert node.ask("health"), "the node's token is another one"
        assert node.receive()["type"] in ("res", "event")
        second, again = device.knock(alone.port, auth["deviceToken"])
        if method == "device.token.revoke":
            assert rejected(second, again)["message"].startswith("unauthorized: ")
            assert listed(operator, device)["tokens"][0].keys() >= {"revokedAtMs"}
            second, again = device.knock(alone.port, TOKEN)
            assert again["payload"]["auth"]["deviceToken"] != auth["deviceToken"]
        else:
            assert again["payload"]["auth"]["deviceToken"] == answer["token"]
            third, newest = device.knock(alone.port, answer["token"])
            assert newest["ok"]
            third.close()
            error = rejected(*device.knock(alone.port, auth["deviceToken"]))
            assert error["message"].startswith("unauthorized: ")
        second.close()
    wire.close()


def test_a_caller_whose_own_token_ends_is_answered_first(alone: FrontProcess):
    wire, _ = paired(alone, device := Device())
    with wire:
        assert wire.call("device.token.revoke", {"deviceId": device.id, "role": "operator"})["ok"]
        assert wire.closed().reason == "device token revoked"


def test_nobody_gives_more_than_they_hold(alone: FrontProcess):
    victim, asking = Device(), Device()
    paired(alone, victim)[0].close()
    request = request_of(alone, asking, scopes=["operator.write"])
    both = {"deviceId": victim.id, "role": "operator"}
    with alone.connect(scopes=PAIRING) as pairing, alone.connect(scopes=[ADMIN]) as owner:
        refusals = [
            ("device.pair.approve", {"requestId": request}, "missing scope: operator.write"),
            ("device.token.rotate", both, f"missing scope: {ADMIN}"),
            ("device.token.rotate", {**both, "scopes": [ADMIN]}, f"missing scope: {ADMIN}"),
        ]
        for method, params, message in refusals:
            assert pairing.call(method, params)["error"]["message"] == message
        narrow = pairing.call("device.token.rotate", {**both, "scopes": PAIRING})
        assert narrow["payload"]["scopes"] == PAIRING
        token = narrow["payload"]["token"]
        error = rejected(*victim.knock(alone.port, token, scopes=[ADMIN]))
        assert error["details"]["code"] == "AUTH_SCOPE_MISMATCH"
        assert owner.call("device.pair.approve", {"requestId": request})["ok"]
        wider = {"deviceId": asking.id, "role": "operator", "scopes": [ADMIN]}
        assert "not approved" in owner.call("device.token.rotate", wider)["error"]["message"]


def test_more_scopes_or_another_role_need_another_approval(alone: FrontProcess):
    device = Device()
    first = request_of(alone, device, scopes=["operator.read"])
    with alone.connect(scopes=[ADMIN]) as operator:
        assert operator.call("device.pair.approve", {"requestId": first})["ok"]
        for params, reason in (
            ({"scopes": ["operator.write"]}, "scope-upgrade"), ({"role": "node"}, "role-upgrade"),
        ):  # fmt: skip
            wire, answer = device.knock(alone.port, TOKEN, remote=True, **params)
            error = rejected(wire, answer)
            assert error["details"]["reason"] == reason
            asked = operator.event("device.pair.requested")["payload"]
            assert asked["isRepair"]
            approval = {"requestId": asked["requestId"]}
            assert operator.call("device.pair.approve", approval)["ok"]
        row = listed(operator, device)
    assert row["roles"] == ["operator", "node"]
    assert row["scopes"] == ["operator.read", "operator.write"]


def test_a_rejected_request_is_forgotten(alone: FrontProcess):
    device = Device()
    params = {"requestId": request_of(alone, device)}
    with alone.connect(scopes=PAIRING) as operator:
        answer = operator.call("device.pair.reject", params)["payload"]
        assert answer == {**params, "deviceId": device.id}
        for method in ("device.pair.reject", "device.pair.approve"):
            error = operator.call(method, params)["error"]
            assert (error["code"], error["message"]) == ("INVALID_REQUEST", "unknown requestId")
    assert request_of(alone, device) != params["requestId"]


@pytest.mark.parametrize("method", ["device.token.rotate", "device.token.revoke"])
def test_unknown_devices_roles_and_params_are_named(alone: FrontProcess, method: str):
    device = Device()
    paired(alone, device)[0].close()
    with alone.connect(scopes=[ADMIN]) as operator:
        for params in (
            {"deviceId": "none", "role": "operator"}, {"deviceId": device.id, "role": "node"},
        ):  # fmt: skip
            assert operator.call(method, params)["error"]["message"] == "unknown deviceId/role"
        error = operator.call(method, {"deviceId": device.id})["error"]
        assert error["message"].startswith(f"invalid {method} params: ")
        assert "must have required property 'role'" in error["message"]
    with alone.connect(scopes=["operator.write"]) as writer:
        error = writer.call(method, {"deviceId": device.id, "role": "operator"})["error"]
        assert error["message"] == "missing scope: operator.pairing"


def test_what_was_acknowledged_survives_a_killed_front():
    with running() as front:
        here, remote, late = Device(), Device(), Device()
        first, auth = paired(front, here)
        first.close()
        with front.connect(scopes=[ADMIN]) as operator:
            params = {"requestId": request_of(front, remote, scopes=["operator.read"])}
            assert operator.call("device.pair.approve", params)["ok"]
            gone = {"deviceId": remote.id, "role": "operator"}
            assert operator.call("device.token.revoke", gone)["ok"]
            waiting = request_of(front, late)
        front.stop()
        front.start()
        wire, answer = here.knock(front.port, auth["deviceToken"], remote=True)
        assert answer["payload"]["auth"] == auth
        wire.close()
        with front.connect(scopes=[ADMIN]) as operator:
            assert "revokedAtMs" in listed(operator, remote)["tokens"][0]
            assert operator.call("device.pair.approve", {"requestId": waiting})["ok"]
        assert (front.state_dir / "front.db").stat().st_mode & 0o777 == 0o600


def test_a_front_that_cannot_keep_devices_serves_everyone_else():
    with running() as front:
        front.stop()
        (front.state_dir / "front.db").write_bytes(b"no database" * 1000)
        for end in ("-wal", "-shm"):
            (front.state_dir / f"front.db{end}").unlink(missing_ok=True)
        front.start()
        with front.connect() as wire:
            assert wire.call("health")["ok"]
        error = rejected(*Device().knock(front.port, TOKEN))
        assert error["code"] == "UNAVAILABLE"
        assert "front.db" in error["message"]


def test_what_cannot_be_written_is_told_and_taken_back():
    with running() as front:
        device, waiting = Device(), Device()
        request = {"requestId": request_of(front, waiting)}
        with closing(sqlite3.connect(front.state_dir / "front.db")) as file:
            file.execute("DROP TABLE device")
        error = rejected(*device.knock(front.port, TOKEN))
        assert (error["code"], "front.db cannot be written" in error["message"]) == (
            "UNAVAILABLE", True,
        )  # fmt: skip
        with front.connect(scopes=[ADMIN]) as operator:
            answer = operator.call("device.pair.approve", request)
            assert answer["error"]["code"] == "UNAVAILABLE"
            result = operator.call("device.pair.list", {})["payload"]
        assert [row["requestId"] for row in result["pending"]] == [request["requestId"]]
        assert result["paired"] == []


def test_other_clients_are_served_while_devices_wait_for_the_disk(alone: FrontProcess):
    knocking = [Wire.upgraded(alone.port) for _ in range(60)]
    for wire in knocking:
        wire.send(Device().request(TOKEN, wire.receive()["payload"]["nonce"]))
    with alone.connect() as other:
        assert other.call("health")["ok"]
    for wire in knocking:
        assert wire.receive()["ok"]
        wire.close()


def test_requests_sent_behind_the_connect_are_served_after_it(alone: FrontProcess):
    with Wire.upgraded(alone.port) as wire:
        wire.send(Device().request(TOKEN, wire.receive()["payload"]["nonce"]))
        asked = [wire.ask("health") for _ in range(3)]
        assert wire.receive()["payload"]["type"] == "hello-ok"
        assert [wire.answer(frame_id)["ok"] for frame_id in asked] == [True] * 3


def test_a_client_that_leaves_before_it_is_decided_leaves_nothing(alone: FrontProcess):
    wire = Wire.upgraded(alone.port)
    wire.send((device := Device()).request(TOKEN, wire.receive()["payload"]["nonce"]))
    wire.close()
    with alone.connect(scopes=[ADMIN]) as operator:
        wait_until(lambda: device.id in str(operator.call("device.pair.list", {})))
        wait_until(lambda: operator.call("status")["payload"]["gateway"]["clients"] == 1)


def test_a_client_that_closes_right_behind_its_connect_is_let_go(alone: FrontProcess):
    with Wire.upgraded(alone.port) as wire:
        request = Device().request(TOKEN, wire.receive()["payload"]["nonce"])
        goodbye = frame(CLOSE, (1000).to_bytes(2))
        wire.send_bytes(frame(TEXT, json.dumps(request).encode()) + goodbye)
        wire.socket.settimeout(3)
        assert wire.closed().code == 1000
        assert wire.read_all() == b""
