"""Where each value of a JSON5 text stands, so that one can be changed alone. Pure.

The text has to be valid JSON5 already; the parser that decides this is pyjson5.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyjson5

TRIVIA = re.compile(r"(?:\s|\ufeff|//[^\n\r\u2028\u2029]*|/\*[\s\S]*?\*/)*")
_STRING = re.compile(r"\"(?:[^\"\\]|\\[\s\S])*\"|'(?:[^'\\]|\\[\s\S])*'")
_BARE = re.compile(r"[^\s:,\[\]{}\"'/]+")
DEEPEST = 100
"""Levels of nesting we follow; settings need ten."""


class UnscannableError(ValueError):
    """The text is nested too deeply, or is no JSON5."""


@dataclass(frozen=True)
class Node:
    """One value: the part of the text it fills, and what is inside."""

    start: int
    end: int
    members: tuple["Member", ...] = ()
    items: tuple["Node", ...] = ()
    scalar: Any = None
    """What a text, number or literal means."""
    kind: str = field(default="scalar")
    """`object`, `array` or `scalar`."""


@dataclass(frozen=True)
class Member:
    """One member of an object."""

    name: str
    start: int
    is_bare: bool
    """The name stands there without quotes."""
    node: Node


def skip(text: str, position: int) -> int:
    """The next position that is neither white space nor comment."""
    match = TRIVIA.match(text, position)
    return match.end() if match else position


def comma_after(text: str, position: int) -> int | None:
    """The position behind the comma that follows, if one does."""
    position = skip(text, position)
    return position + 1 if text[position : position + 1] == "," else None


def scan(text: str) -> Node:
    """The value of the whole text. Raises UnscannableError."""
    return _value(text, skip(text, 0), 0)


def _value(text: str, position: int, depth: int) -> Node:
    if depth > DEEPEST:
        raise UnscannableError(f"nested more than {DEEPEST} levels deep")
    opening = text[position : position + 1]
    if opening == "{":
        members = tuple(_members(text, position + 1, depth))
        end = _closing(text, members[-1].node.end if members else position + 1, "}")
        return Node(position, end, members=members, kind="object")
    if opening == "[":
        items = tuple(_items(text, position + 1, depth))
        end = _closing(text, items[-1].end if items else position + 1, "]")
        return Node(position, end, items=items, kind="array")
    end = _token(text, position)
    return Node(position, end, scalar=_meaning(text[position:end]))


def _members(text: str, position: int, depth: int) -> Iterator[Member]:
    position = skip(text, position)
    while text[position : position + 1] not in ("}", ""):
        end = _token(text, position)
        written = text[position:end]
        is_bare = written[0] not in "\"'"
        name = next(iter(_meaning(f"{{{written}:0}}"))) if is_bare else _meaning(written)
        colon = skip(text, end)
        if text[colon : colon + 1] != ":":
            raise UnscannableError(f"no colon at {colon}")
        node = _value(text, skip(text, colon + 1), depth + 1)
        yield Member(name, position, is_bare, node)
        position = skip(text, comma_after(text, node.end) or node.end)


def _items(text: str, position: int, depth: int) -> Iterator[Node]:
    position = skip(text, position)
    while text[position : position + 1] not in ("]", ""):
        node = _value(text, position, depth + 1)
        yield node
        position = skip(text, comma_after(text, node.end) or node.end)


def _closing(text: str, position: int, bracket: str) -> int:
    position = skip(text, comma_after(text, position) or position)
    if text[position : position + 1] != bracket:
        raise UnscannableError(f"no {bracket} at {position}")
    return position + 1


def _token(text: str, position: int) -> int:
    match = _STRING.match(text, position) or _BARE.match(text, position)
    if match is None:
        raise UnscannableError(f"no value at {position}")
    return match.end()


def _meaning(written: str) -> Any:
    try:
        return pyjson5.loads(written)
    except pyjson5.Json5Exception as error:
        raise UnscannableError(str(error)) from error
