"""What the supervisor loads before it forks."""

import json
import subprocess
import sys

import pytest

from gatewayd.supervisor.preload import AT_START, modules_for_restarts
from tests.supervisor.gateway import ROOT

SCRIPT = """
import json, logging, os, sys, threading
from conf.logs import Log
from gatewayd.supervisor.preload import preload
warned = []
logging.getLogger("t").addFilter(lambda record: warned.append(record.fields["module"]))
preload(json.loads(sys.argv[1]), Log("t"))
files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
         if os.path.exists(f"/proc/self/fd/{fd}")]
print(json.dumps({
    "warned": warned,
    "threads": len(os.listdir("/proc/self/task")),
    "loops": [f for f in files if "eventpoll" in f or "eventfd" in f or "socket" in f],
    "loaded": [name for name in json.loads(sys.argv[1]) if name in sys.modules],
    "heavy": [name for name in ("starlette", "uvicorn", "openai") if name in sys.modules],
}))
"""


def preloaded(modules: list[str]) -> dict[str, list[str]]:
    """What a fresh interpreter looks like after preloading `modules`."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("modules", [list(AT_START), [*AT_START, *modules_for_restarts()]])
def test_preloading_starts_no_thread_and_opens_nothing(modules: list[str]) -> None:
    found = preloaded(modules)
    assert (found["loaded"], found["warned"]) == (modules, [])
    assert (found["threads"], found["loops"]) == (1, [])


def test_what_only_some_workers_need_is_not_loaded_at_start() -> None:
    assert preloaded(list(AT_START))["heavy"] == []


def test_a_module_that_cannot_be_loaded_is_told_and_the_others_are_loaded() -> None:
    found = preloaded(["no_such_module", "bus.codec"])
    assert (found["warned"], found["loaded"]) == (["no_such_module"], ["bus.codec"])
