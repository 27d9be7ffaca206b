"""The gateway client against a server that speaks the handshake."""

import socket
import threading

import pytest

from gatewayd.client import (
    CallTimeoutError,
    ClosedError,
    Event,
    GatewayError,
    Identity,
    UnreachableError,
    connect,
)
from tests.ctl.gateway_double import HELLO, TOKEN, Asked, double


def echo(asked: Asked) -> None:
    asked.result({"method": asked.method, "params": asked.params})


def test_a_call_brings_its_result() -> None:
    with double(echo) as gateway, connect(gateway.url, token=TOKEN) as client:
        assert client.hello == HELLO
        assert client.call("health", {"a": 1}) == {"method": "health", "params": {"a": 1}}


def test_it_says_who_it_is_and_sends_only_the_secrets_given() -> None:
    identity = Identity(client_id="test", mode="test", version="9", scopes=("operator.read",))
    with double(echo) as gateway:
        connect(gateway.url, token=TOKEN, identity=identity).close()
        with pytest.raises(GatewayError):
            connect(gateway.url)
    first, second = gateway.connects
    assert first["client"]["id"] == "test"
    assert first["scopes"] == ["operator.read"]
    assert first["auth"] == {"token": TOKEN}
    assert "auth" not in second


def test_a_refusal_is_told_with_its_code() -> None:
    with double(echo) as gateway, pytest.raises(GatewayError, match="token mismatch") as caught:
        connect(gateway.url, token="wrong")
    assert caught.value.code == "INVALID_REQUEST"


def test_an_error_answer_carries_everything_the_gateway_said() -> None:
    def fail(asked: Asked) -> None:
        asked.error(
            code="UNAVAILABLE", message="away", details={"a": 1}, retryable=True, retryAfterMs=7
        )

    with (
        double(fail) as gateway,
        connect(gateway.url, token=TOKEN) as client,
        pytest.raises(GatewayError) as caught,
    ):
        client.call("agent")
    error = caught.value
    assert (error.code, error.message, error.details) == ("UNAVAILABLE", "away", {"a": 1})
    assert (error.retryable, error.retry_after_ms, error.payload) == (True, 7, None)


def two_stage(asked: Asked) -> None:
    asked.result({"status": "accepted"})
    asked.event("agent", {"n": 1})
    asked.result({"status": "ok"})


def test_a_two_stage_call_skips_the_acceptance_when_asked_to() -> None:
    accepted: list[object] = []
    events: list[Event] = []
    with double(two_stage) as gateway, connect(gateway.url, token=TOKEN) as client:
        result = client.call("agent", on_accept=accepted.append, on_event=events.append)
    assert result == {"status": "ok"}
    assert accepted == [{"status": "accepted"}]
    assert [(event.name, event.payload) for event in events] == [("agent", {"n": 1})]


def test_otherwise_the_first_answer_counts_and_a_later_one_is_ignored() -> None:
    with double(two_stage) as gateway, connect(gateway.url, token=TOKEN) as client:
        assert client.call("agent") == {"status": "accepted"}
        assert client.call("agent") == {"status": "accepted"}
        assert [event.payload for event in client.events(0.2)][:1] == [{"n": 1}]


def test_answers_in_another_order_find_their_calls() -> None:
    waiting: list[Asked] = []

    def swap(asked: Asked) -> None:
        waiting.append(asked)
        if len(waiting) == 2:
            for one in reversed(waiting):
                one.result(one.params["n"])

    with double(swap) as gateway, connect(gateway.url, token=TOKEN) as client:
        client.send("first", {"n": 1})
        assert client.call("second", {"n": 2}) == 2


def test_no_answer_in_time_is_an_error_that_names_the_method() -> None:
    with (
        double(lambda _: None) as gateway,
        connect(gateway.url, token=TOKEN) as client,
        pytest.raises(CallTimeoutError, match=r"slow\.method: no answer within 0\.05 s"),
    ):
        client.call("slow.method", timeout_s=0.05)


def test_a_close_is_told_with_code_and_reason() -> None:
    def leave(asked: Asked) -> None:
        asked.socket.close(1012, "service restart")

    with double(leave) as gateway, connect(gateway.url, token=TOKEN) as client:
        with pytest.raises(ClosedError, match="1012 service restart") as caught:
            client.call("health")
        with pytest.raises(ClosedError):
            client.send("health")
    assert caught.value.code == 1012


def test_a_connection_that_is_cut_is_told_as_lost() -> None:
    def cut(asked: Asked) -> None:
        asked.socket.socket.shutdown(socket.SHUT_RDWR)

    with (
        double(cut) as gateway,
        connect(gateway.url, token=TOKEN) as client,
        pytest.raises(ClosedError, match="connection lost") as caught,
    ):
        client.call("health")
    assert caught.value.code == 1006


def test_a_large_result_arrives_whole() -> None:
    text = "ä" * 3_000_000

    def large(asked: Asked) -> None:
        asked.result(text)

    with double(large) as gateway, connect(gateway.url, token=TOKEN) as client:
        assert client.call("chat.history") == text


def test_nobody_listening_is_an_error_that_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}.*refused"):
        connect(f"ws://127.0.0.1:{port}", token=TOKEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "ws://", "ws://host:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UnreachableError):
        connect(url)


def test_a_server_that_is_no_gateway_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_as_web_server, args=(server,))
        thread.start()
        with pytest.raises(UnreachableError, match="not a gateway"):
            connect(f"ws://127.0.0.1:{server.getsockname()[1]}")
        thread.join(5)


def _answer_as_web_server(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="no WebSocket handshake"):
            connect(url, timeout_s=0.1)
