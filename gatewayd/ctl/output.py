"""How results are printed: JSON for programs, aligned text for people."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec


def print_json(value: Any) -> None:
    """Prints `value` as indented JSON."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    click.echo(text)


def printable(value: Any) -> str:
    """`value` as text in which nothing steers the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows below their header, columns aligned."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def duration(milliseconds: Any) -> str:
    """A span of time in its two largest units: `3d 4h`, `12m 5s`, `0.4s`."""
    if not isinstance(milliseconds, int | float):
        return "-"
    if milliseconds < 1000:  # noqa: PLR2004 - one second
        return f"{milliseconds / 1000:.1f}s"
    seconds = int(milliseconds // 1000)
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for unit, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
