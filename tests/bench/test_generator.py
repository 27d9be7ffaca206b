"""The load generator counts what it gets, and gives up loudly when it gets nothing."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import generator
from tests.bench.__main__ import PEERS_NODE
from tests.bench.generator import GeneratorError, Port
from tests.bench.servers import yardstick

SECONDS = 0.3
PAYLOADS = {
    "answers": {"health": {"ok": True, "text": "a" * 900}, "shout": {}},
    "broadcasts": {"shout": {"event": "presence", "payload": {"text": "b" * 300}}},
}

pytestmark = pytest.mark.peers


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Port]:
    with yardstick(str(PEERS_NODE), PAYLOADS, tmp_path) as (port, _):
        yield port


@pytest.fixture
def rude() -> Iterator[Port]:
    """A server that hangs up on whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up, args=[server], daemon=True)
        thread.start()
        yield Port(server.getsockname()[1])
        thread.join(5)


def _hang_up(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.close()


@pytest.mark.parametrize("depth", [1, 16])
def test_every_answer_is_counted_once(node: Port, depth: int) -> None:
    measured = generator.requests(node, 5, depth, SECONDS, "health")
    assert measured.count > 50
    assert measured.errors == 0
    assert 0 < measured.p50_us <= measured.p99_us
    # Closed loop: no more in flight than asked for, so latency and rate go together.
    assert measured.per_s * measured.p50_us / 1e6 < 5 * depth * 2


def test_an_event_is_counted_at_every_client(node: Port) -> None:
    measured = generator.fanout(node, 40, SECONDS, "shout", "presence")
    assert measured.count > 40


def test_handshakes_are_counted(node: Port) -> None:
    assert generator.connects(node, 8, SECONDS).count > 20


def test_idle_clients_are_held_until_the_end(node: Port) -> None:
    with generator.held(node, 200) as seconds:
        assert seconds > 0


def test_a_lost_connection_is_an_error(rude: Port) -> None:
    with pytest.raises(GeneratorError, match="a connection was lost"):
        generator.requests(rude, 1, 1, SECONDS, "health")


def test_an_error_answer_is_an_error(node: Port) -> None:
    with pytest.raises(GeneratorError, match="answers were errors"):
        generator.requests(node, 1, 1, SECONDS, "unknown.method")
