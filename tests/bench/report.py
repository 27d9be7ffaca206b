"""Rows of results and how they are printed."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured number: beside a yardstick (a ratio is wanted) or alone (a value is).

    `at_least` is a ratio, `at_most` a value.
    """

    name: str
    unit: str
    ours: float | None
    theirs: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def judged(self) -> float | None:
        """What is held against the wanted number."""
        return self.ours if self.theirs is None else self.ratio

    @property
    def verdict(self) -> str:
        """`ok`, `missed`, `not measured`, or nothing when no number is wanted."""
        if self.judged is None:
            return "not measured"
        if self.at_least is not None:
            return "ok" if self.judged >= self.at_least else "missed"
        if self.at_most is not None:
            return "ok" if self.judged <= self.at_most else "missed"
        return ""


def median(values: list[float]) -> float:
    """The middle of what the rounds gave."""
    return statistics.median(values)


def print_heading() -> None:
    """The line above the rows."""
    print(f"{'':44}{'gatewayd':>12}{'npm ws':>12}{'ratio':>9}{'wanted':>11}", flush=True)


def print_row(row: Row) -> None:
    """One row, as soon as it is known."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    cells = f"{_number(row.ours):>12}{_number(row.theirs):>12}{ratio:>9}{_wanted(row):>11}"
    note = f"  ({row.note})" if row.note else ""
    print(f"{row.name + ', ' + row.unit:44}{cells}  {row.verdict}{note}", flush=True)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def _wanted(row: Row) -> str:
    if row.at_least is not None:
        return f">= {row.at_least:g}x"
    return f"<= {row.at_most:g}" if row.at_most is not None else ""


def write_json(rows: list[Row], path: Path) -> None:
    """The same rows for programs."""
    found = [{**asdict(row), "judged": row.judged, "verdict": row.verdict} for row in rows]
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
