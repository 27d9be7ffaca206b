"""Calls through a real front to real workers that die, hang, drain, come back and call others."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.kit.front import FrontProcess, Process, running, state_of
from tests.kit.waiting import wait_until
from tests.kit.wire import Wire

pytestmark = pytest.mark.processes


@pytest.fixture
def lone() -> Iterator[FrontProcess]:
    with running() as front:
        yield front


def kill(worker: Process) -> None:
    worker.signal(signal.SIGKILL)
    worker.popen.wait(10)


def refusal_now(wire: Wire, method: str) -> str:
    """What a call is refused with at once; empty when it waits for its worker."""
    asked, behind = wire.ask(method), wire.ask("health")
    text = ""
    while (message := wire.receive()).get("id") != behind:
        if message.get("id") == asked:
            assert message["error"]["retryable"]
            text = message["error"]["message"]
    return text


def latencies_ms(wire: Wire, count: int) -> list[float]:
    """How long `count` health answers take, one after the other, sorted."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        assert wire.call("health")["ok"]
        taken.append((time.perf_counter() - started) * 1000)
    return sorted(taken)


def test_calls_of_a_killed_worker_fail_at_once_and_the_client_stays(lone: FrontProcess):
    worker = lone.worker()
    with lone.connect() as wire:
        ids = [wire.ask("agent.never") for _ in range(20)]
        assert wire.call("agent.echo")["ok"]
        started = time.perf_counter()
        kill(worker)
        for frame_id in ids:
            error = wire.answer(frame_id)["error"]
            assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
            assert error["retryAfterMs"] > 0
        assert time.perf_counter() - started < 1.0
        error = wire.call("agent.echo")["error"]
        assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
        assert "worker agent is down" in wire.call("status")["payload"]["problems"]
        lone.worker()
        assert wire.call("agent.echo")["ok"]
        assert wire.call("health")["payload"]["defaultAgentId"] == "tested"


def test_a_stopped_worker_does_not_move_the_fronts_answers(lone: FrontProcess):
    worker = lone.worker()
    with lone.connect() as wire:
        frame_id = wire.ask("agent.echo")
        wire.answer(frame_id)
        worker.signal(signal.SIGSTOP)
        waiting = wire.ask("agent.echo")
        taken = latencies_ms(wire, 1000)
        assert taken[990] < 50
        wait_until(lambda: state_of(lone, "agent") == "silent", 4.5)
        wait_until(lambda: "silent" in refusal_now(wire, "agent.echo"))
        worker.signal(signal.SIGCONT)
        assert wire.answer(waiting)["ok"]
        wait_until(lambda: state_of(lone, "agent") == "running")
        assert wire.call("agent.echo")["ok"]


def test_big_params_for_a_worker_that_hangs_are_bounded(lone: FrontProcess):
    worker = lone.worker()
    with lone.connect() as wire:
        assert wire.call("agent.echo", {"value": "v" * 400_000})["ok"]
        worker.signal(signal.SIGSTOP)
        before = lone.resident_bytes()
        for _ in range(100):
            wire.ask("agent.echo", {"value": "v" * 400_000})
        error = wire.until(lambda message: message["type"] == "res")["error"]
        assert error["message"] == "too many unanswered requests on this connection"
        assert wire.call("health")["payload"]["defaultAgentId"] == "tested"
        assert lone.resident_bytes() - before < 48_000_000


def test_a_newer_process_of_a_name_replaces_the_older(lone: FrontProcess):
    first = lone.worker()
    with lone.connect() as wire:
        waiting = wire.ask("agent.never")
        second = lone.worker()
        assert wire.answer(waiting)["error"]["code"] == "UNAVAILABLE"
        rows = {row["name"]: row for row in wire.call("status")["payload"]["processes"]}
        assert rows["agent"]["pid"] == second.pid
        kill(first)
        wait_until(lambda: wire.call("agent.echo")["ok"])
        assert state_of(lone, "agent") == "running"


def test_a_replaced_worker_that_goes_on_talking_is_not_heard(lone: FrontProcess):
    first = lone.worker()
    first.signal(signal.SIGSTOP)
    second = lone.worker()
    first.signal(signal.SIGCONT)
    wait_until(lambda: "refused by the front" in first.events())
    with lone.connect() as wire:
        rows = {row["name"]: row for row in wire.call("status")["payload"]["processes"]}
        assert rows["agent"]["pid"] == second.pid
        assert wire.call("agent.echo")["ok"]


def test_a_worker_that_stops_says_goodbye(lone: FrontProcess):
    worker = lone.worker()
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "worker down" in lone.events())
    assert worker.popen.wait(5) == 0
    down = [entry for entry in lone.entries() if entry["event"] == "worker down"]
    assert [entry["reason"] for entry in down] == ["stopping"]


def test_clients_that_leave_take_nothing_with_them(lone: FrontProcess):
    lone.worker()
    for _ in range(5):
        with lone.connect() as wire:
            for _ in range(20):
                wire.ask("agent.slow", {"seconds": 0.3})
    wait_until(lambda: lone.metric("gatewayd_open_calls") == 0)
    with lone.connect() as wire:
        assert wire.call("agent.echo")["ok"]


def test_workers_call_each_other_within_their_rights(lone: FrontProcess):
    lone.worker("agent")
    lone.worker("channels")
    with lone.connect() as wire:
        assert wire.call("channels.relay", {"value": "agent.echo"})["payload"]["value"] is None
        error = wire.call("agent.relay", {"value": "web.echo"})["error"]["message"]
        assert error == "worker agent may not call web.echo"
        error = wire.call("channels.relay", {"value": "agent.refuse"})["error"]["message"]
        assert error == "no model"


def test_workers_hear_the_events_they_asked_for(lone: FrontProcess):
    lone.worker()
    with lone.connect() as wire:
        wire.call("system-event", {"text": "somebody knocked"})
        wait_until(lambda: wire.call("agent.heard")["payload"] == ['{"text":"somebody knocked"}'])


def test_a_front_that_comes_back_finds_its_workers(lone: FrontProcess):
    worker = lone.worker()
    old = lone.popen
    old.kill()
    old.wait(10)
    lone.start()
    try:
        wait_until(lambda: state_of(lone, "agent") == "running", 5)
        with lone.connect() as wire:
            assert wire.call("agent.echo")["ok"]
            assert wire.call("health")["payload"]["defaultAgentId"] == "tested"
        assert worker.faults() == []
    finally:
        assert old.stdout is not None
        old.stdout.close()


def test_a_draining_worker_still_answers_readers(lone: FrontProcess):
    worker = lone.worker()
    with lone.connect() as wire:
        assert wire.call("agent.echo")["ok"]
        worker.signal(signal.SIGUSR1)
        assert worker.popen.wait(5) == 0
        error = wire.call("agent.echo")["error"]
        assert error["retryable"]
