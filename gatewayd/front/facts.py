"""What the front knows of itself, read once at its start."""

import os
import platform
import socket
import time
from dataclasses import dataclass
from typing import Any

from conf.environment import restart_count, supervisor_pid
from conf.paths import Paths
from gatewayd.version import version

FAMILIES = {"Linux": "Linux", "Darwin": "Mac", "Windows": "Windows"}


@dataclass(frozen=True)
class Facts:
    """Identity of this front process and its host."""

    version: str
    pid: int
    supervisor_pid: int | None
    supervisor_started_ms: int
    restart_count: int
    host: str
    started_ms: int
    started: float
    """On the monotonic clock."""
    paths: Paths
    listening: tuple[str, ...]


def gather(paths: Paths, listening: tuple[str, ...]) -> Facts:
    """Reads the facts; called before the loop serves anybody."""
    return Facts(
        version=version(),
        pid=os.getpid(),
        supervisor_pid=supervisor_pid(),
        supervisor_started_ms=_started_ms(supervisor_pid()),
        restart_count=restart_count(),
        host=socket.gethostname(),
        started_ms=int(time.time() * 1000),
        started=time.monotonic(),
        paths=paths,
        listening=listening,
    )


def _started_ms(pid: int | None) -> int:
    """When a process began, to about a second; now when that cannot be told."""
    try:
        return int(os.stat(f"/proc/{pid}").st_ctime * 1000)  # noqa: PTH116 - not a real file
    except OSError:
        return int(time.time() * 1000)


def own_presence(facts: Facts) -> dict[str, Any]:
    """The gateway's own row in the presence list."""
    system = platform.system()
    return {
        "host": facts.host,
        "version": facts.version,
        "platform": f"{system.lower()} {platform.release()}",
        "deviceFamily": FAMILIES.get(system, system),
        "modelIdentifier": platform.machine(),
        "mode": "gateway",
        "reason": "self",
        "text": f"Gateway: {facts.host} · app {facts.version} · mode gateway · reason self",
        "ts": facts.started_ms,
    }
