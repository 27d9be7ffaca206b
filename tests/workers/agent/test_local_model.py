"""The shared local model, for real: streaming, sharing, death, too long conversations."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from conf.schema import Provider
from tests.workers.agent.runs_kit import play, said, spec_of, with_runner
from workers.agent import model_process
from workers.agent.contract import Delta, Done, Exit, Failed, Spec, Turn
from workers.agent.link import frame
from workers.agent.local_model import _shortened
from workers.agent.local_wire import decode_report, receive
from workers.agent.runner import Runner

pytest.importorskip("xllamacpp", reason="the local model's runtime is missing: run `make setup`")

pytestmark = pytest.mark.processes
CAPITAL = "What is the capital of France?"
LONG = "Tell me a very long story about a dragon."


def local(tmp_path: Path, text: str = CAPITAL, **rest: Any) -> Spec:
    """A question to the demonstration model."""
    provider = Provider(api="local-gguf", **rest.pop("provider", {}))
    return spec_of(provider, text, model_socket=str(tmp_path / "model.sock"), **rest)


def test_it_knows_the_capital_of_france_and_streams(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        reports = await play(runner, local(tmp_path))
        assert "Paris" in said(reports)
        assert sum(isinstance(report, Delta) for report in reports) > 1
        done, end = reports[-2:]
        assert isinstance(done, Done)
        assert (done.text, done.stop_reason, end) == (said(reports), "stop", Exit(0))
        assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
        assert (tmp_path / "model.sock").stat().st_mode & 0o777 == 0o600

    with_runner(test)


def test_an_aborted_run_frees_the_model_for_the_next(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        process = await runner.prepare(local(tmp_path, LONG))
        process.go()
        reports = process.reports()
        assert isinstance(await anext(reports), Delta)
        model = runner.model_pid
        process.kill()
        assert isinstance([report async for report in reports][-1], Exit)
        async with asyncio.timeout(5):  # the story alone would take longer
            assert "Paris" in said(await play(runner, local(tmp_path)))
        assert runner.model_pid == model

    with_runner(test)


def test_only_the_run_being_answered_notices_that_the_model_died(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        process = await runner.prepare(local(tmp_path, LONG))
        process.go()
        reports = process.reports()
        assert isinstance(await anext(reports), Delta)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(play(runner, local(tmp_path)))
            await asyncio.sleep(0)
            model = runner.model_pid
            assert model is not None
            assert psutil.Process(model).nice() == 10
            os.kill(model, signal.SIGKILL)
            *_, failed, end = [report async for report in reports]
        assert isinstance(failed, Failed)
        assert "local model process died" in failed.error
        assert end == Exit(0)
        assert "Paris" in said(waiting.result())
        assert runner.model_pid not in (None, model)

    with_runner(test)


def test_what_does_not_fit_is_told_and_the_model_goes_on(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        too_long = await play(runner, local(tmp_path, "word " * 3_000))
        missing = local(tmp_path, provider={"model_path": "/nowhere/model.gguf"})
        no_file = await play(runner, missing)
        broken = await play(runner, local(tmp_path, provider={"model_path": __file__}))
        errors = [reports[0].error for reports in (too_long, no_file, broken)]  # type: ignore[union-attr]
        assert "too long for this small model" in errors[0]
        assert "models.providers.demo.modelPath" in errors[1]
        assert "cannot be loaded" in errors[2]
        assert "Paris" in said(await play(runner, local(tmp_path)))

    with_runner(test)


def test_the_oldest_turns_give_way(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        old = (Turn("user", "word " * 600), Turn("assistant", "Well."))
        turns = (*old, *old, Turn("user", CAPITAL))
        spec = local(tmp_path, turns=turns, provider={"context_tokens": 640})
        reports = await play(runner, spec)
        assert "Paris" in said(reports)

    with_runner(test)


def test_a_model_that_died_unused_is_back_for_the_next_question(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        assert "Paris" in said(await play(runner, local(tmp_path)))
        model = runner.model_pid
        assert model is not None
        os.kill(model, signal.SIGKILL)
        assert "Paris" in said(await play(runner, local(tmp_path)))
        assert runner.model_pid not in (None, model)

    with_runner(test)


def test_the_model_process_ends_when_nobody_asks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "model.sock"))
        listener.listen()
        assert model_process.serve(os.dup(listener.fileno()), unused_s=0.01) == 0


def test_an_unreadable_question_is_answered_and_changes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "model.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as asker:
        listener.bind(path)
        listener.listen()
        asker.connect(path)
        asker.sendall(frame(b"nonsense"))
        assert model_process.serve(os.dup(listener.fileno()), unused_s=0.01) == 0
        failed = decode_report(next(receive(asker)))
    assert isinstance(failed, Failed)
    assert "cannot read the question" in failed.error


def test_shortening_leaves_out_whole_exchanges_from_the_start() -> None:
    exchange = [Turn("user", "u" * 100), Turn("assistant", "a" * 100)]
    turns = [*exchange, *exchange, *exchange, Turn("user", "last")]
    assert _shortened(turns, tokens=100, most=95) == turns[2:]
    assert _shortened(turns, tokens=100, most=50) == turns[4:]
    assert _shortened(turns, tokens=1_000, most=1) == turns[6:]
