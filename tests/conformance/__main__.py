"""Runs the Autobahn testsuite against the front's WebSocket engine; exit code 0 when all pass.

The suite (PyPI autobahntestsuite) is written in Python 2.7, so it gets an interpreter and a
directory of its own: nothing of it enters the project's environment. Not part of `make test`.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

SUITE = "autobahntestsuite==25.10.1"
ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 600  # some of its libraries are compiled
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
# permessage-deflate, which the front refuses: all its cases would be UNIMPLEMENTED.
EXCLUDED = ["12.*", "13.*"]
MIN_CASE_COUNT = 301  # all without the excluded; guards against a run that tested little
# `site` reads the .pth files of the directory, without which `zope` is not found.
WSTEST = "import site, sys; site.addsitedir({!r}); from autobahntestsuite.wstest import run; run()"


def main() -> int:
    """Install the suite when it is missing, run it, and say what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=ROOT / ".venv-conformance")
    parser.add_argument("--python2", help="a Python 2.7 with pip; looked up when not given")
    parser.add_argument("--cases", nargs="*", default=["*"], help="for example 1.* 6.4.1")
    parser.add_argument("--no-fast-path", action="store_true")
    parser.add_argument("--timeout-s", type=int, default=1200)
    arguments = parser.parse_args()
    python2 = arguments.python2 or find_python2()
    if python2 is None:
        print("conformance: the Autobahn testsuite needs Python 2.7 with pip, and none was found.")
        print("Install one (for example `pyenv install 2.7.18`) or give --python2 PATH.")
        return 69
    suite_dir = install(python2, arguments.work_dir)
    reports_dir = arguments.work_dir / "reports"
    shutil.rmtree(reports_dir, ignore_errors=True)
    with (
        (arguments.work_dir / "wstest.log").open("w") as log,
        (arguments.work_dir / "echo.log").open("w") as echo_log,
        echo_server(echo_log, fast=not arguments.no_fast_path) as url,
    ):
        spec = arguments.work_dir / "spec.json"
        spec.write_text(json.dumps(specification(url, reports_dir, arguments.cases)))
        command = [python2, "-c", WSTEST.format(str(suite_dir))]
        options = ["--mode", "fuzzingclient", "--spec", str(spec)]
        run_group([*command, *options], arguments.timeout_s, log)
    return judge(reports_dir, whole=arguments.cases == ["*"])


def find_python2() -> str | None:
    """A Python 2.7 that runs and has pip; pyenv's shims exist even when they lead nowhere."""
    candidates = [shutil.which("python2.7"), shutil.which("python2")]
    if pyenv := shutil.which("pyenv"):
        answer = subprocess.run(
            [pyenv, "whence", "--path", "python2.7"], capture_output=True, text=True, check=False
        )
        candidates += answer.stdout.split()
    for candidate in candidates:
        if (
            candidate
            and not subprocess.run(
                [candidate, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
        ):
            return candidate
    return None


def install(python2: str, work_dir: Path) -> Path:
    """Put the suite into a directory named after its version, once."""
    target = work_dir / SUITE
    if not target.exists():
        unfinished = work_dir / "installing"
        shutil.rmtree(unfinished, ignore_errors=True)
        print(f"conformance: installing {SUITE} for {python2}", flush=True)
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--target"]
        command = [python2, "-m", "pip", "install", *options, str(unfinished), SUITE]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
        )
        if ran.returncode:
            raise SystemExit(f"conformance: pip could not install {SUITE}:\n{ran.stderr}")
        unfinished.rename(target)
    return target


@contextlib.contextmanager
def echo_server(log: IO[str], *, fast: bool) -> Iterator[str]:
    """The engine behind an echo, in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.conformance.echo"]
    command += [] if fast else ["--no-fast-path"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield f"ws://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def specification(url: str, reports_dir: Path, cases: list[str]) -> dict[str, object]:
    """What wstest is to do, as its JSON file says it."""
    return {
        "servers": [{"agent": "gatewayd", "url": url}],
        "outdir": str(reports_dir),
        "cases": cases,
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    }


def run_group(command: list[str], timeout_s: int, log: IO[str]) -> None:
    """Run a command in its own process group and leave none of it behind."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            code = process.wait(timeout_s)
            if code:
                raise SystemExit(f"conformance: wstest ended with {code}; see {log.name}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def judge(reports_dir: Path, *, whole: bool) -> int:
    """Print a summary of the report and every case that did not pass; 1 when there is one."""
    cases = json.loads((reports_dir / "index.json").read_text())["gatewayd"]
    counts = Counter(case["behavior"] for case in cases.values())
    words = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"conformance: {len(cases)} cases: {words}; report: {reports_dir}/index.html")
    failed = [
        (name, case)
        for name, case in cases.items()
        if case["behavior"] not in PASSED or case["behaviorClose"] not in PASSED
    ]
    for name, case in sorted(failed):
        print(f"  {name}: {case['behavior']}, close {case['behaviorClose']}, {case['reportfile']}")
    if whole and len(cases) < MIN_CASE_COUNT:
        print(f"conformance: expected at least {MIN_CASE_COUNT} cases")
        return 1
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
