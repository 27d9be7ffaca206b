"""Events of a real front: to slow readers, to those who may not hear them, to very many."""

from collections.abc import Iterator

import pytest

from tests.kit.front import TOKEN, FrontProcess, running
from tests.kit.waiting import wait_until
from tests.kit.wire import TEXT, Wire, frame

pytestmark = pytest.mark.processes
BURST = {"count": 10, "size": 50_000}  # 500 kB
BURST_COUNT = 40


@pytest.fixture
def lone() -> Iterator[FrontProcess]:
    with running() as front:
        front.worker()
        yield front


def test_a_client_that_does_not_read_is_cut_and_others_are_not(lone: FrontProcess):
    before = lone.resident_bytes()
    with lone.connect() as slow, lone.connect() as reader, lone.connect() as asker:
        for _ in range(BURST_COUNT):
            published = asker.ask("agent.publish", BURST)
            numbers = [reader.event("agent")["payload"]["number"] for _ in range(10)]
            assert numbers == list(range(10))
            assert asker.answer(published)["ok"]
        wait_until(lambda: lone.metric('gatewayd_connections{state="clients"}') == 2)
        closed = slow.closed()
        assert closed.code in (1008, None), "the close frame comes if the kernel still took it"
        assert lone.metric('gatewayd_front_total{what="slow"}') > 0
    assert lone.resident_bytes() - before < 40_000_000


def test_events_that_may_be_dropped_are_skipped_for_a_slow_client(lone: FrontProcess):
    with lone.connect() as slow, lone.connect() as asker:
        for _ in range(BURST_COUNT):
            assert asker.call("agent.publish", {**BURST, "drop": True})["ok"]
        assert lone.metric('gatewayd_front_total{what="skipped"}') > 0
        numbers = []
        frame_id = slow.ask("health")
        while (message := slow.receive()).get("id") != frame_id:
            if message["event"] == "agent":
                numbers.append(message["payload"]["number"])
        assert 0 < len(numbers) < 400
        assert lone.metric('gatewayd_connections{state="clients"}') == 2


def test_a_slow_reader_of_answers_is_held_back_not_buffered(lone: FrontProcess):
    with lone.connect() as filler:
        for number in range(190):
            text = f"{number} " + "x" * 250
            filler.call("system-event", {"text": text, "instanceId": f"i{number}"})
    before = lone.resident_bytes()
    with lone.connect() as wire, lone.connect() as other:
        request = b'{"type":"req","id":"p","method":"system-presence"}'
        wire.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            wire.send_bytes(frame(TEXT, request) * 200_000)
        assert other.call("health")["ok"]
        assert lone.resident_bytes() - before < 16_000_000
    with lone.connect() as wire:
        requests = [b'{"type":"req","id":"%d","method":"system-presence"}' % n for n in range(400)]
        wire.send_bytes(b"".join(frame(TEXT, request) for request in requests))
        answered = [wire.until(lambda message: message["type"] == "res") for _ in requests]
        assert [answer["id"] for answer in answered] == [str(n) for n in range(400)]


def test_scoped_events_reach_only_those_who_hold_the_scope(lone: FrontProcess):
    with (
        lone.connect(scopes=["operator.read"]) as reader,
        lone.connect(scopes=["operator.write"]) as writer,
    ):
        error = reader.call("agent.publish")["error"]["message"]
        assert error == "missing scope: operator.write"
        assert writer.call("agent.publish", {"count": 1})["ok"]
        first = reader.event("agent")
        assert first["payload"]["number"] == 0


def test_a_leaving_client_is_told_to_the_others(lone: FrontProcess):
    client = {"id": "test", "version": "1", "platform": "linux", "mode": "test", "instanceId": "T"}
    with lone.connect() as watcher:
        with lone.connect(client=client):
            rows = watcher.call("system-presence")["payload"]
            row = next(row for row in rows if row.get("instanceId") == "T")
            assert (row["reason"], row["roles"]) == ("connect", ["operator"])
        rows = watcher.event("presence")["payload"]["presence"]
        row = next(row for row in rows if row.get("instanceId") == "T")
        assert row["reason"] == "disconnect"


def test_a_thousand_idle_clients_are_no_event(lone: FrontProcess):
    before = lone.resident_bytes()
    wires = [Wire.connected(lone.port, TOKEN) for _ in range(1000)]
    try:
        assert lone.metric('gatewayd_connections{state="clients"}') == 1000
        assert (lone.resident_bytes() - before) / 1000 < 16_000
        wires[0].ask("system-event", {"text": "for all"})
        sequences = {wire.event("presence")["seq"] for wire in wires}
        assert len(sequences) == 1
    finally:
        for wire in wires:
            wire.close()
    wait_until(lambda: lone.metric('gatewayd_connections{state="clients"}') == 0)
