"""Loads libraries into the supervisor, so that the processes forked from it have them already.

A restarted process then starts in milliseconds, with the code of its supervisor: an upgrade
takes a restart of the whole gateway. Nothing loaded here may start a thread.
"""

import gc
import importlib
import threading
from collections.abc import Iterable

from conf.logs import Log
from conf.processes import worker_names

AT_START = (
    "asyncio",
    "uvloop",
    "msgspec",
    "psutil",
    "zmq",
    "websockets.server",
    "conf.settings",
    "gatewayd.front.__main__",
)
"""What every process needs, and the front, which is the first and must be back soonest."""


def modules_for_restarts() -> list[str]:
    """What the workers load; too heavy for the start, so it is loaded after it."""
    return [f"workers.{name}.service" for name in worker_names()]


def preload(modules: Iterable[str], log: Log) -> None:
    """Loads what can be loaded; what cannot will fail again, and be told, where it is needed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - code of any program, at import
            log.warning("not preloaded", module=module, error=f"{type(error).__name__}: {error}")
    if threading.active_count() > 1:
        log.error("preloading started a thread: processes forked from here may hang")
    gc.collect()
    gc.freeze()
