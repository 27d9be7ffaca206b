"""Starts a tree of test programs: `python -m tests.supervisor.launcher fork|exec LIST PORT`."""

import sys
from pathlib import Path

from conf.paths import resolve
from conf.profile import create_first_config, prepare_directories
from gatewayd.supervisor.child import ENTRIES
from gatewayd.supervisor.lock import Lock
from gatewayd.supervisor.sockets import listen
from gatewayd.supervisor.tree import Launch, run

PROGRAMS = "tests.supervisor.programs"


def main() -> int:
    how, programs, port = sys.argv[1:]
    paths = resolve()
    prepare_directories(paths)
    lock = Lock(paths.lock, paths.profile)
    listening = listen(int(port), "loopback")
    lock.describe(listening.port)
    create_first_config(paths, listening.port)
    entries = {**ENTRIES, PROGRAMS: PROGRAMS} if how == "fork" else {}
    launch = Launch(paths, listening, entries=entries, programs=Path(programs).read_text())
    return run(launch)


if __name__ == "__main__":
    sys.exit(main())
