"""Compiles and runs the load generator (client.c, load.c)."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / ".build"
SOURCES = ("load.c", "client.c", "client.h")


class GeneratorError(Exception):
    """The load generator could not be built, or gave up."""


@dataclass(frozen=True)
class Port:
    """Where the load goes; a token means the gateway's handshake, none a bare upgrade."""

    number: int
    token: str | None = None


@dataclass(frozen=True)
class Measured:
    """What one run of the generator saw."""

    per_s: float
    count: int
    warm_count: int
    errors: int
    p50_us: int
    p99_us: int


def build() -> Path:
    """The compiled generator; compiles it when a source is newer."""
    binary = BUILD / "load"
    sources = [HERE / name for name in SOURCES]
    if binary.exists() and binary.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return binary
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise GeneratorError("no C compiler; on Debian: apt-get install gcc libc6-dev")
    BUILD.mkdir(exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", *map(str, (binary, *sources[:2]))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise GeneratorError(f"the load generator does not compile:\n{ran.stderr}")
    return binary


def requests(port: Port, clients: int, depth: int, seconds: float, method: str) -> Measured:
    """Answers per second; every client keeps `depth` requests in flight."""
    return _run("requests", port, clients, depth, seconds, method)


def fanout(port: Port, clients: int, seconds: float, method: str, event: str) -> Measured:
    """Deliveries per second of an event that one client's request makes all receive."""
    return _run("fanout", port, clients, seconds, method, f'"event":"{event}"')


def connects(port: Port, clients: int, seconds: float) -> Measured:
    """Completed handshakes per second, `clients` always in flight."""
    return _run("connects", port, clients, seconds)


def _run(mode: str, port: Port, clients: int, *rest: object) -> Measured:
    command = _command(mode, port, clients, *rest)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired as error:
        raise GeneratorError(f"{mode} did not end within 120 s") from error
    if ran.returncode != 0:
        raise GeneratorError(ran.stderr.strip().removeprefix("load: "))
    measured = Measured(**json.loads(ran.stdout))
    if measured.errors:
        first = ran.stderr.strip().removeprefix("load: ")
        raise GeneratorError(f"{measured.errors} of {measured.count} answers were errors; {first}")
    return measured


@contextlib.contextmanager
def held(port: Port, clients: int) -> Iterator[float]:
    """Keeps idle clients connected; yields the seconds it took to connect them all."""
    command = _command("hold", port, clients)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if not line:
            raise GeneratorError(process.stderr.read().strip().removeprefix("load: "))
        yield float(json.loads(line)["seconds"])
        process.stdin.close()
        if process.wait(10) != 0:
            raise GeneratorError(process.stderr.read().strip().removeprefix("load: "))


def _command(mode: str, port: Port, clients: int, *rest: object) -> list[str]:
    return [
        str(build()),
        mode,
        str(port.number),
        port.token or "-",
        str(clients),
        *(str(one) for one in rest),
    ]
