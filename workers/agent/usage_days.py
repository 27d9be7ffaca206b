"""The days a question about usage means. Pure."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import Struct

DAYS_COUNT = 30
MOST_DAYS = 3_660
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


class Span(Struct, frozen=True):
    """Whole days in UTC."""

    first: str
    """YYYY-MM-DD"""
    last: str
    since: int
    """ms since the epoch, when the first day begins"""
    until: int
    """ms since the epoch, when the last day has ended"""

    @property
    def count(self) -> int:
        """Number of days."""
        return (self.until - self.since) // DAY_MS


def span(start: Any, end: Any, days: int | None, now: int) -> Span:
    """The days from `start` to `end` (YYYY-MM-DD) if both are dates, else the last `days`."""
    first, last = _date(start), _date(end)
    if first is None or last is None or first > last:
        last = datetime.fromtimestamp(now / 1000, UTC).date()
        first = last - timedelta(days=(days or DAYS_COUNT) - 1)
    return Span(
        first.isoformat(),
        last.isoformat(),
        (first - _EPOCH).days * DAY_MS,
        ((last - _EPOCH).days + 1) * DAY_MS,
    )


def days_param(value: Any) -> int | None:
    """A number of days, also one that is written as text; None if it is neither."""
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124
        return None
    return int(min(max(value, 1), MOST_DAYS))


def _date(value: Any) -> date | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
