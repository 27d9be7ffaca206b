"""The port of a real front process, seen by clients that speak the protocol badly and well."""

import json
import socket

import pytest

from tests.kit.front import TOKEN, FrontProcess
from tests.kit.waiting import wait_until
from tests.kit.wire import BINARY, TEXT, Wire, connect_request, frame

pytestmark = pytest.mark.processes


def knocking(front: FrontProcess) -> Wire:
    """A client that has read its challenge."""
    wire = Wire.upgraded(front.port)
    assert wire.receive()["event"] == "connect.challenge"
    return wire


def refused(front: FrontProcess, message: bytes) -> tuple[list[bytes], int | None, str]:
    """What a first message is answered with, and how the connection closes."""
    with knocking(front) as wire:
        wire.send(message)
        answers = []
        wire.socket.settimeout(5)
        while True:
            try:
                answers.append(wire.receive_text())
            except Exception as closed:
                return answers, getattr(closed, "code", -1), getattr(closed, "reason", "?")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_challenge_is_the_first_thing_after_the_upgrade(front: FrontProcess, host: str):
    with Wire.upgraded(front.port, host=host) as wire:
        challenge = wire.receive()
        assert set(challenge) == {"type", "event", "payload"}
        assert set(challenge["payload"]) == {"nonce", "ts"}
        assert len(challenge["payload"]["nonce"]) == 36
        assert isinstance(challenge["payload"]["ts"], int)


def test_the_transcript_of_a_connection_is_the_protocols(front: FrontProcess):
    with knocking(front) as wire:
        wire.send(connect_request(TOKEN, scopes=["operator.read", "operator.write"], caps=[]))
        frame = wire.receive()
        assert {k: frame[k] for k in ("type", "id", "ok")} == {
            "type": "res",
            "id": "c1",
            "ok": True,
        }
        hello = frame["payload"]
        assert set(hello) == {"type", "protocol", "server", "features", "snapshot", "policy"}
        assert (hello["type"], hello["protocol"]) == ("hello-ok", 3)
        assert set(hello["server"]) == {"version", "host", "connId"}
        assert {"health", "status", "agent.echo"} <= set(hello["features"]["methods"])
        assert {"connect.challenge", "tick", "shutdown"} <= set(hello["features"]["events"])
        snapshot = hello["snapshot"]
        assert set(snapshot) == {"presence", "health", "stateVersion", "uptimeMs", "configPath",
                                 "stateDir", "sessionDefaults"}  # fmt: skip
        assert set(snapshot["stateVersion"]) == {"presence", "health"}
        assert isinstance(snapshot["uptimeMs"], int)
        assert snapshot["presence"][0]["reason"] == "self"
        assert hello["policy"] == {
            "maxPayload": 524_288, "maxBufferedBytes": 1_572_864, "tickIntervalMs": 30_000,
        }  # fmt: skip
        wire.send({"type": "req", "id": "r2", "method": "system-event", "params": {}})
        error = wire.answer("r2")
        assert error == {
            "type": "res", "id": "r2", "ok": False,
            "error": {"code": "INVALID_REQUEST", "message": "missing scope: operator.admin"},
        }  # fmt: skip


def test_binary_frames_are_requests_too_and_answers_are_text(front: FrontProcess):
    with knocking(front) as wire:
        wire.send_bytes(frame(BINARY, json.dumps(connect_request(TOKEN)).encode()))
        opcode, answer = wire.receive_frame()
        assert opcode == TEXT
        assert json.loads(answer)["ok"]
        wire.send_bytes(frame(BINARY, b'{"type":"req","id":"b","method":"health"}'))
        assert wire.answer("b")["ok"]
        wire.send_bytes(frame(BINARY, b'{"type":"req","id":"\xff","method":"health"}'))
        assert wire.call("health")["ok"], "bad UTF-8 is passed over, the connection stays"


def test_a_frame_over_64_kib_before_authentication_closes_1009(front: FrontProcess):
    with knocking(front) as wire:
        wire.send_bytes(frame(TEXT, b" " * 65_537)[:1000])
        assert wire.closed().code == 1009


def test_a_frame_of_64_kib_before_authentication_is_read(front: FrontProcess):
    message = json.dumps(connect_request(TOKEN)).encode()
    with knocking(front) as wire:
        wire.send(message + b" " * (65_536 - len(message)))
        assert wire.receive()["ok"]


def test_a_frame_over_512_kib_after_authentication_closes_1009(front: FrontProcess):
    with front.connect() as wire:
        request = b'{"type":"req","id":"x","method":"health"}'
        wire.send(request + b" " * (524_288 - len(request)))
        assert wire.answer("x")["ok"]
        wire.send_bytes(frame(TEXT, b" " * 524_289)[:1000])
        assert wire.closed().code == 1009


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"{nonsense", 1000, ""),
        (b"", 1000, ""),
        (b"[" * 60_000, 1000, ""),
        (b"[]", 1008, "invalid request frame"),
        (b"null", 1008, "invalid request frame"),
        (b'{"type":"res","id":"1","ok":true}', 1008, "invalid request frame"),
        (b'{"type":"req","id":"","method":"connect"}', 1008, "invalid request frame"),
        (b'{"type":"req","id":"1","method":"connect","extra":1}', 1008, "invalid request frame"),
    ],
)
def test_a_wrong_first_message_closes_without_an_answer(
    front: FrontProcess, message: bytes, code: int, reason: str
):
    assert refused(front, message) == ([], code, reason)


def test_a_first_request_that_is_not_connect_is_answered_and_closed(front: FrontProcess):
    answers, code, reason = refused(front, b'{"type":"req","id":"h","method":"health"}')
    text = "invalid handshake: first request must be connect"
    assert json.loads(answers[0])["error"] == {"code": "INVALID_REQUEST", "message": text}
    assert (len(answers), code, reason) == (1, 1008, text)


def test_a_wrong_version_closes_1002(front: FrontProcess):
    message = json.dumps(connect_request(TOKEN, minProtocol=4, maxProtocol=9)).encode()
    answers, code, reason = refused(front, message)
    assert json.loads(answers[0])["error"]["details"] == {"expectedProtocol": 3}
    assert (code, reason) == (1002, "protocol mismatch")


def test_a_wrong_token_is_told_and_closed_1008(front: FrontProcess):
    answers, code, reason = refused(front, json.dumps(connect_request("wrong")).encode())
    error = json.loads(answers[0])["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"].startswith("unauthorized: gateway token mismatch (")
    assert (code, reason) == (1008, error["message"][:120])


def test_malformed_messages_after_the_handshake_do_not_close(front: FrontProcess):
    with front.connect() as wire:
        wire.send(b"{nonsense")
        wire.send({"type": "event", "id": 7})
        answer = wire.receive()
        assert (answer["id"], answer["ok"]) == (7, False)
        assert answer["error"]["message"].startswith("invalid request frame: ")
        wire.send([1])
        assert wire.receive()["id"] == "invalid"
        wire.send(b"[" * 200_000)
        wire.send(b'{"type":"req","id":"deep","method":"health","params":' + b"[" * 100_000)
        wire.send({"type": "req", "id": "c", "method": "connect"})
        assert wire.answer("c")["error"]["message"] == "connect is only valid as the first request"
        assert wire.call("no.such")["error"]["message"] == "unknown method: no.such"


def test_a_million_keys_are_answered(front: FrontProcess):
    keys = b",".join(b'"k%d":1' % number for number in range(45_000))
    with front.connect() as wire:
        wire.send(b'{"type":"req","id":"k","method":"health","params":{%b}}' % keys)
        assert wire.answer("k")["ok"]
        wire.send(b'{"type":"req","id":"k2",%b}' % keys)
        assert not wire.answer("k2")["ok"]


def test_pipelined_requests_are_answered_in_order(front: FrontProcess):
    with front.connect() as wire:
        requests = [
            b'{"type":"req","id":"%d","method":"%b"}' % (n, [b"health", b"system-presence"][n % 2])
            for n in range(500)
        ]
        wire.send_bytes(b"".join(frame(TEXT, request) for request in requests))
        ids = [wire.until(lambda m: m["type"] == "res")["id"] for _ in range(500)]
        assert ids == [str(n) for n in range(500)]


def test_events_a_request_causes_come_before_its_answer(front: FrontProcess):
    with front.connect() as wire:
        wire.ask("system-event", {"text": "Node: box · mode test"})
        kinds = [wire.receive().get("event", "res") for _ in range(2)]
        assert kinds == ["presence", "res"]
        wire.ask("agent.stages", {"count": 2})
        got = [wire.receive() for _ in range(4)]
        assert [m.get("event") or m["payload"] for m in got] == [
            {"status": "accepted"}, "agent", "agent", "done",
        ]  # fmt: skip
        assert got[2]["seq"] == got[1]["seq"] + 1


def test_many_calls_of_one_client_are_answered_each(front: FrontProcess):
    with front.connect() as wire:
        ids = [wire.ask("agent.echo", {"value": number}) for number in range(300)]
        answers = [wire.until(lambda m: m["type"] == "res") for _ in ids]
        assert {m["id"]: m["payload"]["value"] for m in answers} == dict(
            zip(ids, range(300), strict=True)
        )


def test_a_call_past_its_deadline_is_given_up(front: FrontProcess):
    with front.connect() as wire:
        error = wire.call("agent.slow", {"seconds": 30})["error"]
        assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
        assert "did not answer in time" in error["message"]


def test_failures_of_a_worker_reach_the_caller(front: FrontProcess):
    with front.connect() as wire:
        assert "invalid agent.echo params" in wire.call("agent.echo", [1])["error"]["message"]
        refused = wire.call("agent.refuse")
        assert refused["payload"] == {"status": "error"}
        assert refused["error"] == {"code": "UNAVAILABLE", "message": "no model"}
        assert wire.call("agent.echo", {"value": 1, "count": 3.0})["ok"]


def test_big_params_and_big_answers_pass(front: FrontProcess):
    with front.connect() as wire:
        value = "v" * 500_000
        assert wire.call("agent.echo", {"value": value})["payload"]["value"] == value
        assert len(wire.call("agent.echo", {"size": 6_000_000})["payload"]["padding"]) == 6_000_000


def test_descriptors_are_given_back_however_clients_leave(front: FrontProcess):
    with front.connect() as wire:
        assert wire.call("health")["ok"]
    before = front.descriptors()
    wires = [front.connect() for _ in range(20)]
    for number, wire in enumerate(wires):
        wire.ask("agent.slow", {"seconds": 0.2})
        if number % 3 == 0:
            wire.socket.shutdown(socket.SHUT_WR)
        elif number % 3 == 1:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            wire.send_bytes(b"\x88\x80\0\0\0\0")
        wire.close()
    for _ in range(10):
        Wire.upgraded(front.port).close()
    wait_until(lambda: front.descriptors() <= before)
    wait_until(lambda: front.metric('gatewayd_connections{state="clients"}') == 0)


def test_a_client_that_leaves_half_closed_is_closed(front: FrontProcess):
    with front.connect() as wire:
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.closed().code is None


@pytest.mark.parametrize(
    "changes", [{"minProtocol": 3.0}, {"auth": {"token": TOKEN, "password": None}}]
)
def test_numbers_and_nulls_clients_write_are_understood(front: FrontProcess, changes: dict):
    with knocking(front) as wire:
        wire.send(connect_request(TOKEN, **changes))
        assert wire.receive()["ok"]
