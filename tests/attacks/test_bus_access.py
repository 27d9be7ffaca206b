"""Peers of the bus that forge, flood and lie: refused or limited, and the front goes on."""

import os
import time
from collections.abc import Iterator

import pytest

from bus.codec import pack
from bus.messages import Event, Goodbye, Partial, Refused, Reply, Request, Snapshot, Welcome
from tests.kit.front import FrontProcess, running
from tests.kit.rogue import Rogue, ready
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def front() -> Iterator[FrontProcess]:
    with running() as front:
        front.worker("agent")
        yield front


def garbage(front: FrontProcess) -> float:
    return front.metric('gatewayd_front_total{what="garbage"}')


def answers(front: FrontProcess) -> bool:
    with front.connect() as wire:
        return bool(wire.call("health")["ok"] and wire.call("agent.echo")["ok"])


@pytest.mark.parametrize(
    "parts",
    [
        (b"",), (b"\0",), (b"\xff" * 100,), (b"a", b"b", b"c"), (os.urandom(1000),),
        (b"\x01\0\0\0\0\0\0\0\xc1",), (b"\xff\xff\xff\xff\xff\xff\xff\xff" * 3,),
        (b"\x10\0\0\0\0\0\0\0" + b"\x91" * 16,), (bytes(20_000_000),),
    ],
)  # fmt: skip
def test_bytes_that_are_no_messages_are_counted_and_dropped(
    front: FrontProcess, parts: tuple[bytes, ...]
):
    before = garbage(front)
    with Rogue(front.endpoint) as rogue:
        rogue.send_parts(*parts)
        if parts != (b"",):
            wait_until(lambda: garbage(front) > before)
        assert answers(front)


def test_a_peer_with_a_wrong_token_is_refused(front: FrontProcess):
    with Rogue(front.endpoint) as rogue:
        for given in ("", "0" * 64, "ü"):
            rogue.send(ready("web", front.bus_key, token=given))
            assert rogue.received() == [Refused("wrong bus token")]
        rogue.send(ready("nobody", front.bus_key))
        assert rogue.received() == [Refused("no worker is called 'nobody'")]
        assert front.get("/readyz")[1]["workers"]["web"] == "starting"


def test_a_worker_announces_only_methods_of_its_own(front: FrontProcess):
    with Rogue(front.endpoint) as rogue:
        rogue.send(ready("web", front.bus_key, ("agent.echo",)))
        assert rogue.received() == [Refused("may not serve agent.echo")]
        rogue.send(ready("web", front.bus_key, ("connect", "health", "browser.request")))
        assert rogue.received() == [Refused("may not serve connect, health")]
        assert answers(front)


def test_nothing_is_taken_before_an_announcement(front: FrontProcess):
    before = garbage(front)
    with Rogue(front.endpoint) as rogue, front.connect() as wire:
        # A Reply to a call that is not theirs counts as late.
        messages = (Event("agent"), Reply(1, ok=True), Partial(1), Snapshot("agent"), Goodbye("x"))
        for message in messages:
            rogue.send(message, b"{}")
        wait_until(lambda: garbage(front) == before + len(messages) - 1)
        assert wire.call("health")["ok"]


def test_a_worker_publishes_only_what_is_its_own(front: FrontProcess):
    with Rogue(front.endpoint, b"w1") as rogue, front.connect() as wire:
        rogue.send(ready("web", front.bus_key))
        assert isinstance(rogue.received()[0], Welcome)
        before = garbage(front)
        rogue.send(Event("chat"), b'{"forged":1}')
        rogue.send(Event("shutdown"), b'{"forged":1}')
        rogue.send(Snapshot("agent"), b'{"health":{"ok":true}}')
        rogue.send(Reply(7, ok=True), b"forged")
        wait_until(lambda: garbage(front) >= before + 3)
        asked = wire.ask("health")
        while (message := wire.receive()).get("id") != asked:
            assert "forged" not in str(message)
        rogue.send(Goodbye("done"))


def test_a_worker_calls_only_what_it_may(front: FrontProcess):
    with Rogue(front.endpoint, b"w2") as rogue:
        rogue.send(ready("web", front.bus_key))
        assert isinstance(rogue.received()[0], Welcome)
        rogue.send(Request(5, "channels.logout", '"5"', b"\x90", 0))
        assert rogue.received() == [Reply(5, ok=False)]
        rogue.send(Goodbye("done"))


def test_no_snapshot_makes_the_gateway_healthy(front: FrontProcess):
    with Rogue(front.endpoint, b"w3") as rogue, front.connect() as wire:
        rogue.send(ready("channels", front.bus_key))
        assert isinstance(rogue.received()[0], Welcome)
        body = (
            b'{"health":{"ok":true,"problems":[],"channelOrder":["x"]},"status":{"processes":[]}}'
        )
        rogue.send(Snapshot("channels"), body)
        rogue.send(Snapshot("channels"), b'{"health":{"x":"\xff"}}')
        wait_until(lambda: wire.call("health")["payload"]["channelOrder"] == ["x"])
        health = wire.call("health")["payload"]
        assert not health["ok"]
        assert health["problems"]
        assert wire.call("status")["payload"]["processes"]
        rogue.send(Goodbye("done"))


def test_a_flood_of_messages_does_not_move_the_fronts_answers(front: FrontProcess):
    with Rogue(front.endpoint, b"w4") as rogue:
        rogue.send(ready("health", front.bus_key))
        assert isinstance(rogue.received()[0], Welcome)
        one = pack(Event("health", drop_if_slow=True), b"{}")
        rogue.send_parts(one * 300_000)
        worst = 0.0
        for _ in range(200):
            started = time.perf_counter()
            front.get("/healthz")
            worst = max(worst, time.perf_counter() - started)
        assert worst < 0.25
        wait_until(lambda: front.metric('gatewayd_front_total{what="over_quota"}') > 100_000)
        rogue.send(Goodbye("done"))
    assert answers(front)


def test_a_flood_of_announcements_is_not_answered_without_end(front: FrontProcess):
    before = front.resident_bytes()
    with Rogue(front.endpoint, b"w5") as rogue, front.connect() as wire:
        rogue.send_parts(pack(ready("web", front.bus_key, token="no")) * 50_000)
        started = time.perf_counter()
        assert wire.call("health")["ok"]
        assert time.perf_counter() - started < 0.25
        assert len(rogue.received()) < 1000
    assert front.resident_bytes() - before < 32_000_000
