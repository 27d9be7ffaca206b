"""JSON Schema of the config file, and hints for forms, from the declarations of the settings."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from conf.channels import channel_settings
from conf.redaction import is_secret
from conf.schema import Section, Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS = "#/$defs/"


def config_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the whole file; without references, as forms understand it best."""
    schemas, definitions = msgspec.json.schema_components(
        [Settings, *channel_settings().values()], ref_template=_DEFINITIONS + "{name}"
    )
    whole, *sections = (_inlined(schema, definitions) for schema in schemas)
    channels = dict(zip(channel_settings(), sections, strict=True))
    whole["properties"]["channels"] = {
        "type": "object",
        "title": "Channels",
        "properties": channels,
        "additionalProperties": False,
        "default": {},
    }
    return {"$schema": DIALECT, **whole}


def hints() -> dict[str, dict[str, Any]]:
    """By path (`agents.list[].name`, `models.providers.*.apiKey`): label, help, group, order."""
    found = dict(_hints(Settings, "", ""))
    for name, kind in channel_settings().items():
        path = f"channels.{name}"
        found[path] = {"label": getattr(kind, "label", _label(name)), "group": "channels"}
        found.update(_hints(kind, path, "channels"))
    return found


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        target = definitions[reference.removeprefix(_DEFINITIONS)]
        return {**_inlined(target, definitions), **beside}
    return {name: _inlined(member, definitions) for name, member in schema.items()}


def _hints(kind: type[Section], path: str, group: str) -> Iterator[tuple[str, dict[str, Any]]]:
    texts = _field_texts(kind)
    for order, field in enumerate(msgspec.structs.fields(kind)):
        name = field.encode_name
        below = f"{path}.{name}" if path else name
        section, suffix = _section_of(field.type)
        is_hidden = section is None and is_secret(name) and not _is_number(field.type)
        hint: dict[str, Any] = {"label": _label(name), "group": group or name, "order": order}
        text = texts.get(field.name) or (inspect.getdoc(section) if section else None)
        if text:
            hint["help"] = " ".join(text.split())
        if is_hidden:
            hint["sensitive"] = True
        yield below, hint
        if section is not None:
            yield from _hints(section, below + suffix, group or name)


def _section_of(kind: Any) -> tuple[type[Section] | None, str]:
    """The section inside a type expression, and how the path to it goes on."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind, ""
    suffix = {dict: ".*", tuple: "[]"}.get(get_origin(kind) or kind, "")
    for argument in get_args(kind):
        section, below = _section_of(argument)
        if section is not None:
            return section, suffix + below
    return None, ""


def _is_number(kind: Any) -> bool:
    kinds = set(_leaves(kind))
    return bool(kinds & {int, float}) and str not in kinds


def _leaves(kind: Any) -> Iterator[Any]:
    arguments = get_args(kind)
    if not arguments:
        yield kind
    for argument in arguments:
        if isinstance(argument, type) or get_args(argument):
            yield from _leaves(argument)


def _label(name: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).replace("-", " ").lower()
    return words[:1].upper() + words[1:]


def _field_texts(kind: type[Section]) -> dict[str, str]:
    """The texts that stand below the fields of a class; empty where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    except (OSError, KeyError):
        return {}
    texts: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name != kind.__name__:
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _text(below)
                texts |= {field.target.id: text} if text else {}
    return texts


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None
