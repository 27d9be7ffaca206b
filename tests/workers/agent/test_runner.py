"""Run processes: what they say, how they end, and that nothing of them stays."""

import asyncio
import os
import random
import signal
import statistics
import time
from pathlib import Path

import psutil
import pytest

from tests.workers.agent.runs_kit import (
    Signal,
    is_there,
    play,
    said,
    scripted,
    with_runner,
)
from workers.agent import tree
from workers.agent.contract import Delta, Done, Exit, Failed
from workers.agent.run_process import RunnerError
from workers.agent.runner import Runner

pytestmark = pytest.mark.processes

SPAWN_BUDGET_S = 0.06
DEATH_BUDGET_S = 2.0
WAIT = {"sleep_ms": 60_000}


def test_a_run_says_its_text_in_order_then_done_then_exit() -> None:
    async def test(runner: Runner) -> None:
        steps = [{"text": f"{i} "} for i in range(50)]
        reports = await play(runner, scripted(*steps, {"sleep_ms": 40}, {"text": "end"}))
        answer = "".join(f"{i} " for i in range(50)) + "end"
        assert said(reports) == answer
        assert [type(report) for report in reports[-3:]] == [Delta, Done, Exit]
        assert reports[-3] == Delta("end")
        assert isinstance(reports[-2], Done)
        assert reports[-2].text == answer
        assert reports[-1] == Exit(0)

    with_runner(test)


def test_without_a_script_the_run_echoes() -> None:
    async def test(runner: Runner) -> None:
        assert said(await play(runner, scripted())) == "hello"

    with_runner(test)


def test_a_delta_is_not_held_back_while_the_run_is_busy() -> None:
    async def test(runner: Runner) -> None:
        process = await runner.prepare(scripted({"text": "now"}, WAIT))
        process.go()
        async with asyncio.timeout(5):
            assert await anext(process.reports()) == Delta("now")
        await process.discard()

    with_runner(test)


def test_a_prepared_run_is_known_and_does_nothing_before_go(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        seen = Signal(tmp_path)
        step = {"exec": ["sh", "-c", f"echo ran > {seen.path}"]}
        process = await runner.prepare(scripted(step, WAIT))
        await play(runner, scripted())
        assert tree.start_time(process.pid) == process.started
        assert not seen.comes(within_s=0.1)
        process.go()
        assert seen.read() == "ran\n"
        await process.discard()

    with_runner(test)


def test_a_prepared_run_that_is_not_wanted_ends_without_having_run(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        seen = Signal(tmp_path)
        process = await runner.prepare(scripted(seen.sleeper(detach=False)))
        assert await process.discard() == Exit(-signal.SIGKILL)
        assert not seen.comes(within_s=0.1)
        assert not is_there(process.pid)

    with_runner(test)


@pytest.mark.parametrize("detach", [False, True])
def test_kill_ends_the_whole_tree(tmp_path: Path, *, detach: bool) -> None:
    async def test(runner: Runner) -> None:
        grandchild = Signal(tmp_path)
        spec = scripted(grandchild.sleeper(detach=detach), {"text": "x"}, WAIT)
        process = await runner.prepare(spec)
        process.go()
        reports = process.reports()
        assert await anext(reports) == Delta("x")
        pid = int(grandchild.read())
        began = time.monotonic()
        process.kill()
        assert [report async for report in reports] == [Exit(-signal.SIGKILL)]
        assert time.monotonic() - began < DEATH_BUDGET_S
        assert not is_there(process.pid)
        assert not is_there(pid)

    with_runner(test)


def test_a_run_that_finishes_takes_its_daemons_along(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        daemon, child = Signal(tmp_path, "daemon"), Signal(tmp_path, "child")
        spec = scripted(daemon.sleeper(detach=True), child.sleeper(detach=False), {"text": "x"})
        reports = await play(runner, spec)
        assert reports[-1] == Exit(0)
        assert tree.descendants(runner._link.pid) == []  # nothing is left below the spawner
        del daemon, child

    with_runner(test)


def test_a_neighbour_survives_the_end_of_another_run(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        child = Signal(tmp_path)
        other = await runner.prepare(scripted(child.sleeper(detach=True), WAIT))
        other.go()
        pid = int(child.read())
        await play(runner, scripted({"crash": "kill"}))
        assert is_there(other.pid)
        assert is_there(pid)
        await other.discard()
        assert not is_there(pid)

    with_runner(test)


def test_a_killed_run_exits_with_the_signal() -> None:
    async def test(runner: Runner) -> None:
        process = await runner.prepare(scripted({"text": "x"}, WAIT))
        process.go()
        reports = process.reports()
        await anext(reports)
        os.kill(process.pid, signal.SIGKILL)
        assert [report async for report in reports] == [Exit(-signal.SIGKILL)]

    with_runner(test)


def test_a_segfault_leaves_its_last_words() -> None:
    async def test(runner: Runner) -> None:
        (end,) = await play(runner, scripted({"crash": "segv"}))
        assert isinstance(end, Exit)
        assert end.status == -signal.SIGSEGV
        assert "Segmentation fault" in end.last_words

    with_runner(test)


def test_an_exit_in_the_middle_is_told_with_what_stood_on_stderr() -> None:
    async def test(runner: Runner) -> None:
        reports = await play(runner, scripted({"stderr": "out of luck\n"}, {"crash": "exit"}))
        assert reports == [Exit(3, "out of luck")]

    with_runner(test)


def test_a_failing_run_says_why() -> None:
    async def test(runner: Runner) -> None:
        reports = await play(runner, scripted({"text": "so far"}, {"fail": "no luck"}))
        assert reports == [Delta("so far"), Failed("no luck"), Exit(0)]

    with_runner(test)


def test_an_unusable_workspace_is_named() -> None:
    async def test(runner: Runner) -> None:
        reports = await play(runner, scripted(workspace="/dev/null/here"))
        assert isinstance(reports[0], Failed)
        assert "/dev/null/here" in reports[0].error
        assert "agents.defaults.workspace" in reports[0].error

    with_runner(test)


def test_a_run_works_in_its_workspace(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        place = tmp_path / "made" / "here"
        seen = Signal(tmp_path)
        step = {"exec": ["sh", "-c", f"pwd > {seen.path}; exec sleep 1000"]}
        process = await runner.prepare(scripted(step, WAIT, workspace=str(place)))
        process.go()
        assert seen.read() == f"{place}\n"
        await process.discard()

    with_runner(test)


def test_too_long_an_answer_stops_the_run() -> None:
    async def test(runner: Runner) -> None:
        spec = scripted({"text": "0123456789", "repeat": 1_000_000}, max_output_bytes=100_000)
        *_, failed, end = await play(runner, spec)
        assert isinstance(failed, Failed)
        assert "longer than 100000 bytes" in failed.error
        assert end == Exit(-signal.SIGKILL)

    with_runner(test)


def test_a_slow_reader_slows_the_run_and_loses_nothing(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        finished = Signal(tmp_path)
        text = "x" * 1_000
        spec = scripted(
            {"text": text, "repeat": 5_000}, {"exec": ["sh", "-c", f"echo done > {finished.path}"]}
        )
        process = await runner.prepare(spec)
        process.go()
        assert not finished.comes(within_s=0.3)
        reports = [report async for report in process.reports()]
        assert said(reports) == text * 5_000

    with_runner(test)


def test_a_flood_on_stderr_keeps_its_end_and_the_worker_its_time() -> None:
    async def test(runner: Runner) -> None:
        spec = scripted({"stderr": "noise " * 200_000 + "the end"})
        *_, end = await play(runner, spec)
        assert isinstance(end, Exit)
        assert end.last_words.endswith("noise the end")
        assert len(end.last_words) <= 2_010

    with_runner(test)


def test_a_run_inherits_no_descriptors_and_leaves_no_core() -> None:
    async def test(runner: Runner) -> None:
        process = await runner.prepare(scripted({"text": "x"}, WAIT))
        process.go()
        reports = process.reports()
        assert await anext(reports) == Delta("x")
        assert sorted(os.listdir(f"/proc/{process.pid}/fd")) == ["0", "1", "2", "3", "4"]
        assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert os.getsid(process.pid) == process.pid
        assert psutil.Process(process.pid).nice() == psutil.Process().nice()
        await process.discard()

    with_runner(test)


def test_thirty_two_runs_at_a_time_all_answer() -> None:
    async def test(runner: Runner) -> None:
        spec = scripted({"text": "a"}, {"sleep_ms": 50}, {"text": "b"})
        everything = await asyncio.gather(*[play(runner, spec) for _ in range(32)])
        assert [said(reports) for reports in everything] == ["ab"] * 32
        assert {reports[-1] for reports in everything} == {Exit(0)}

    with_runner(test)


def test_a_run_is_there_within_its_budget() -> None:
    async def test(runner: Runner) -> None:
        took_s = []
        for _ in range(9):
            began = time.monotonic()
            process = await runner.prepare(scripted({"text": "x"}))
            process.go()
            reports = process.reports()
            await anext(reports)
            took_s.append(time.monotonic() - began)
            assert [type(report) async for report in reports] == [Done, Exit]
        assert statistics.median(took_s) < SPAWN_BUDGET_S

    with_runner(test)


def test_close_ends_what_is_running_and_refuses_more(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        child = Signal(tmp_path)
        process = await runner.prepare(scripted(child.sleeper(detach=True), WAIT))
        process.go()
        pid = int(child.read())
        await runner.close()
        assert not is_there(process.pid)
        assert not is_there(pid)
        assert [report async for report in process.reports()] == [Exit(-signal.SIGKILL)]
        with pytest.raises(RunnerError, match="stopping"):
            await runner.prepare(scripted())

    with_runner(test)


def test_a_cancelled_preparation_leaves_no_process() -> None:
    async def test(runner: Runner) -> None:
        spawner = runner._link.pid
        task = asyncio.get_running_loop().create_task(runner.prepare(scripted()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await play(runner, scripted())  # the spawner takes orders one after the other
        assert tree.children(spawner) == []

    with_runner(test)


def test_aborts_at_random_points_leave_nobody() -> None:
    async def test(runner: Runner) -> None:
        spawner = runner._link.pid
        daemon = {"exec": ["sh", "-c", "sleep 1000 & sleep 1000"], "detach": True}
        steps = [daemon, {"text": "a", "repeat": 500}, {"spin_ms": 5}, daemon, WAIT]
        chance = random.Random(7)

        async def abort_one() -> Exit:
            process = await runner.prepare(scripted(*steps))
            process.go()
            asyncio.get_running_loop().call_later(chance.random() * 0.06, process.kill)
            *_, end = [report async for report in process.reports()]
            assert isinstance(end, Exit)
            return end

        for _ in range(8):
            ends = await asyncio.gather(*[abort_one() for _ in range(6)])
            assert set(ends) == {Exit(-signal.SIGKILL)}
        assert tree.descendants(spawner) == []

    with_runner(test)
