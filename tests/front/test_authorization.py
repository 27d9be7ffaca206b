"""What the front says to workers about people who came over HTTP, on the real bus."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from bus.codec import pack, unpack
from bus.messages import Event, Goodbye, Reply, Request, Welcome
from tests.kit.front import TOKEN, FrontProcess, running
from tests.kit.rogue import Rogue, ready
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.processes
HERE = {"address": "127.0.0.1", "host": "localhost:18789"}
THERE = {"address": "192.0.2.7", "host": "gw.example"}


@pytest.fixture(scope="module")
def lone() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def ask(peer: Rogue, params: dict[str, Any], method: str = "gateway.authorize") -> Any:
    """The frame the front answers with."""
    peer.send_parts(pack(Request(7, method, '"7"', msgspec.Raw(b"\x90"), 0),
                         msgspec.json.encode(params)))  # fmt: skip
    found: list[Any] = []
    while not found:  # the front probes its peers with empty blobs
        assert peer._socket.poll(5000)
        found = list(unpack(peer._socket.recv()))
    reply, body = found[0]
    assert isinstance(reply, Reply)
    return msgspec.json.decode(body)


@pytest.fixture
def web(lone: FrontProcess) -> Iterator[Rogue]:
    with Rogue(lone.endpoint, b"asks") as peer:
        peer.send(ready("web", lone.bus_key))
        assert isinstance(peer.received()[0], Welcome)
        yield peer
        peer.send(Goodbye("done"))


@pytest.mark.parametrize(
    ("params", "payload"),
    [
        ({**HERE, "scope": "write", "token": TOKEN},
         {"scopes": ["operator.admin"], "isLocal": True}),
        ({**THERE, "scope": "write", "token": TOKEN}, {"scopes": ["operator.admin"]}),
        ({**HERE, "scope": "read", "token": TOKEN, "scopes": ["operator.read", "x"]},
         {"scopes": ["operator.read"], "isLocal": True}),
        ({**HERE, "scope": "read"}, {"isLocal": True}),
        ({**HERE, "scope": "read", "isForwarded": True}, {}),
        ({**HERE, "host": "gw.example", "scope": "read"}, {}),
        ({**THERE, "scope": "read"}, {}),
    ],
)  # fmt: skip
def test_the_secret_and_the_place_decide(
    web: Rogue, params: dict[str, Any], payload: dict[str, Any]
) -> None:
    assert ask(web, params)["payload"] == payload


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({**THERE, "scope": "read", "token": "wrong"}, "unauthorized: gateway token mismatch"),
        ({**HERE, "scope": "write", "token": TOKEN, "scopes": ["operator.read"]},
         "missing scope: operator.write"),
        ({**HERE, "scope": "worker", "token": TOKEN}, "missing scope: operator.worker"),
        ({**HERE, "scope": "all", "token": TOKEN}, "invalid gateway.authorize params: at /scope"),
        ({"scope": "read"}, "must have required property 'address'"),
    ],
)  # fmt: skip
def test_everybody_else_is_refused(web: Rogue, params: dict[str, Any], text: str) -> None:
    assert text in ask(web, params)["error"]["message"]


def test_only_the_web_worker_may_ask(lone: FrontProcess) -> None:
    for name in ("agent", "channels", "health"):
        with Rogue(lone.endpoint, name.encode()) as peer:
            peer.send(ready(name, lone.bus_key))
            assert isinstance(peer.received()[0], Welcome)
            error = ask(peer, {**HERE, "scope": "read", "token": TOKEN})["error"]
            assert error["message"] == f"worker {name} may not call gateway.authorize"
            peer.send(Goodbye("done"))


def test_a_worker_changes_the_topics_it_hears_with_its_next_announcement(
    lone: FrontProcess,
) -> None:
    with Rogue(lone.endpoint, b"topics") as peer, Rogue(lone.endpoint, b"teller") as teller:
        teller.send(ready("agent", lone.bus_key))
        assert isinstance(teller.received()[0], Welcome)
        peer.send(ready("web", lone.bus_key))
        assert isinstance(peer.received()[0], Welcome)

        def hears(topics: tuple[str, ...]) -> bool:
            peer.send(ready("web", lone.bus_key, topics=topics))
            ask(peer, {**HERE, "scope": "read"})  # answered after the announcement was taken
            teller.send(Event("agent"), b"{}")
            return peer.received(0.5) == [Event("agent")]

        assert not hears(())
        wait_until(lambda: hears(("agent",)))
        assert not hears(())
        for one in (peer, teller):
            one.send(Goodbye("done"))
