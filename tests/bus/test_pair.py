"""Broker and peer over a real socket: order, size, deaths, restarts, garbage, bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq

from bus import peer as peer_module
from bus.broker import Broker
from bus.codec import pack
from bus.messages import Cancel, Event, Message, Partial, Ready, Refused, Snapshot, Welcome
from bus.peer import Peer
from tests.kit.eventually import eventually, run
from tests.kit.rogue import Rogue, ready


class Side:
    """What one end received."""

    def __init__(self) -> None:
        self.got: list[tuple[Message, bytes]] = []
        self.garbage: list[str] = []
        self.gone: list[bytes] = []
        self.connected = 0

    def broker(self, endpoint: str) -> Broker:
        return Broker(
            endpoint,
            lambda identity, message, body: self.got.append((message, body)),
            lambda identity, reason: self.garbage.append(reason),
            self.gone.append,
        )

    def peer(self, endpoint: str, identity: bytes = b"p") -> Peer:
        return Peer(endpoint, identity, lambda m, b: self.got.append((m, b)), self.count)

    def count(self) -> None:
        self.connected += 1


@asynccontextmanager
async def pair(path: Path) -> AsyncIterator[tuple[Side, Broker, Side, Peer]]:
    front, worker = Side(), Side()
    broker = front.broker(f"ipc://{path}/bus")
    peer = worker.peer(f"ipc://{path}/bus")
    await eventually(lambda: worker.connected, "the connection")
    try:
        yield front, broker, worker, peer
    finally:
        peer.close()
        broker.close()


def test_messages_arrive_in_order_both_ways(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, broker, worker, peer):
            for number in range(5_000):
                peer.send(Partial(number), b"%d" % number)
            await eventually(lambda: len(front.got) == 5_000, "all messages")
            assert front.got == [(Partial(n), b"%d" % n) for n in range(5_000)]
            for number in range(5_000):
                broker.send(b"p", Cancel(number))
            await eventually(lambda: len(worker.got) == 5_000, "all answers")
            assert worker.got == [(Cancel(n), b"") for n in range(5_000)]

    run(test())


def test_big_bodies_pass(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, broker, worker, peer):
            for size in (1 << 20, 20 << 20):
                body = bytes(size)
                peer.send(Snapshot("x"), body)
                peer.send(Cancel(1))
                await eventually(lambda: len(front.got) == 2, "the body")
                assert front.got[0][1] == body
                front.got.clear()
                broker.send(b"p", Event("x"), body)
                await eventually(lambda: worker.got, "the body")
                assert worker.got.pop()[1] == body

    run(test())


def test_a_peer_that_goes_is_noticed_without_being_spoken_to(tmp_path: Path):
    async def test() -> None:
        front = Side()
        broker = front.broker(f"ipc://{tmp_path}/bus")
        rogue = Rogue(f"ipc://{tmp_path}/bus", b"r")
        rogue.send(Cancel(1))
        await eventually(lambda: front.got, "a message")
        rogue.close()
        await eventually(lambda: front.gone == [b"r"], "its absence", 2)
        broker.close()

    run(test())


def test_a_message_to_nobody_is_told(tmp_path: Path):
    async def test() -> None:
        front = Side()
        broker = front.broker(f"ipc://{tmp_path}/bus")
        broker.send(b"nobody", Cancel(1))
        await eventually(lambda: front.gone == [b"nobody"], "unreachable")
        broker.close()

    run(test())


def test_a_peer_finds_a_new_broker_and_says_so(tmp_path: Path):
    async def test() -> None:
        endpoint = f"ipc://{tmp_path}/bus"
        front, second, worker = Side(), Side(), Side()
        broker = front.broker(endpoint)
        peer = worker.peer(endpoint)
        await eventually(lambda: worker.connected == 1, "the first broker")
        broker.close()
        await eventually(lambda: not peer._socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT, "the end")
        peer.send(Event("kept"), b"while away")
        broker = second.broker(endpoint)
        await eventually(lambda: worker.connected == 2, "the second broker")
        peer.send_first(ready("web", b"k"))
        await eventually(lambda: len(second.got) >= 1, "what waited")
        broker.send(b"p", Welcome(2))
        await eventually(lambda: worker.got == [(Welcome(2), b"")], "the welcome")
        await eventually(lambda: (Event("kept"), b"while away") in second.got, "what waited")
        peer.close()
        broker.close()

    run(test())


def test_what_waits_for_an_absent_broker_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(peer_module, "MAX_QUEUED_BYTES", 100_000)

    async def test() -> None:
        worker = Side()
        peer = worker.peer(f"ipc://{tmp_path}/nobody")
        for number in range(200):
            peer.send(Event(str(number)), bytes(1_000))
            await asyncio.sleep(0)
        assert peer.dropped_count > 90
        assert peer._queued_bytes <= 100_000
        front = Side()
        broker = front.broker(f"ipc://{tmp_path}/nobody")
        await eventually(lambda: front.got, "what is left")
        await eventually(lambda: front.got[-1][0] == Event("199"), "the newest")
        peer.close()
        broker.close()

    run(test())


def test_garbage_does_not_end_the_broker(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, _broker, _worker, peer):
            rogue = Rogue(f"ipc://{tmp_path}/bus")
            bad_text = pack(Refused("x")).replace(b"x", b"\x80")
            for parts in ((b"x",), (b"a", b"b"), (b"a", b"b", b"c"), (b"\xff" * 99,), (bad_text,)):
                rogue.send_parts(*parts)
            await eventually(lambda: len(front.garbage) == 5, "the garbage")
            peer.send(Cancel(7))
            await eventually(lambda: front.got == [(Cancel(7), b"")], "an honest message")
            rogue.close()

    run(test())


def test_a_blob_beyond_the_limit_costs_the_sender_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.broker.MAX_BLOB_BYTES", 1_000_000)

    async def test() -> None:
        async with pair(tmp_path) as (front, _broker, _worker, peer):
            rogue = Rogue(f"ipc://{tmp_path}/bus")
            rogue.send_parts(bytes(5_000_000))
            peer.send(Cancel(7))
            await eventually(lambda: front.got == [(Cancel(7), b"")], "an honest message")
            assert front.garbage == []
            rogue.close()

    run(test())


def test_a_blob_of_very_many_messages_leaves_room_for_others(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, _broker, _worker, peer):
            for _ in range(20_000):
                peer.send(Cancel(1))
            turns = 0
            while len(front.got) < 20_000:
                before = len(front.got)
                await asyncio.sleep(0)
                turns += len(front.got) > before
            assert turns >= 20

    run(test())


def test_a_handler_that_fails_does_not_stop_the_others(tmp_path: Path):
    async def test() -> None:
        taken: list[Message] = []

        def receive(identity: bytes, message: Message, body: bytes) -> None:
            taken.append(message)
            if message == Cancel(1):
                raise ValueError("cannot")

        broker = Broker(f"ipc://{tmp_path}/bus", receive, lambda i, r: None, lambda i: None)
        peer = Side().peer(f"ipc://{tmp_path}/bus")
        for number in range(3):
            peer.send(Cancel(number))
        await eventually(lambda: len(taken) == 3, "all three")
        peer.close()
        broker.close()

    run(test())


def test_two_peers_of_one_identity_leave_the_newer_heard(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, broker, _worker, _peer):
            newer = Side()
            second = newer.peer(f"ipc://{tmp_path}/bus")
            second.send(Cancel(2))
            await eventually(lambda: (Cancel(2), b"") in front.got, "the newer")
            broker.send(b"p", Cancel(3))
            await eventually(lambda: newer.got == [(Cancel(3), b"")], "the answer")
            second.close()

    run(test())


def test_a_ready_carries_all_it_says(tmp_path: Path):
    async def test() -> None:
        async with pair(tmp_path) as (front, _broker, _worker, peer):
            said = ready("web", b"k", ("browser.request",), topics=("a",), progress={"lag_ms": 1.5})
            peer.send(said)
            await eventually(lambda: front.got, "the announcement")
            assert isinstance(front.got[0][0], Ready)
            assert front.got == [(said, b"")]

    run(test())
