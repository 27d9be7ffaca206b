"""Checks a decoded config object against its structs and collects every error. Pure.

msgspec stops at the first error; a person editing a file wants all of them at once, each with
the key it stands at and the nearest valid key.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from conf.redaction import is_secret

LONGEST_SHOWN_CHARS = 24
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Problem:
    """One error: the dotted key, what is wrong, and what to do."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


def check(value: object, kind: type[S], key: str = "") -> tuple[S | None, list[Problem]]:
    """`value` as `kind`, or None with every problem found below `key`."""
    problems = list(_problems(value, kind, key))
    if problems:
        return None, problems
    try:
        return msgspec.convert(value, kind), []
    except msgspec.ValidationError as error:  # a rule across fields, which the walk cannot see
        return None, [Problem(key, str(error))]


def _problems(value: object, kind: Any, key: str) -> Iterator[Problem]:
    """Problems of `value` where `kind` (a type expression of a struct field) is expected."""
    struct = _struct_of(kind)
    if struct is not None and isinstance(value, Mapping):
        yield from _object_problems(value, struct, key)
        return
    item = _item_kind(kind)
    if item is not None and isinstance(value, Mapping) and get_origin(kind) is dict:
        for name, member in value.items():
            yield from _problems(member, item, _join(key, str(name)))
        return
    if item is not None and isinstance(value, list) and get_origin(kind) is tuple:
        for index, member in enumerate(value):
            yield from _problems(member, item, f"{key}[{index}]")
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Problem(key, _reword(str(error), value, is_shown=not is_secret(key)))


def _object_problems(
    value: Mapping[str, object], struct: type[msgspec.Struct], key: str
) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name, member in value.items():
        field = fields.get(name)
        if field is None:
            yield Problem(_join(key, name), _unknown(name, list(fields)))
        else:
            yield from _problems(member, field.type, _join(key, name))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(_join(key, name), "required, but not set")


def _unknown(name: str, valid: list[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in valid}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean `{lowered[near[0]]}`?"
    return f"unknown key; valid here: {', '.join(valid)}"


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    members = [member for member in get_args(kind) if member is not type(None)]
    if get_origin(kind) not in (dict, tuple) and len(members) == 1:
        return _struct_of(members[0])
    return None


def _item_kind(kind: Any) -> Any | None:
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return arguments[0]
    return None


def _reword(message: str, value: object, *, is_shown: bool) -> str:
    """msgspec's text in the words of the file, with the value that was found if it is short."""
    text = message.split(" - at ", maxsplit=1)[0]
    for theirs, ours in (("`str`", "text"), ("`int`", "a whole number"), ("`bool`", "true/false")):
        text = text.replace(theirs, ours)
    shown = repr(value)
    is_long = len(shown) > LONGEST_SHOWN_CHARS  # and longer text may be a secret
    return text if is_long or not is_shown or shown in text else f"{text} (found {shown})"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
