"""gatewayctl against a real tree of processes: killed ones, aborted runs, its log."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.browser import running
from tests.browser.running import Running
from tests.ctl.test_gatewayctl import COMMAND, ROOT

pytestmark = pytest.mark.processes

SCRIPT = [{"text": "Once "}, {"sleep_ms": 1500}, {"text": "and only once."}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    gateway = running.start(tmp_path_factory.mktemp("live"), SCRIPT)
    yield gateway
    gateway.stop()


def begin(gateway: Running, *arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAYD_")}
    return subprocess.Popen(
        [*COMMAND, "--profile", "test", *arguments],
        cwd=ROOT,
        env={**kept, "GATEWAYD_STATE_DIR": str(gateway.state_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ctl(gateway: Running, *arguments: str) -> tuple[int, str, str]:
    process = begin(gateway, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def first_words(process: subprocess.Popen[str]) -> str:
    """Waits for the first piece of the answer."""
    assert process.stdout is not None
    return os.read(process.stdout.fileno(), 100).decode()


def test_status_lists_every_process(gateway: Running) -> None:
    code, out, _ = ctl(gateway, "status", "--json")
    report = json.loads(out)
    assert code == 0
    states = {row["name"]: row["state"] for row in report["processes"]}
    assert {"front", "agent", "channels", "web", "health"} <= states.keys()
    assert set(states.values()) == {"running"}


def test_a_turn_survives_the_death_of_the_front(gateway: Running) -> None:
    process = begin(gateway, "agent", "--message", "hello")
    said = first_words(process)
    gateway.kill("front")
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, said + rest) == (0, "Once and only once.\n")
    assert "reconnecting" in err
    gateway.await_ready()


def test_a_run_that_dies_with_its_worker_has_one_end_that_is_told(gateway: Running) -> None:
    process = begin(gateway, "agent", "--message", "hello", "--idempotency-key", "dies-1")
    first_words(process)
    gateway.kill("agent")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    gateway.await_ready()
    code, _, again = ctl(gateway, "agent", "--message", "hello", "--idempotency-key", "dies-1")
    assert code == 1
    assert again.splitlines()[-1] == err.splitlines()[-1]


def test_ctrl_c_aborts_the_run_in_the_gateway(gateway: Running) -> None:
    process = begin(gateway, "agent", "--message", "hello", "--idempotency-key", "stopped-1")
    first_words(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "gatewayctl: aborted\n")
    with gateway.connect() as client:
        outcome = client.call("agent.wait", {"runId": "stopped-1", "timeoutMs": 5_000})
    assert outcome["status"] == "error"


def test_logs_print_lines_people_can_read(gateway: Running) -> None:
    code, out, err = ctl(gateway, "logs", "--limit", "5000")
    assert (code, err) == (0, "")
    assert "gateway ready" in out


def test_a_stopped_gateway_is_told_from_one_that_hangs(gateway: Running) -> None:
    pids = [gateway.process.pid, gateway.pid_of("front")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        code, out, _ = ctl(gateway, "--timeout", "0.5", "status")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert code == 3
    assert out.startswith("Status: running but not answering (pid ")
