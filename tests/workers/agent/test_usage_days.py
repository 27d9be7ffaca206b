"""The days a question about usage means."""

from typing import Any

import pytest

from workers.agent.usage_days import DAY_MS, days_param, span

NOW = 20_000 * DAY_MS + 5  # 2024-10-04


def test_two_dates_are_the_days_from_one_to_the_other() -> None:
    days = span("2024-02-28", "2024-03-01", None, NOW)
    assert (days.first, days.last, days.count) == ("2024-02-28", "2024-03-01", 3)
    assert days.until - days.since == 3 * DAY_MS


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), ("2024-03-01", None), ("2024-03-02", "2024-03-01"), ("2024-02-30", "x"), (1, 2)],
)
def test_without_two_dates_in_order_it_is_the_last_thirty_days(start: Any, end: Any) -> None:
    days = span(start, end, None, NOW)
    assert (days.first, days.last, days.count) == ("2024-09-05", "2024-10-04", 30)
    assert days.since <= NOW < days.until


def test_a_number_of_days_ends_today() -> None:
    days = span(None, None, 1, NOW)
    assert (days.first, days.last, days.since) == ("2024-10-04", "2024-10-04", NOW - 5)


@pytest.mark.parametrize(
    ("value", "days"),
    [
        (7, 7), ("7", 7), (" 7 ", 7), (7.9, 7), (0, 1), (-3, 1), (10**30, 3_660),
        ("9" * 50, None), ("x", None), (True, None), (None, None), ([], None), (float("nan"), None),
    ],
)  # fmt: skip
def test_days_may_be_a_number_or_its_text(value: Any, days: int | None) -> None:
    assert days_param(value) == days
