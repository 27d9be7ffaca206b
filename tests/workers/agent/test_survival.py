"""Runs and their ledger when the worker is killed, stopped or replaced."""

import random
import signal
import sqlite3
import subprocess
from typing import Any

import psutil
import pytest

from conf.paths import Paths
from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, play
from workers.agent import tree

pytestmark = pytest.mark.processes


def rows(paths: Paths) -> dict[str, dict[str, Any]]:
    """The run ledger by run id."""
    with sqlite3.connect(paths.database("agent")) as db:
        db.row_factory = sqlite3.Row
        found = {row["run_id"]: dict(row) for row in db.execute("SELECT * FROM runs")}
    db.close()
    return found


def transcript(paths: Paths) -> list[str]:
    """Bodies of all entries, in order."""
    with sqlite3.connect(paths.database("agent")) as db:
        found = [row[0] for row in db.execute("SELECT body FROM entries ORDER BY seq")]
    db.close()
    return found


def sleeper() -> "subprocess.Popen[bytes]":
    """A process group of its own."""
    return subprocess.Popen(["sleep", "61.5"], start_new_session=True)


async def begin(bus: Front, key: str, session: str = "main") -> None:
    """Starts a run and waits until it runs."""
    bus.ask("agent", message=f"do {key}", idempotencyKey=key, sessionKey=session)
    await bus.until(lambda: bool(bus.events("agent", key)))


async def accepted(bus: Front, *keys: str) -> None:
    """Asks for runs and waits until all are accepted."""
    asks = [bus.ask("agent", message=f"do {key}", idempotencyKey=key) for key in keys]
    await bus.until(lambda: all(ask.frames for ask in asks))


def test_a_killed_worker_s_run_ends_as_interrupted_and_the_queued_one_runs(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 700}, {"echo": True})
        async with front(paths) as bus:
            await begin(bus, "running")
            await accepted(bus, "queued")
            pid = rows(paths)["running"]["pid"]
            await bus.kill()
            await bus.start()
            assert (await bus.wait("queued"))["status"] == "ok"
            interrupted = await bus.wait("running", 0)
            assert interrupted["status"] == "error"
            text = "interrupted: the gateway's agent worker was restarted"
            assert interrupted["error"] == text
            assert bus.ends("running") == ["error"]
            assert bus.events("chat", "running")[-1]["errorMessage"] == text
            seqs = [event["seq"] for event in bus.events("agent", "running")]
            assert seqs == sorted(set(seqs))
            assert not psutil.pid_exists(pid)
            roles = [body.partition('"role":"')[2].partition('"')[0] for body in transcript(paths)]
            assert roles == ["user", "system", "user", "assistant"]

    play(scenario())


def test_every_accepted_run_ends_once_whenever_the_worker_is_killed(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"text": "a"}, {"sleep_ms": 15}, {"text": "b"})
        dice = random.Random(7)
        taken: set[str] = set()
        async with front(paths) as bus:
            for round_ in range(8):
                keys = [f"r{round_}-{number}" for number in range(12)]
                asks = {
                    key: bus.ask(
                        "agent",
                        message=key,
                        idempotencyKey=key,
                        sessionKey=f"s{dice.randrange(4)}",
                    )
                    for key in keys
                }
                goal = len(bus.log) + dice.randrange(1, 60)
                await bus.until(lambda goal=goal: len(bus.log) >= goal)
                await bus.kill()
                taken |= {key for key, ask in asks.items() if ask.frames}
                await bus.start()
            for key in sorted(taken):
                assert (await bus.wait(key))["status"] in ("ok", "error")
            assert taken
            ledger = rows(paths)
            assert {ledger[key]["state"] for key in taken} <= {"ok", "error"}
            assert all(len(bus.ends(key)) <= 1 for key in taken)
            answers = [body for body in transcript(paths) if '"role":"assistant"' in body]
            ok = [key for key, row in ledger.items() if row["state"] == "ok"]
            assert len(answers) == len(ok)

    play(scenario())


def test_stop_writes_down_what_ran_and_leaves_the_rest_accepted(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 60_000})
        async with front(paths) as bus:
            await begin(bus, "running")
            await accepted(bus, "queued")
            pid = rows(paths)["running"]["pid"]
            assert await bus.end(signal.SIGTERM) == 0
            ledger = rows(paths)
            assert ledger["running"]["state"] == "error"
            assert "restarted" in ledger["running"]["error"]
            assert ledger["queued"]["state"] == "accepted"
            assert bus.ends("running") == ["error"]
            assert not psutil.pid_exists(pid)

    play(scenario())


def test_drain_lets_the_running_finish_and_starts_nothing(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 500}, {"text": "done"})
        async with front(paths) as bus:
            first = bus.ask("agent", message="x", idempotencyKey="running")
            await bus.until(lambda: bool(bus.events("agent", "running")))
            await accepted(bus, "queued")
            assert bus.process is not None
            bus.process.send_signal(signal.SIGUSR1)
            await bus.until(lambda: bus.ready is not None and bus.ready.is_draining)
            refused = await bus.ask("agent", message="x", idempotencyKey="late").error()
            assert (refused["code"], refused["retryable"]) == ("UNAVAILABLE", True)
            assert (await first.result())["result"]["payloads"][0]["text"] == "done"
            assert await bus.ended() == 0
            assert rows(paths)["queued"]["state"] == "accepted"
            assert "late" not in rows(paths)
            await bus.start()
            assert (await bus.wait("queued"))["status"] == "ok"

    play(scenario())


def test_a_successor_waits_until_its_predecessor_lets_go(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 600}, {"text": "done"})
        async with front(paths) as bus:
            await begin(bus, "running")
            old = bus.process
            assert old is not None
            old.send_signal(signal.SIGUSR1)
            bus.start_beside()
            await bus.until(lambda: bus.ready is not None and bus.ready.pid != old.pid)
            assert rows(paths)["running"]["state"] == "ok"
            assert old.wait(5) == 0

    play(scenario())


def test_a_run_whose_process_is_killed_ends_with_a_reason_and_frees_its_lane(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"text": "half"}, {"sleep_ms": 1_000})
        async with front(paths) as bus:
            await begin(bus, "killed")
            await accepted(bus, "next")
            psutil.Process(rows(paths)["killed"]["pid"]).kill()
            ended = await bus.wait("killed")
            assert "without an answer (signal 9)" in ended["error"]
            assert (await bus.wait("next"))["status"] == "ok"

    play(scenario())


def test_a_transcript_that_cannot_be_read_fails_the_run_and_not_the_worker(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            await bus.agent("hi", "k1")
            with sqlite3.connect(paths.database("agent")) as db:
                db.execute("UPDATE entries SET body = '{'")
            db.close()
            broken = await bus.ask("agent", message="x", idempotencyKey="k2").error()
            assert broken["code"] == "UNAVAILABLE"
            assert (await bus.agent("x", "k3", sessionKey="other"))["status"] == "ok"
            assert bus.process is not None
            assert bus.process.poll() is None

    play(scenario())


def test_a_process_left_by_a_killed_worker_is_killed_before_its_run_ends(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 60_000})
        async with front(paths) as bus:
            await begin(bus, "k")
            await bus.kill()
            left = sleeper()
            stranger = sleeper()
            started = tree.start_time(left.pid)
            with sqlite3.connect(paths.database("agent")) as db:
                db.execute("UPDATE runs SET pid = ?, pid_started = ?", (left.pid, started))
            db.close()
            await bus.start()
            assert (await bus.wait("k"))["status"] == "error"
            assert left.wait(5) == -signal.SIGKILL
            assert stranger.poll() is None
            stranger.kill()
            stranger.wait(5)

    play(scenario())


def test_without_its_spawner_the_worker_restarts_and_every_run_still_ends(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"sleep_ms": 800}, {"text": "done"})
        async with front(paths) as bus:
            await begin(bus, "running")
            await accepted(bus, "queued")
            assert bus.process is not None
            (spawner,) = psutil.Process(bus.process.pid).children()
            spawner.kill()
            assert await bus.ended() != 0
            pid = rows(paths)["running"]["pid"]
            await bus.start()
            assert (await bus.wait("running"))["status"] == "error"
            assert (await bus.wait("queued"))["status"] == "ok"
            assert not psutil.pid_exists(pid)

    play(scenario())


def test_what_a_run_started_is_gone_after_an_abort(place: Place) -> None:
    async def scenario() -> None:
        command = ["sleep", "61.25"]
        paths = place({"exec": command, "detach": True}, {"text": "up"}, {"sleep_ms": 60_000})
        async with front(paths) as bus:
            await begin(bus, "k")
            await bus.until(lambda: len(bus.events("agent", "k")) > 1)
            await bus.ask("chat.abort", sessionKey="main").result()
            await bus.wait("k")
            commands = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
            assert command not in commands

    play(scenario())


def test_aborts_at_random_points_end_each_run_once_and_leave_no_process(place: Place) -> None:
    async def scenario() -> None:
        paths = place({"text": "a"}, {"sleep_ms": 10}, {"text": "b"}, {"sleep_ms": 30})
        dice = random.Random(11)
        async with front(paths) as bus:
            for number in range(25):
                key = f"k{number}"
                ask = bus.ask("agent", message="x", idempotencyKey=key)
                goal = len(bus.log) + dice.randrange(1, 6)
                await bus.until(lambda goal=goal, ask=ask: len(bus.log) >= goal or ask.final.done())
                aborted = await bus.ask("chat.abort", sessionKey="main", runId=key).result()
                ended = await bus.wait(key)
                if aborted["aborted"]:
                    assert ended["error"] == "the run was aborted"
                    assert bus.events("chat", key)[-1]["state"] == "aborted"
                assert len(bus.ends(key)) == 1
            ledger = rows(paths)
            assert {row["state"] for row in ledger.values()} == {"ok", "aborted"}
            started = [row["pid"] for row in ledger.values() if row["pid"] is not None]
            assert not [pid for pid in started if psutil.pid_exists(pid)]

    play(scenario())


def test_background_runs_do_not_keep_a_person_waiting(place: Place) -> None:
    async def scenario() -> None:
        async with front(place({"sleep_ms": 60_000}, maxConcurrent=2)) as bus:
            for number in range(20):
                bus.ask(
                    "agent",
                    message="job",
                    idempotencyKey=f"job{number}",
                    sessionKey=f"s{number}",
                    lane="cron",
                )
            await bus.until(lambda: bool(bus.events("agent", "job1")))
            await begin(bus, "person")
            assert bus.ends("job0") == bus.ends("job1") == []
            assert bus.events("agent", "job2") == []

    play(scenario())


def test_a_ledger_that_cannot_be_written_refuses_runs_and_recovers(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            await bus.agent("hi", "k1")
            other = sqlite3.connect(paths.database("agent"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            error = await bus.ask("agent", message="x", idempotencyKey="k2").error()
            assert error["code"] == "UNAVAILABLE"
            assert error["retryable"] is True
            other.execute("ROLLBACK")
            other.close()
            assert (await bus.agent("x", "k2"))["status"] == "ok"

    play(scenario())
