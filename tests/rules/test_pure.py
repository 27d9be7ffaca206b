"""Modules that the import contract calls pure also open no file and await nothing."""

import ast
import tomllib
from pathlib import Path

from tests.rules.sources import PRODUCT, ROOT, calls, files

CONTRACT = "Pure modules do no I/O and read no clock"
INPUT_OUTPUT = ("open", "print", "input", "exec", "eval", "__import__")


def pure_files() -> list[Path]:
    """The files behind the modules that the import contract names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (modules,) = [one["source_modules"] for one in contracts if one["name"] == CONTRACT]
    found: list[Path] = []
    for module in modules:
        place = ROOT / module.removesuffix(".*").replace(".", "/")
        found += files(str(place)) if place.is_dir() else [place.with_suffix(".py")]
    return found


def says_pure(path: Path) -> bool:
    """Whether the first paragraph of a file's docstring ends with `Pure.`"""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n", maxsplit=1)[0].endswith("Pure.")


def impurities(path: Path) -> list[str]:
    """The lines of a file that do or await something outside it."""
    found = [f"{path.name}:{line} {name}" for line, name, _ in calls(path) if name in INPUT_OUTPUT]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    return found + [f"{path.name}:{n.lineno} async" for n in ast.walk(tree) if isinstance(n, waits)]


def test_pure_modules_open_nothing_and_await_nothing() -> None:
    assert [line for path in pure_files() for line in impurities(path)] == []


def test_files_that_say_they_are_pure_are_held_to_it() -> None:
    said = [path for path in files(*PRODUCT) if says_pure(path)]
    assert [str(path.relative_to(ROOT)) for path in said if path not in pure_files()] == []


def test_the_rule_sees_a_file_that_says_it_is_pure(tmp_path: Path) -> None:
    path = tmp_path / "said.py"
    path.write_text('"""Decides. Pure.\n\nMore words.\n"""\n')
    assert says_pure(path)
    path.write_text('"""Not said.\n\nPure.\n"""\n')
    assert not says_pure(path)


def test_the_rule_sees_an_open_file_and_an_await(tmp_path: Path) -> None:
    path = tmp_path / "impure.py"
    path.write_text("async def f():\n    return open('x')\n")
    assert impurities(path) == ["impure.py:2 open", "impure.py:1 async"]
