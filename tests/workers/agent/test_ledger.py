"""The states of a run and the names of its ends."""

import itertools

import pytest

from workers.agent.contract import Done, Exit, Failed
from workers.agent.ledger import (
    ENDS,
    TRANSITIONS,
    IllegalTransitionError,
    RunState,
    Stop,
    abort_stop,
    move,
    restart_stop,
    timeout_stop,
    verdict,
)


def test_every_transition_is_allowed_by_the_table_or_raises() -> None:
    for before, after in itertools.product(RunState, RunState):
        if after in TRANSITIONS[before]:
            assert move(before, after) is after
        else:
            with pytest.raises(IllegalTransitionError, match=f"from {before} to {after}"):
                move(before, after)


def test_ends_are_final_and_success_needs_a_process() -> None:
    assert all(not TRANSITIONS[end] for end in ENDS)
    assert RunState.OK not in TRANSITIONS[RunState.ACCEPTED]
    assert TRANSITIONS[RunState.RUNNING] == ENDS


def test_a_healthy_run_ends_ok_with_its_whole_text() -> None:
    end = verdict(None, Done("Hello", "length"), Exit(0), "Hel")
    assert (end.state, end.text, end.stop_reason, end.error) == ("ok", "Hello", "length", None)


def test_a_failure_keeps_what_was_said() -> None:
    end = verdict(None, Failed("no credit"), Exit(0), "Hel")
    assert (end.state, end.text, end.error) == ("error", "Hel", "no credit")


def test_a_process_that_says_nothing_last_is_an_error_with_its_last_words() -> None:
    assert verdict(None, None, Exit(-9), "").error == "the run ended without an answer (signal 9)"
    told = verdict(None, None, Exit(3, "boom\n"), "").error
    assert told == "the run ended without an answer (exit code 3): boom"


@pytest.mark.parametrize(
    ("stop", "state"),
    [
        (abort_stop("rpc"), "aborted"),
        (timeout_stop(1.5, "the request"), "timeout"),
        (restart_stop(), "error"),
    ],
)
def test_a_stop_wins_over_an_answer_that_came_too_late(stop: Stop, state: str) -> None:
    end = verdict(stop, Done("late"), Exit(0), "part")
    assert (end.state, end.text, end.stop_reason) == (state, "part", stop.reason)


def test_a_timeout_names_its_limit_and_who_set_it() -> None:
    text = timeout_stop(1.5, "the request").text
    assert text == "the run was stopped after 1.5 s, the limit set by the request"
