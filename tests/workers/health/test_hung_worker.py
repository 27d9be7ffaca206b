"""In a real tree: a worker that hangs is replaced, its neighbours are not."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gatewayd.client import Client
from tests.browser import running
from tests.kit.eventually import eventually, run

REPLACED_S = 45.0

pytestmark = pytest.mark.processes


def processes(client: Client) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in client.call("status")["processes"]}


def test_a_worker_that_hangs_is_replaced_and_nobody_else(tmp_path: Path) -> None:
    gateway = running.start(tmp_path / "state", [{"echo": True}])
    try:
        with gateway.connect() as client:
            before = processes(client)
            os.kill(before["channels"]["pid"], signal.SIGSTOP)

            def replaced() -> bool:
                row = processes(client)["channels"]
                return row["state"] == "running" and row["pid"] != before["channels"]["pid"]

            run(eventually(replaced, "the hung worker is replaced", REPLACED_S))
            after = processes(client)
            log = client.call("logs.tail", {"limit": 500})["lines"]
    finally:
        gateway.stop()
    names = set(before) - {"channels"}
    assert {name: after[name]["pid"] for name in names} == {
        name: before[name]["pid"] for name in names
    }
    assert any("hung worker signalled" in line and '"channels"' in line for line in log)
