"""Tests wait for conditions, never for time to pass."""

import ast
from pathlib import Path

from tests.rules.sources import ROOT, calls, files

SLEEPS = ("time.sleep", "asyncio.sleep", "sleep", "anyio.sleep")
# The one place that polls: it waits for a condition, with a deadline.
POLLS = ("tests/kit/", "tests/bench/")


def sleeps(path: Path) -> list[str]:
    """The calls of a file that sleep for longer than one turn of the loop."""
    return [
        f"{path.name}:{line} {name}"
        for line, name, node in calls(path)
        if name in SLEEPS and not (node.args and _is_zero(node.args[0]))
    ]


def _is_zero(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) and argument.value == 0


def test_no_test_sleeps() -> None:
    tests = [path for path in files("tests") if not _may_poll(path)]
    assert [line for path in tests for line in sleeps(path)] == []


def _may_poll(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix().startswith(POLLS)


def test_the_rule_sees_a_sleep_and_lets_a_turn_of_the_loop_pass(tmp_path: Path) -> None:
    path = tmp_path / "sleepy.py"
    path.write_text("async def f():\n    await asyncio.sleep(0)\n    time.sleep(0.1)\n")
    assert sleeps(path) == ["sleepy.py:3 time.sleep"]
