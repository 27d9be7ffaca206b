"""The order of a rolling replacement."""

from gatewayd.supervisor.replacement import (
    DRAIN_BUDGET_S,
    SETTLED_S,
    SUCCESSOR_BUDGET_S,
    Replacement,
    Step,
    View,
)

DOWN = View(0, is_stopped=False)
STOPPED = View(0, is_stopped=True)


def running(pid: int) -> View:
    return View(pid, is_stopped=False)


def test_a_worker_is_drained_and_the_next_waits_until_its_successor_has_settled() -> None:
    replacement = Replacement(["one", "two"])
    assert replacement.step(running(1), 0.0) is Step.DRAIN
    assert replacement.step(running(1), 5.0) is None
    assert replacement.step(running(2), 6.0) is None
    assert replacement.step(running(2), 6.0 + SETTLED_S / 2) is None
    assert replacement.current == "one"
    assert replacement.step(running(2), 6.01 + SETTLED_S) is None
    assert replacement.current == "two"
    assert replacement.step(running(3), 7.0) is Step.DRAIN


def test_a_worker_that_does_not_drain_is_stopped_once_and_then_started() -> None:
    replacement = Replacement(["one"])
    replacement.step(running(1), 0.0)
    assert replacement.step(running(1), DRAIN_BUDGET_S) is Step.STOP
    assert replacement.step(running(1), DRAIN_BUDGET_S + 1) is None
    assert replacement.step(STOPPED, DRAIN_BUDGET_S + 2) is Step.START
    replacement.step(running(2), DRAIN_BUDGET_S + 2)
    replacement.step(running(2), DRAIN_BUDGET_S + 3)
    assert replacement.current is None


def test_a_successor_that_cannot_live_does_not_hold_up_the_others() -> None:
    replacement = Replacement(["one", "two"])
    replacement.step(running(1), 0.0)
    now_s, pid = 1.0, 2
    while replacement.current == "one":
        replacement.step(running(pid), now_s)
        now_s, pid = now_s + SETTLED_S / 2, pid + 1
        assert now_s < 2 * SUCCESSOR_BUDGET_S
    assert replacement.current == "two"
    assert now_s >= SUCCESSOR_BUDGET_S


def test_a_worker_that_is_down_is_tried_anew_and_one_stopped_by_hand_is_left_alone() -> None:
    replacement = Replacement(["one", "two", "three"])
    assert replacement.step(DOWN, 0.0) is Step.START
    assert replacement.current == "two"
    assert replacement.step(STOPPED, 0.0) is None
    assert replacement.current == "three"


def test_nothing_to_replace_is_done_at_once() -> None:
    assert Replacement([]).current is None
