"""Set-up: repeatable, quick when nothing changed, and clear about what is missing."""

import json
import os
import re
import runpy
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTHING_CHANGED_S = 5.0


def _setup(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "packaging/setup/setup.sh", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def environment() -> dict[str, Any]:
    """What packaging/setup/environment.py defines."""
    return runpy.run_path(str(ROOT / "packaging/setup/environment.py"))


@pytest.fixture
def project() -> dict[str, Any]:
    return {
        "project": {"dependencies": ["click"]},
        "build-system": {},
        "dependency-groups": {"weights": ["weights==1"], "dev": ["pytest"]},
        "tool": {"setuptools": {}, "ruff": {"line-length": 100}},
    }


def test_a_python_that_is_too_old_is_named_with_what_to_do() -> None:
    ran = _setup("runtime", PYTHON="/bin/false")
    assert ran.returncode == 1
    assert "needs Python 3.11 or newer; looked for: /bin/false" in ran.stderr
    assert "apt-get install python3 python3-venv" in ran.stderr


def test_an_unknown_level_is_refused_with_the_levels_there_are() -> None:
    ran = _setup("everything")
    assert ran.returncode == 1
    assert "unknown level 'everything'; one of: runtime, develop" in ran.stderr


def test_the_runtime_level_brings_no_tools(
    environment: dict[str, Any], project: dict[str, Any]
) -> None:
    runtime = environment["_steps"]("runtime", project)
    develop = environment["_steps"]("develop", project)
    assert runtime == [
        ("runtime", ["--editable", ".[local]"]),
        ("weights", ["--no-deps", "weights==1"]),
    ]
    assert develop == [*runtime, ("develop", ["pytest"])]


def test_only_what_decides_an_install_makes_it_happen_again(
    environment: dict[str, Any], project: dict[str, Any]
) -> None:
    def fingerprint() -> str:
        print_of: str = environment["_fingerprint"](["--editable", ".[local]"], project)
        return print_of

    first = fingerprint()
    project["tool"]["ruff"]["line-length"] = 80
    assert fingerprint() == first
    project["project"]["dependencies"] = ["click>=9"]
    assert fingerprint() != first


def test_a_venv_that_cannot_be_made_is_told_apart_from_a_missing_python(
    environment: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert environment["_create"](blocked / ".venv") is False
    assert "apt-get install python3-venv" in capsys.readouterr().err


def test_a_broken_environment_is_not_used(environment: dict[str, Any], tmp_path: Path) -> None:
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    assert not environment["_is_usable"](tmp_path)
    python.symlink_to("/nonexistent/python3")
    assert not environment["_is_usable"](tmp_path)


def test_set_up_that_has_nothing_to_do_is_quick_and_silent() -> None:
    assert _setup("develop").returncode == 0
    began = time.monotonic()
    ran = _setup("develop")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert time.monotonic() - began < NOTHING_CHANGED_S


def test_every_target_of_the_makefile_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    ran = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    explained = re.findall(r"^  make (\w+) +\S", ran.stdout, re.MULTILINE)
    assert sorted(explained) == sorted(phony.split())


def test_the_lock_of_the_peers_names_no_registry() -> None:
    text = (ROOT / "tests/peers/package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    installed = [package for name, package in packages.items() if name]
    assert all("integrity" in package for package in installed)
