"""Cuts a long text into messages a service takes, where a reader would cut it. Pure.

Lengths are UTF-16 units, as the services count them.
"""

import re
import unicodedata
from collections.abc import Iterator

FENCE = re.compile(r"^ {0,3}(`{3,20}|~{3,20})([^\n`]{0,40})$", re.MULTILINE)
SENTENCE_END = re.compile(r"[.!?…\u3002\uff01\uff1f][\"')\]]*\s")
LARGEST_BMP = 0xFFFF
JOINER = 0x200D
REGIONAL = range(0x1F1E6, 0x1F200)
EXTENDERS = (range(0xFE00, 0xFE10), range(0x1F3FB, 0x1F400), range(0xE0020, 0xE0080))
"""Variation selectors, skin tones, tag characters: they change the symbol before them."""


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) + sum(ord(c) > LARGEST_BMP for c in text)


def chunks(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` units; nothing but white space at the cuts is lost.

    Prefers the end of a paragraph, then of a line, a sentence, a word. A code fence that has to
    be cut is closed and opened again.
    """
    return [piece for piece in _pieces(text.strip("\n"), limit) if piece.strip()]


def _pieces(rest: str, limit: int) -> Iterator[str]:
    reopened = ""
    while _fits(rest, limit - units(reopened)) < len(rest):
        cut = _cut(rest, reopened, limit)
        head = reopened + rest[:cut]
        fence = _open_fence(head)
        rest = rest[cut:]
        if fence is None:
            yield head.rstrip()
            rest = rest.lstrip("\n") if rest.startswith("\n") else rest.lstrip()
            reopened = ""
        else:
            opening, marker = fence
            yield f"{head.removesuffix(chr(10))}\n{marker}"
            rest, reopened = rest.removeprefix("\n"), f"{opening}\n"
    yield reopened + rest


def _cut(rest: str, reopened: str, limit: int) -> int:
    """Where to cut `rest` (an index above 0) so that the piece and its fences fit."""
    room = limit - units(reopened)
    farthest = _fits(rest, room)
    cut = _preferred(rest, farthest, reopened)
    fence = _open_fence(reopened + rest[:cut])
    if fence is None:
        return cut
    before = _before_fence(rest, cut, reopened)
    if before:
        return before
    farthest = _fits(rest, room - units(fence[1]) - 1)
    line = rest.rfind("\n", 1, farthest)
    return line if line > farthest // 3 else _whole_symbol(rest, farthest)


def _fits(text: str, room: int) -> int:
    """How many characters of `text` fit into `room` units."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if ord(character) > LARGEST_BMP else 1
        if used > room:
            return index
    return len(text)


def _preferred(rest: str, farthest: int, reopened: str) -> int:
    """The best end at or before `farthest`; a good end far too early is worse than a poor one."""
    earliest = farthest // 3
    window = rest[: farthest + 1]
    for mark in ("\n\n", "\n"):
        at = window.rfind(mark, 0, farthest + len(mark))
        if at > earliest and at <= farthest:
            return at
    if not _open_fence(reopened + rest[:farthest]):
        ends = [match.end() - 1 for match in SENTENCE_END.finditer(window)]
        if ends and ends[-1] > earliest:
            return ends[-1]
        spaces = [index for index, c in enumerate(window) if c.isspace() and index > earliest]
        if spaces:
            return spaces[-1]
    return _whole_symbol(rest, farthest)


def _before_fence(rest: str, cut: int, reopened: str) -> int:
    """Start of the fence that is open at `cut`, when enough text stands before it; else 0."""
    starts = [match.start() for match in FENCE.finditer(rest, 0, cut)]
    for start in reversed(starts):
        if start > cut // 3 and _open_fence(reopened + rest[:start]) is None:
            return start
    return 0


def _open_fence(text: str) -> tuple[str, str] | None:
    """Opening line and marker of the fence that is still open at the end of `text`."""
    opened: tuple[str, str] | None = None
    for match in FENCE.finditer(text):
        marker, info = match[1], match[2]
        if opened is None:
            opened = (match[0].strip(), marker)
        elif marker.startswith(opened[1]) and not info.strip():
            opened = None
    return opened


def _whole_symbol(text: str, at: int) -> int:
    """The last place at or before `at` that is not inside a symbol; `at` if there is none."""
    for index in range(at, max(at - 64, 0), -1):
        if index >= len(text) or not _joins(text, index):
            return index
    return max(at, 1)


def _joins(text: str, index: int) -> bool:
    """True if the characters around `index` belong together."""
    after, before = ord(text[index]), ord(text[index - 1])
    if unicodedata.combining(text[index]) or any(after in span for span in EXTENDERS):
        return True
    if JOINER in (after, before):
        return True
    if after in REGIONAL and before in REGIONAL:
        flags = 0
        while flags < index and ord(text[index - 1 - flags]) in REGIONAL:
            flags += 1
        return flags % 2 == 1
    return False
