"""A provider that plays the steps of its config: for tests and demonstrations."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from workers.agent.contract import Delta, Done, Spec, Usage
from workers.agent.providers.errors import ProviderError

VERBS = ("text", "sleep_ms", "echo", "spin_ms", "exec", "fail", "crash", "stderr")
CRASH_EXIT_CODE = 3

Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step: exactly one of VERBS, with its options."""

    text: str | None = None
    repeat: Annotated[int, Meta(ge=1, le=10_000_000)] = 1
    """How often `text` is said, each time as a delta of its own."""
    sleep_ms: Milliseconds | None = None
    echo: bool | None = None
    """Says the last thing the user said."""
    spin_ms: Milliseconds | None = None
    """Burns CPU."""
    exec: Annotated[list[str], Meta(min_length=1)] | None = None
    """Starts a child process and goes on."""
    detach: bool = False
    """The child of `exec` becomes a daemon: session of its own, parent gone."""
    fail: str | None = None
    crash: Literal["segv", "exit", "kill"] | None = None
    stderr: str | None = None


ECHO = (Step(echo=True),)


def steps(spec: Spec) -> tuple[Step, ...]:
    """The script, checked; raises ProviderError saying which step is wrong."""
    place = f"models.providers.{spec.provider_id}.script"
    return tuple(_step(raw, f"{place}[{i}]") for i, raw in enumerate(spec.provider.script)) or ECHO


def _step(raw: dict[str, Any], place: str) -> Step:
    named = [verb for verb in VERBS if verb in raw]
    if len(named) != 1:
        raise ProviderError(f"{place}: a step has exactly one of {', '.join(VERBS)}")
    try:
        step = msgspec.convert(raw, Step)
    except msgspec.ValidationError as error:
        raise ProviderError(f"{place}: {error}") from None
    for option, verb in (("repeat", "text"), ("detach", "exec")):
        if option in raw and verb not in raw:
            raise ProviderError(f"{place}: {option} goes with {verb}")
    return step


def stream(spec: Spec) -> Iterator[Delta | Done]:
    """Plays the script; without one it echoes."""
    said: list[str] = []
    for step in steps(spec):
        for text in _play(step, spec):
            said.append(text)
            yield Delta(text)
    answer = "".join(said)
    counts = (sum(len(turn.text.split()) for turn in spec.turns), len(answer.split()))
    yield Done(answer, "stop", Usage(counts[0], counts[1], sum(counts)))


def _play(step: Step, spec: Spec) -> Iterator[str]:
    if step.text is not None:
        for _ in range(step.repeat):
            yield step.text
    elif step.echo:
        yield next((turn.text for turn in reversed(spec.turns) if turn.role == "user"), "")
    elif step.sleep_ms is not None:
        time.sleep(step.sleep_ms / 1000)
    else:
        _act(step)


def _act(step: Step) -> None:
    if step.spin_ms is not None:
        until = time.monotonic() + step.spin_ms / 1000
        while time.monotonic() < until:
            pass
    elif step.exec is not None:
        _start(step.exec, detach=step.detach)
    elif step.stderr is not None:
        sys.stderr.write(step.stderr)
        sys.stderr.flush()
    elif step.fail is not None:
        raise ProviderError(step.fail)
    elif step.crash is not None:
        _crash(step.crash)


def _start(argv: list[str], *, detach: bool) -> None:
    """Starts `argv`; nobody waits for it, which is what the caller wants to see survived."""
    if not detach:
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ProviderError(f"cannot start {argv[0]}: {error.strerror}") from None
        child.returncode = 0  # it is left behind on purpose: no warning about that
        return
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp(argv[0], argv)  # noqa: S606 - a script of our own config
        os._exit(0)
    os.waitpid(middle, 0)


def _crash(how: Literal["segv", "exit", "kill"]) -> None:
    if how == "segv":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        os._exit(CRASH_EXIT_CODE)
