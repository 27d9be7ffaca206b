"""Reads the sources as the rules see them: files, functions, calls."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("gatewayd", "bus", "workers", "conf")
CODE = (".py", ".js", ".mjs", ".css", ".html", ".sh")
NOT_OURS = ("node_modules", ".report", ".build", "__pycache__")


@dataclass(frozen=True)
class Function:
    """A function and its length in lines, docstring and decorators left out."""

    where: str
    lines_count: int


def files(*packages: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """All source files below the packages, in a fixed order."""
    found = (path for package in packages for path in (ROOT / package).rglob("*"))
    ours = (path for path in found if not set(path.parts) & set(NOT_OURS))
    return sorted(path for path in ours if path.suffix in suffixes and path.is_file())


def functions(path: Path) -> Iterator[Function]:
    """Every function of a Python file, nested ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(f"{path.name}:{node.lineno} {node.name}", _length(node))


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = 0
    if ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    """Every call in a Python file as (line, dotted name, node)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node
