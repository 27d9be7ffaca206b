"""The newest lines of the log file, from a byte offset on."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tail:
    """Whole lines of a file and where to go on reading."""

    cursor: int
    """Byte offset behind the last whole line."""
    size: int
    lines: tuple[str, ...] = ()
    truncated: bool = False
    """Lines between the old cursor and these were left out."""
    reset: bool = False
    """The old cursor did not fit the file: it was rotated, or grew too much."""


def read(path: Path, cursor: int | None, limit: int, max_bytes: int) -> Tail:
    """The newest `limit` whole lines behind `cursor`, else of the last `max_bytes`.

    A missing file is empty. A line still being written is left for the next time.
    Raises OSError when the file cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Tail(0, 0)
    with file:
        size = os.fstat(file.fileno()).st_size
        is_rotated = cursor is not None and cursor > size
        is_behind = cursor is not None and not is_rotated and size - cursor > max_bytes
        start = max(size - max_bytes, 0)
        if cursor is not None and not (is_rotated or is_behind):
            start = cursor
        is_whole = _starts_a_line(file.fileno(), start)
        data = os.pread(file.fileno(), size - start, start)
    end = data.rfind(b"\n") + 1
    lines = data[:end].decode(errors="replace").split("\n")[:-1]
    if not is_whole:
        lines = lines[1:]
    reset = is_rotated or is_behind
    return Tail(start + end, size, tuple(lines[-limit:]), truncated=is_behind, reset=reset)


def _starts_a_line(descriptor: int, start: int) -> bool:
    return start == 0 or os.pread(descriptor, 1, start - 1) == b"\n"
