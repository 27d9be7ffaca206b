"""The states a run goes through, and what its end is called. Pure."""

from enum import StrEnum

from msgspec import Struct

from workers.agent.contract import Done, Exit, Failed, Usage


class RunState(StrEnum):
    """Where a run stands; the last five are ends."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    ABORTED = "aborted"
    TIMEOUT = "timeout"


ENDS = frozenset({RunState.OK, RunState.ERROR, RunState.ABORTED, RunState.TIMEOUT})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    # A run can fail or be aborted before it has a process, but succeed only after.
    RunState.ACCEPTED: frozenset({RunState.RUNNING, RunState.ERROR, RunState.ABORTED}),
    RunState.RUNNING: ENDS,
    RunState.OK: frozenset(),
    RunState.ERROR: frozenset(),
    RunState.ABORTED: frozenset(),
    RunState.TIMEOUT: frozenset(),
}


class IllegalTransitionError(Exception):
    """Code tried to move a run where it cannot go."""


def move(before: RunState, after: RunState) -> RunState:
    """`after`, if a run may go there from `before`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"a run cannot go from {before} to {after}")
    return after


class Stop(Struct, frozen=True):
    """A decision to end a run early, taken before its process is gone."""

    state: RunState
    reason: str
    """For clients: `rpc`, `stop`, `timeout` or `restart`."""
    text: str
    """For the person who asked."""


class Verdict(Struct, frozen=True):
    """How a run ended."""

    state: RunState
    text: str = ""
    """What the assistant said, as far as it came."""
    error: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()


def verdict(stop: Stop | None, report: Done | Failed | None, exit_: Exit, partial: str) -> Verdict:
    """The end of a run whose process is gone.

    `stop` wins over what the process said last: people were already told.
    """
    if stop is not None:
        return Verdict(stop.state, partial, stop.text, stop.reason)
    if isinstance(report, Done):
        return Verdict(
            RunState.OK, report.text or partial, stop_reason=report.stop_reason, usage=report.usage
        )
    error = report.error if report is not None else _without_answer(exit_)
    return Verdict(RunState.ERROR, partial, error, "error")


def _without_answer(exit_: Exit) -> str:
    how = f"signal {-exit_.status}" if exit_.status < 0 else f"exit code {exit_.status}"
    words = exit_.last_words.strip()
    return f"the run ended without an answer ({how})" + (f": {words}" if words else "")


def timeout_stop(limit_s: float, source: str) -> Stop:
    """The stop of a run that took longer than its limit; `source` says who set the limit."""
    text = f"the run was stopped after {limit_s:g} s, the limit set by {source}"
    return Stop(RunState.TIMEOUT, "timeout", text)


def abort_stop(reason: str) -> Stop:
    """The stop of a run that a person aborted."""
    return Stop(RunState.ABORTED, reason, "the run was aborted")


def restart_stop() -> Stop:
    """The stop of a run that lost its worker."""
    text = "interrupted: the gateway's agent worker was restarted"
    return Stop(RunState.ERROR, "restart", text)
