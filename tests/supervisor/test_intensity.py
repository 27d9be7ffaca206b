"""When a program that died may start again."""

from gatewayd.supervisor.intensity import (
    BUDGET_COUNT,
    DEGRADED_DELAY_S,
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    WINDOW_S,
    Decision,
    Intensity,
)

AT_ONCE = Decision(0.0)
DEGRADED = Decision(DEGRADED_DELAY_S, is_degraded=True)


def crash_loop(intensity: Intensity, count: int, start_s: float = 0.0) -> list[Decision]:
    """`count` deaths, each right after its start."""
    now_s = start_s
    decisions = []
    for _ in range(count):
        decisions.append(intensity.on_exit(now_s, now_s + 0.01))
        now_s += 0.01 + decisions[-1].delay_s
    return decisions


def test_a_burst_within_the_budget_restarts_at_once() -> None:
    assert crash_loop(Intensity(is_never_given_up=False), BUDGET_COUNT) == [AT_ONCE] * BUDGET_COUNT


def test_a_worker_beyond_the_budget_is_degraded_and_tried_once_a_minute() -> None:
    decisions = crash_loop(Intensity(is_never_given_up=False), BUDGET_COUNT + 5)
    assert decisions[BUDGET_COUNT:] == [DEGRADED] * 5


def test_a_degraded_worker_that_lived_a_whole_window_has_its_budget_back() -> None:
    intensity = Intensity(is_never_given_up=False)
    crash_loop(intensity, BUDGET_COUNT + 1)
    assert intensity.on_exit(100.0, 100.0 + WINDOW_S - 1) == DEGRADED
    assert intensity.on_exit(300.0, 300.0 + WINDOW_S) == AT_ONCE
    assert crash_loop(intensity, 3, 400.0) == [AT_ONCE] * 3


def test_the_front_is_delayed_ever_longer_up_to_a_bound_and_never_given_up() -> None:
    decisions = crash_loop(Intensity(is_never_given_up=True), BUDGET_COUNT + 12)[BUDGET_COUNT:]
    delays_s = [decision.delay_s for decision in decisions]
    assert not any(decision.is_degraded for decision in decisions)
    assert delays_s[:3] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
    assert delays_s == sorted(delays_s)
    assert delays_s[-1] == LONGEST_DELAY_S


def test_deaths_spread_over_time_never_use_up_the_budget() -> None:
    intensity = Intensity(is_never_given_up=False)
    gap_s = WINDOW_S / (BUDGET_COUNT - 1)
    exits_s = [number * gap_s for number in range(100)]
    assert {intensity.on_exit(now_s - 1, now_s).delay_s for now_s in exits_s} == {0.0}
