"""make bench: gatewayd beside npm ws, in one run; medians, and what was missed."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import front, generator, processes, runs
from tests.bench.client import RefusedError
from tests.bench.report import Row, print_heading, print_row, write_json
from tests.bench.servers import Gateway, NotServingError, cpu_s, running, yardstick

PARTS = ("front", "runs", "start", "idle", "crowd", "kills")
PEERS_NODE = Path(__file__).parents[1] / "peers/.bin/node"


def main() -> int:
    """Measure the parts named on the command line, all by default."""
    arguments = _arguments()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        print(f"bench: no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
        return 2
    node = arguments.node or shutil.which("node") or str(PEERS_NODE)
    _print_machine(node)
    try:
        generator.build()
        with tempfile.TemporaryDirectory(prefix="gatewayd-bench-") as folder:
            rows = _measure(arguments.parts or list(PARTS), Path(folder), node)
    except (generator.GeneratorError, NotServingError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    missed = [row.name for row in rows if row.verdict not in ("ok", "")]
    print(f"missed: {'; '.join(missed)}" if missed else "nothing missed")
    if arguments.json:
        write_json(rows, arguments.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--node", help="the Node to run ws in (default: the machine's)")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    return parser.parse_args()


def _print_machine(node: str) -> None:
    ran = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, "
        f"Node {ran.stdout.strip()}; medians; ratios hold on a busy machine, times do not",
        flush=True,
    )


def _measure(parts: list[str], folder: Path, node: str) -> list[Row]:
    rows: list[Row] = []
    print_heading()
    if "start" in parts:
        _collect(rows, lambda: processes.start_rows(folder / "start"))
    if not set(parts) - {"start"}:
        return rows
    with running(folder / "main") as gateway:
        # Idle memory first: before load has grown anything.
        if "idle" in parts:
            _collect(rows, lambda: processes.idle_rows(gateway))
        if "front" in parts:
            _collect(rows, lambda: _front_rows(gateway, folder, node))
        if "runs" in parts:
            _collect(rows, lambda: runs.rows(gateway))
        if "crowd" in parts:
            _collect(rows, lambda: processes.crowd_rows(gateway))
        if "kills" in parts:
            _collect(rows, lambda: processes.kill_rows(gateway))
    return rows


def _front_rows(gateway: Gateway, folder: Path, node: str) -> Iterator[Row]:
    with yardstick(node, front.payloads(gateway), folder) as (port, process):
        ours = front.Side(gateway.port, lambda: cpu_s(gateway.tree()))
        theirs = front.Side(port, lambda: cpu_s([process]))
        yield from front.rows(ours, theirs)


def _collect(rows: list[Row], measure: Callable[[], Iterator[Row]]) -> None:
    """Print and keep the rows of one part; a part that fails does not stop the others."""
    try:
        for row in measure():
            print_row(row)
            rows.append(row)
    except (NotServingError, RefusedError, OSError) as error:
        rows.append(Row(f"failed: {error}", "", None))
        print_row(rows[-1])


if __name__ == "__main__":
    sys.exit(main())
