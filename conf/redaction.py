"""Hides the secrets of a config from those who read it, and puts them back when they write. Pure.

A secret is known by the name of its key. The mark is the one that clients of this protocol know.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from conf.editing import ABSENT, written
from conf.json5 import Node, scan

MARK = "__OPENSOUL_REDACTED__"
ANY_MARK = re.compile(r"__[A-Z]+_REDACTED__")
"""Other brands of this protocol write another name in it."""
_SECRET = re.compile(r"token|password|secret|api[-_ ]?key", re.IGNORECASE)
_AMOUNT = re.compile(r"tokens", re.IGNORECASE)
"""In a number under such a key (`contextTokens`) nothing is secret."""


class NotStoredError(Exception):
    """A mark stands where nothing can be put back."""

    def __init__(self, key: str) -> None:
        text = f"{key}: holds the mark of a hidden value, but none is stored there; write the value"
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class _Place:
    """A scalar of a text, what the file has at that place, and what it means there."""

    key: str
    name: str
    node: Node
    stored: Any
    resolved: Any
    is_secret: bool


def is_secret(key: str) -> bool:
    """Whether what stands under `key` is nobody's business."""
    return _SECRET.search(key) is not None


def redact(value: Any, name: str = "", *, is_hidden: bool = False) -> Any:
    """`value` with every secret replaced by the mark."""
    if isinstance(value, dict):
        return {
            key: redact(member, key, is_hidden=is_hidden or is_secret(key))
            for key, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, name, is_hidden=is_hidden) for item in value]
    return MARK if is_hidden and _is_telling(value, name) else value


def redact_text(text: str) -> str:
    """The text with every secret replaced by the mark. Raises UnscannableError."""
    found = [
        (place.node, written(MARK))
        for place in _places(scan(text), ABSENT, ABSENT)
        if place.is_secret and _is_telling(place.node.scalar, place.name)
    ]
    return _replace(text, found)


def restore(text: str, stored: Any, resolved: Any) -> str:
    """A text somebody wrote after reading a redacted one, with what the file has put back.

    That is hidden values, and references to the environment that were read as their values:
    `stored` is the file's content, `resolved` the same without references.
    Raises NotStoredError, UnscannableError.
    """
    found = []
    for place in _places(scan(text), stored, resolved):
        value = place.node.scalar
        if not isinstance(value, str):
            continue
        if ANY_MARK.fullmatch(value) or (place.is_secret and ANY_MARK.search(value)):
            is_known = place.is_secret and ANY_MARK.fullmatch(value)
            if not is_known or not isinstance(place.stored, str | int | float):
                raise NotStoredError(place.key)
            found.append((place.node, written(place.stored)))
        elif value == place.resolved != place.stored and isinstance(place.stored, str):
            found.append((place.node, written(place.stored)))
    return _replace(text, found)


def _is_telling(value: Any, name: str) -> bool:
    if isinstance(value, bool) or value is None or value == "":
        return False
    return isinstance(value, str) or _AMOUNT.search(name) is None


def _places(
    node: Node, stored: Any, resolved: Any, at: tuple[str, str, bool] = ("", "", False)
) -> Iterator[_Place]:
    """Every scalar; `at` is where `node` stands: dotted key, last name, whether it is secret."""
    key, name, is_hidden = at
    if node.kind == "scalar":
        yield _Place(key, name, node, stored, resolved, is_hidden)
    for member in node.members:
        below = (
            f"{key}.{member.name}" if key else member.name,
            member.name,
            is_hidden or is_secret(member.name),
        )
        there = _member(stored, member.name), _member(resolved, member.name)
        yield from _places(member.node, *there, below)
    for index, item in enumerate(node.items):
        counterpart = _counterpart(node, index, stored)
        there = _item(stored, counterpart), _item(resolved, counterpart)
        yield from _places(item, *there, (f"{key}[{index}]", name, is_hidden))


def _member(value: Any, name: str) -> Any:
    return value.get(name, ABSENT) if isinstance(value, dict) else ABSENT


def _item(value: Any, index: int | None) -> Any:
    if index is None or not isinstance(value, list) or index >= len(value):
        return ABSENT
    return value[index]


def _counterpart(node: Node, index: int, stored: Any) -> int | None:
    """Which item of the stored list is meant: that of the same id, else of the same position."""
    if not isinstance(stored, list):
        return None
    own_id = next((m.node.scalar for m in node.items[index].members if m.name == "id"), None)
    if own_id is not None:
        ids = [item.get("id") if isinstance(item, dict) else None for item in stored]
        return ids.index(own_id) if own_id in ids else None
    return index if len(stored) == len(node.items) else None


def _replace(text: str, found: list[tuple[Node, str]]) -> str:
    parts, position = [], 0
    for node, new in found:
        parts += [text[position : node.start], new]
        position = node.end
    return "".join([*parts, text[position:]])
