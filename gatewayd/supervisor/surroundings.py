"""What the embedded supervisord needs to know of the profile it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.logs import Log
from gatewayd.supervisor.journal import Journal


@dataclass(frozen=True)
class Surroundings:
    """Names, sockets and outlets; and how to make the environment of a process."""

    identifier: str
    socket_path: Path
    environment: Callable[[], dict[str, str]]
    sockets: tuple[int, ...]
    journal: Journal
    log: Log
    entries: Mapping[str, str]
    """Programs that run in a forked image; empty: all are executed."""
    preloaded_later: Sequence[str]
    """Modules for restarted processes, loaded when all have started."""
    programs: str
    """Text of the list of programs, as in `conf/supervisord.conf`."""
