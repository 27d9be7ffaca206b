"""An agent worker reduced to its runs, for tests that kill it: prints who lives, then waits."""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from tests.workers.agent.runs_kit import Signal, scripted
from workers.agent.runner import Runner
from workers.agent.spawner import start_spawner

RUNS_COUNT = 3


async def _live(runner: Runner) -> None:
    with tempfile.TemporaryDirectory() as directory:
        pids = []
        for i in range(RUNS_COUNT):
            child = Signal(Path(directory), str(i))
            spec = scripted(child.sleeper(detach=i > 0), {"sleep_ms": 60_000})
            process = await runner.prepare(spec)
            process.go()
            pids += [process.pid, int(child.read())]
    sys.stdout.buffer.write(msgspec.json.encode(pids) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Runs until killed, or until the spawner is lost."""
    link = start_spawner()

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            runner = Runner(link, lambda coroutine, name: tasks.create_task(coroutine, name=name))
            await _live(runner)

    uvloop.run(work())


if __name__ == "__main__":
    main()
