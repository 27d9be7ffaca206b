"""Changes a config text as little as the change needs: comments and layout stay. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyjson5

from conf.json5 import Member, Node, UnscannableError, comma_after, scan, skip

MOST_CHANGES_COUNT = 100
LONGEST_TEXT_CHARS = 262_144
"""Beyond either, the whole text is written anew: an edit of this size is no edit."""
INDENT = "  "
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*[^\n\r]*?\*/[ \t]*)*(?://[^\n\r]*)?(?=[\n\r]|$)")
Path = tuple[str, ...]


class _Absent:
    """The key is not there."""


ABSENT = _Absent()


def merge_patch(current: Any, patch: Any) -> Any:
    """`current` after an RFC 7396 merge patch: null deletes, objects merge, the rest replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(current) if isinstance(current, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def changes(current: Any, target: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What differs, as paths of keys with the new value or ABSENT."""
    if not (isinstance(current, Mapping) and isinstance(target, Mapping)):
        if written(current) != written(target):
            yield path, target
        return
    for name in current.keys() - target.keys():
        yield (*path, name), ABSENT
    for name, value in target.items():
        if name in current:
            yield from changes(current[name], value, (*path, name))
        else:
            yield (*path, name), value


def edit(text: str, target: Mapping[str, Any]) -> tuple[str, bool]:
    """A text that means `target`, and whether comments and layout of `text` were kept."""
    try:
        edited = _edit(text, target)
        if edited is not None and written(_meaning(edited)) == written(target):
            return edited, True
    except (UnscannableError, RecursionError, pyjson5.Json5Exception):
        pass  # written anew; whether that can be read is for the loader to say
    return written(target, INDENT) + "\n", not text.strip()


def written(value: Any, indent: str | None = None) -> str:
    """`value` as JSON (and, for what JSON lacks, as JSON5)."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _meaning(text: str) -> Any:
    return pyjson5.loads(text)


def _edit(text: str, target: Mapping[str, Any]) -> str | None:
    if not text.strip() or len(text) > LONGEST_TEXT_CHARS:
        return None
    wanted = list(changes(_meaning(text), target))
    if len(wanted) > MOST_CHANGES_COUNT:
        return None
    for path, value in wanted:
        text = _change(text, path, value)
    return text


def _change(text: str, path: Path, value: Any) -> str:
    """`text` with one change; the path above its last key exists."""
    root = scan(text)
    node = root
    for name in path[:-1]:
        node = _members(node, name)[-1].node
    found = _members(node, path[-1])
    if value is ABSENT:
        for member in reversed(found):
            text = _delete(text, node, member)
        return text
    if not found:
        return _insert(text, node, path[-1], value, is_bare=_has_bare_names(root))
    place = found[-1].node
    new = _indented(value, _line_indent(text, place.start))
    return text[: place.start] + new + text[place.end :]


def _members(node: Node, name: str) -> list[Member]:
    return [member for member in node.members if member.name == name]


def _delete(text: str, parent: Node, member: Member) -> str:
    end = comma_after(text, member.node.end)
    index = parent.members.index(member)
    if end is None and index > 0:
        comma = skip(text, parent.members[index - 1].node.end)
        text = _cut(text, member.start, member.node.end)
        return text[:comma] + text[comma + 1 :]
    return _cut(text, member.start, end or member.node.end)


def _cut(text: str, start: int, end: int) -> str:
    """`text` without a part, and without its line if nothing else stands there."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    if line_end >= 0 and not (text[line_start:start] + text[end:line_end]).strip():
        return text[:line_start] + text[line_end + 1 :]
    return text[:start] + text[end:]


def _insert(text: str, parent: Node, name: str, value: Any, *, is_bare: bool) -> str:
    key = name if is_bare and _IDENTIFIER.fullmatch(name) else written(name)
    if not parent.members:
        return _insert_first(text, parent, key, value)
    first, last = parent.members[0], parent.members[-1]
    comma = comma_after(text, last.node.end)
    position = comma or last.node.end
    if "\n" not in text[parent.start : first.start]:
        entry = f"{key}: {written(value)}"
        between = f" {entry}," if comma else f", {entry}"
        return text[:position] + between + text[position:]
    indent = _line_indent(text, first.start)
    rest = _REST_OF_LINE.match(text, position)
    line_end = rest.end() if rest else position
    before = text[:position] + ("" if comma else ",") + text[position:line_end]
    entry = f"\n{indent}{key}: {_indented(value, indent)}"
    return before + entry + ("," if comma else "") + text[line_end:]


def _insert_first(text: str, parent: Node, key: str, value: Any) -> str:
    outer = _line_indent(text, parent.start)
    indent = outer + INDENT
    inside = text[parent.start + 1 : parent.end - 1]
    rest = inside if inside.strip() else f"\n{outer}"
    entry = f"\n{indent}{key}: {_indented(value, indent)}"
    return text[: parent.start + 1] + entry + rest + text[parent.end - 1 :]


def _indented(value: Any, indent: str) -> str:
    return written(value, INDENT).replace("\n", f"\n{indent}")


def _line_indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _has_bare_names(root: Node) -> bool:
    return any(member.is_bare or _has_bare_names(member.node) for member in root.members)
