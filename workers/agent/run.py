"""A run process from its first instruction to its last: one answer of one model."""

import faulthandler
import os
import sys
import traceback
from pathlib import Path

import msgspec
from msgspec.structs import replace

from workers.agent import model_process
from workers.agent.contract import Delta, Done, Failed, Report, Spec
from workers.agent.link import GO, Kind
from workers.agent.newborn import LISTENER_FD, REPORT_FD, SPEC_FD
from workers.agent.providers import find
from workers.agent.providers.errors import ProviderError
from workers.agent.reporter import Reporter
from workers.agent.surrogates import Halves, mended


def main(kind: Kind) -> int:
    """Waits until the worker has written the process down, then does its work."""
    faulthandler.enable(sys.stderr)
    if os.read(REPORT_FD, 1) != GO:
        return 0  # the worker has thought better of it, or is gone
    if kind == "model":
        return model_process.serve(LISTENER_FD)
    answer(msgspec.msgpack.decode(_read_all(SPEC_FD), type=Spec))
    return 0


def answer(spec: Spec) -> None:
    """Runs the provider and reports; every failure becomes a report."""
    reporter = Reporter(REPORT_FD)
    try:
        last = _converse(spec, reporter)
    except ProviderError as error:
        last = Failed(mended(str(error)))
    except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
        traceback.print_exc()
        last = Failed(f"the run broke: {type(error).__name__}: {mended(str(error))}"[:500])
    reporter.finish(last)
    sys.stderr.flush()


def _converse(spec: Spec, reporter: Reporter) -> Report:
    _enter(spec.workspace)
    halves = Halves()
    for step in find(spec.provider.api).stream(spec):
        match step:
            case Delta():
                reporter.delta(halves.whole(step.text))
            case Done():
                return replace(step, text=mended(step.text))
    return Failed(f"{spec.provider_id}/{spec.model} ended without finishing its answer; try again")


def _enter(workspace: str) -> None:
    """Makes the agent's workspace the current directory."""
    if not workspace:
        return
    try:
        Path(workspace).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(workspace)
    except OSError as error:
        raise ProviderError(
            f"the workspace {workspace} cannot be used ({error.strerror}): "
            "see agents.defaults.workspace"
        ) from None


def _read_all(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
