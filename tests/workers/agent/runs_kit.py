"""Real run processes for tests: a spawner, a runner, specs, and sight of what the kernel has."""

import asyncio
import contextlib
import os
import select
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from conf.schema import Provider
from workers.agent import tree
from workers.agent.contract import Delta, Exit, Report, Spec, Turn
from workers.agent.runner import Runner
from workers.agent.spawner import start_spawner

PATIENCE_S = 20.0


def scripted(*steps: dict[str, Any], workspace: str = "", **rest: Any) -> Spec:
    """A run that plays `steps`."""
    return spec_of(Provider(api="scripted", script=steps), workspace=workspace, **rest)


def spec_of(provider: Provider, text: str = "hello", **rest: Any) -> Spec:
    """A run of one question to `provider`."""
    values: dict[str, Any] = {
        "run_id": "r1",
        "session_key": "agent:main:main",
        "agent_id": "main",
        "provider_id": "demo",
        "provider": provider,
        "model": "m1",
        "system": "",
        "turns": (Turn("user", text),),
        "workspace": "",
        "model_socket": "",
    }
    return Spec(**(values | rest))


@contextlib.asynccontextmanager
async def _runner() -> AsyncIterator[Runner]:
    link = start_spawner()
    async with asyncio.TaskGroup() as tasks:
        runner = Runner(link, lambda work, name: tasks.create_task(work, name=name))
        try:
            yield runner
        finally:
            await runner.close()


def with_runner(test: Callable[[Runner], Coroutine[Any, Any, None]]) -> None:
    """Runs `test` with a runner of its own; afterwards nothing of it is left."""

    async def live() -> None:
        async with asyncio.timeout(PATIENCE_S * 3), _runner() as runner:
            await test(runner)

    uvloop.run(live())


async def play(runner: Runner, spec: Spec) -> list[Report | Exit]:
    """All a run says, from prepare to Exit."""
    process = await runner.prepare(spec)
    process.go()
    return [report async for report in process.reports()]


def said(reports: list[Report | Exit]) -> str:
    """The text of the deltas."""
    return "".join(report.text for report in reports if isinstance(report, Delta))


class Signal:
    """A FIFO through which a process that a run starts tells its pid, or anything else."""

    def __init__(self, directory: Path, name: str = "signal") -> None:
        self.path = directory / name
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def comes(self, within_s: float = PATIENCE_S) -> bool:
        """Whether something is said within `within_s`."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def read(self) -> str:
        """What was said."""
        assert self.comes(), f"nobody wrote to {self.path}"
        return os.read(self._fd, 65536).decode()

    def sleeper(self, *, detach: bool) -> dict[str, Any]:
        """A step that starts a process which tells its pid and then sleeps."""
        return {
            "exec": ["sh", "-c", f"echo $$ > {self.path}; exec sleep 1000"],
            "detach": detach,
        }


def is_there(pid: int) -> bool:
    """Whether the process exists, be it as a zombie."""
    return tree.start_time(pid) is not None


def ends(pid: int, within_s: float) -> bool:
    """Whether the process ends within `within_s`; one that is not there has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    try:
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(handle)
