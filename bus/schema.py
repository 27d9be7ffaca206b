"""JSON Schema 2020-12 of declared methods: what each takes and answers. Pure."""

import types
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, get_args, get_origin

import msgspec

from bus.rpc import Declaration

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANYTHING: dict[str, Any] = {"description": "JSON of the method's own making"}


def describe(declarations: Iterable[Declaration], prefix: str = "") -> dict[str, Any]:
    """`methods` (by name) and `$defs`, whose names begin with `prefix`."""
    known = {declaration.name: declaration for declaration in declarations}
    kinds = list(_kinds(known.values()))
    schemas, definitions = msgspec.json.schema_components(
        kinds, schema_hook=_opaque, ref_template=f"#/$defs/{prefix}{{name}}"
    )
    by_kind = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    methods = {
        name: {
            "summary": one.summary,
            "scope": f"operator.{one.scope}" if one.scope != "node" else "node",
            "timeoutMs": one.timeout_ms,
            "params": by_kind[id(one.params)],
            "result": by_kind.get(id(result_kind(one)), _ANYTHING),
        }
        for name, one in sorted(known.items())
    }
    return {"methods": methods, "$defs": {prefix + name: d for name, d in definitions.items()}}


def whole(parts: Iterable[Mapping[str, Any]], frames: Mapping[str, Any]) -> dict[str, Any]:
    """One document of the parts that `describe` gave, and of the frames around them."""
    document: dict[str, Any] = {
        "$schema": DIALECT,
        "title": "gatewayd protocol",
        "frames": dict(frames),
        "methods": {},
        "$defs": {},
    }
    for part in parts:
        document["methods"].update(part["methods"])
        document["$defs"].update(part["$defs"])
    document["methods"] = dict(sorted(document["methods"].items()))
    return document


def result_kind(declaration: Declaration) -> Any:
    """The type a method answers with; what it awaits is left out."""
    kind = declaration.result
    while get_origin(kind) in (Awaitable, types.CoroutineType):
        kind = get_args(kind)[-1]
    return kind


def _kinds(declarations: Iterable[Declaration]) -> Iterable[Any]:
    seen: set[int] = set()
    for declaration in declarations:
        for kind in (declaration.params, result_kind(declaration)):
            # Bytes are JSON that the handler has encoded by itself.
            if kind not in (bytes, Any) and id(kind) not in seen:
                seen.add(id(kind))
                yield kind


def _opaque(_: type) -> dict[str, Any]:
    """What msgspec has no schema for, such as `msgspec.Raw`, can be anything."""
    return dict(_ANYTHING)
