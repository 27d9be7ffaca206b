"""What is said of when a change of the config takes effect is what will happen."""

import os
from pathlib import Path

import msgspec
import pytest

from conf.paths import Paths, resolve
from conf.profile import create_bus_key, prepare_directories
from conf.settings import load
from tests.kit.eventually import run
from workers.health.restart import Restarts, told_effect
from workers.health.service import Health
from workers.runtime import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker that is not connected to anything."""
    paths: Paths = resolve("test", {"HOME": str(tmp_path), "GATEWAYD_STATE_DIR": str(tmp_path)})
    prepare_directories(paths)
    create_bus_key(paths)
    return Worker("health", paths, load(paths.config, {}), Health())


def test_without_a_supervisor_of_ours_nothing_is_promised(worker: Worker) -> None:
    restart = Restarts(worker, None).schedule(0, "config.patch", ["session.mainKey"])
    assert (restart.ok, restart.pid) == (False, os.getppid())
    assert restart.effect == "written; it takes effect when the gateway is started again"


@pytest.mark.parametrize(
    ("wanted_ms", "delay_ms"), [(None, 2_000), (0, 0), (1.5, 1), (59_999, 59_999), (1e300, 60_000)]
)
def test_the_delay_is_bounded(worker: Worker, wanted_ms: float | None, delay_ms: int) -> None:
    assert Restarts(worker, None).schedule(wanted_ms, "config.apply", []).delay_ms == delay_ms


def test_an_earlier_restart_is_not_put_off_and_a_later_one_is_brought_forward(
    worker: Worker,
) -> None:
    async def test() -> None:
        restarts = Restarts(worker, 1)  # pid 1 is not our parent: nobody is signalled
        delays = [
            restarts.schedule(wanted_ms, "config.patch", []).delay_ms
            for wanted_ms in (50_000, 60_000, 10_000)
        ]
        assert delays[1] <= delays[0] == 50_000
        assert delays[2] == 10_000
        restarts.flush()

    run(test())


def test_keys_that_wait_for_the_next_start_are_named() -> None:
    text = told_effect(True, 2_000, ("gateway.port",))
    assert text.startswith("the workers are replaced in 2 s")
    assert text.endswith("gateway.port: when the gateway itself is started again")


def test_a_note_that_cannot_be_read_is_dropped(worker: Worker) -> None:
    path = worker.paths.restart_sentinel
    path.write_bytes(b"{")
    Restarts(worker, None).deliver()
    assert not path.exists()


def test_a_note_replaces_the_one_before_and_waits_for_the_next_start(worker: Worker) -> None:
    path = worker.paths.restart_sentinel
    path.write_bytes(b"{")
    restarts = Restarts(worker, None)
    sentinel = restarts.note("config.patch", "/c", None, None)
    restarts.deliver()
    kept = msgspec.json.decode(path.read_bytes())
    assert kept["payload"]["message"] is None
    assert "sessionKey" not in kept["payload"]
    assert sentinel.path == str(path)
