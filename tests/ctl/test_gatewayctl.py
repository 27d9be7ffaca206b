"""gatewayctl against a small gateway: what it prints, what it exits with, what it never sends."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.gateway_double import TOKEN, Asked, Double, double

COMMAND = [sys.executable, "-c", "import sys; from gatewayd.ctl import main; sys.exit(main())"]
ROOT = Path(__file__).resolve().parents[2]
FINAL = {
    "runId": "k-1",
    "status": "ok",
    "summary": "completed",
    "result": {"payloads": [{"text": "Paris it is.", "mediaUrl": None}], "meta": {}},
}


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "logs").mkdir(mode=0o700)
    return tmp_path


def start(state_dir: Path, *arguments: str, gateway: Double | None = None) -> subprocess.Popen[str]:
    """gatewayctl for a profile in `state_dir` whose config names the gateway's port."""
    port = gateway.port if gateway is not None else 9
    config = {"gateway": {"port": port, "auth": {"token": TOKEN}}}
    (state_dir / "gatewayd.json").write_text(json.dumps(config))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAYD_")}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**kept, "GATEWAYD_STATE_DIR": str(state_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ctl(state_dir: Path, *arguments: str, gateway: Double | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    process = start(state_dir, *arguments, gateway=gateway)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def answers(asked: Asked) -> None:
    """A gateway whose agent answers in three pieces."""
    asked.result({"runId": "k-1", "status": "accepted", "acceptedAt": 1})
    asked.says("Par")
    asked.says("Paris it")
    asked.says("Paris it is.")
    asked.result(FINAL)


def test_agent_prints_the_answer_and_one_newline(state_dir: Path) -> None:
    with double(answers) as gateway:
        code, out, err = ctl(state_dir, "agent", "--message", "capital?", gateway=gateway)
    assert (code, out, err) == (0, "Paris it is.\n", "")
    ((method, params),) = gateway.asked
    assert method == "agent"
    assert params["message"] == "capital?"
    assert params["idempotencyKey"]


def test_agent_prints_the_answer_while_it_comes(state_dir: Path) -> None:
    def hold(asked: Asked) -> None:
        if asked.method == "agent":
            asked.result({"status": "accepted"})
            asked.says("Par")

    with double(hold) as gateway:
        process = start(state_dir, "agent", "-m", "x", gateway=gateway)
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 3) == b"Par"
        process.kill()
        process.communicate()


def test_agent_json_prints_the_result_and_nothing_else(state_dir: Path) -> None:
    with double(answers) as gateway:
        code, out, err = ctl(state_dir, "agent", "-m", "x", "--json", gateway=gateway)
    assert (code, err) == (0, "")
    assert json.loads(out) == FINAL


def test_agent_passes_its_options_on(state_dir: Path) -> None:
    options = ["--session-key", "agent:main:x", "--agent", "main", "--idempotency-key", "k-9"]
    with double(answers) as gateway:
        ctl(state_dir, "agent", "-m", "x", *options, "--timeout", "7", gateway=gateway)
    ((_, params),) = gateway.asked
    assert params == {
        "message": "x",
        "sessionKey": "agent:main:x",
        "agentId": "main",
        "idempotencyKey": "k-9",
        "timeout": 7,
    }


def test_agent_exits_1_with_the_reason_of_a_failed_run(state_dir: Path) -> None:
    payload = {"runId": "k", "status": "error", "summary": "no model"}

    def fail(asked: Asked) -> None:
        asked.result({"status": "accepted"})
        asked.error(payload, code="UNAVAILABLE", message="no model")

    with double(fail) as gateway:
        code, out, err = ctl(state_dir, "agent", "-m", "x", "--json", gateway=gateway)
    assert (code, json.loads(out)) == (1, payload)
    assert "no model" in err


def test_ctrl_c_aborts_the_run_and_exits_130(state_dir: Path) -> None:
    def hold(asked: Asked) -> None:
        if asked.method == "agent":
            asked.result({"status": "accepted"})
            asked.says("Thinking")
        else:
            asked.result({"ok": True, "aborted": True, "runIds": [asked.params["runId"]]})

    with double(hold) as gateway:
        process = start(state_dir, "agent", "-m", "x", gateway=gateway)
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"Thinking"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "aborted" in err
    (_, run), (method, abort) = gateway.asked
    assert method == "chat.abort"
    assert abort == {"sessionKey": "agent:main:main", "runId": run["idempotencyKey"]}


def test_a_lost_connection_is_taken_up_again_with_the_same_key(state_dir: Path) -> None:
    def lose_once(asked: Asked) -> None:
        if asked.count == 1:
            asked.result({"status": "accepted"})
            asked.says("Paris")
            asked.socket.close(1012, "service restart")
        elif asked.method == "agent.wait":
            asked.says("Paris it is.")
            asked.result({"runId": asked.params["runId"], "status": "ok"})
        elif gateway.methods().count("agent.wait") == 0:
            asked.result({"status": "accepted"})
        else:
            asked.result(FINAL)

    with double(lose_once) as gateway:
        code, out, err = ctl(state_dir, "agent", "-m", "x", gateway=gateway)
    assert (code, out) == (0, "Paris it is.\n")
    assert "1012" in err
    assert gateway.methods() == ["agent", "agent", "agent.wait", "agent"]
    assert len({p.get("idempotencyKey", p.get("runId")) for _, p in gateway.asked}) == 1


def test_a_worker_that_was_killed_is_asked_again(state_dir: Path) -> None:
    def down_once(asked: Asked) -> None:
        if asked.count == 1:
            asked.error(code="UNAVAILABLE", message="worker down", retryable=True, retryAfterMs=1)
        else:
            asked.result(FINAL)

    with double(down_once) as gateway:
        code, out, _ = ctl(state_dir, "agent", "-m", "x", gateway=gateway)
    assert (code, out) == (0, "Paris it is.\n")


STATUS: dict[str, Any] = {
    "gateway": {"version": "1.2", "listening": ["127.0.0.1:1", "[::1]:1"], "uptimeMs": 61_000},
    "processes": [
        {"name": "front", "pid": 7, "state": "running", "restarts": 0, "uptimeMs": 61_000},
        {"name": "agent", "pid": None, "state": "down", "restarts": 3, "uptimeMs": 0},
    ],
    "problems": [],
}


def test_status_begins_with_the_three_lines_that_matter(state_dir: Path) -> None:
    with double(lambda asked: asked.result(STATUS)) as gateway:
        code, out, _ = ctl(state_dir, "status", gateway=gateway)
    assert code == 0
    first = ["Status: running", "RPC probe: ok", "Listening: 127.0.0.1:1, [::1]:1"]
    assert out.splitlines()[:3] == first
    assert ["front", "7", "running", "0", "1m", "1s"] in [row.split() for row in out.splitlines()]


def test_status_says_what_is_wrong_and_exits_4(state_dir: Path) -> None:
    degraded = {**STATUS, "problems": ["worker agent is down\x1b[2J"]}
    with double(lambda asked: asked.result(degraded)) as gateway:
        code, out, _ = ctl(state_dir, "status", gateway=gateway)
        json_code, text, _ = ctl(state_dir, "status", "--json", gateway=gateway)
    assert (code, json_code) == (4, 4)
    assert "worker agent is down" in out
    assert "\x1b" not in out
    assert json.loads(text)["processes"] == STATUS["processes"]


def test_status_of_a_gateway_that_does_not_run_exits_3_and_tells_the_last_error(
    state_dir: Path,
) -> None:
    entry = {"time": "2026-01-01T10:20:30.000Z", "level": "error", "event": "disk died"}
    (state_dir / "logs/gatewayd.log").write_text(json.dumps(entry) + '\n{"level":"info"}\n')
    code, out, _ = ctl(state_dir, "status")
    assert code == 3
    assert out.startswith("Status: not running\nRPC probe: failed: nothing answers")
    assert "disk died" in out
    code, text, _ = ctl(state_dir, "status", "--json")
    assert code == 3
    assert json.loads(text)["rpc"]["ok"] is False


def test_status_tells_a_gateway_that_runs_but_does_not_answer(state_dir: Path) -> None:
    with (state_dir / "gateway.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write('{"pid": 4711, "port": 9}')
        lock.flush()
        code, out, _ = ctl(state_dir, "status")
    assert code == 3
    assert out.startswith("Status: running but not answering (pid 4711, port 9)")


def test_status_with_a_wrong_token_says_that_it_runs(state_dir: Path) -> None:
    with double(lambda asked: asked.result(STATUS)) as gateway:
        code, out, _ = ctl(state_dir, "--token", "wrong", "status", gateway=gateway)
    assert code == 4
    assert out.startswith("Status: running\nRPC probe: failed: unauthorized")


def test_configured_secrets_never_go_to_an_address_given_by_hand(state_dir: Path) -> None:
    with double(lambda asked: asked.result({})) as gateway:
        code, _, err = ctl(state_dir, "--url", gateway.url, "status", gateway=gateway)
        ctl(state_dir, "--url", gateway.url, "--token", TOKEN, "health", gateway=gateway)
    assert code == 4, err
    assert "auth" not in gateway.connects[0]
    assert gateway.connects[1]["auth"] == {"token": TOKEN}


def test_call_prints_json_and_takes_params(state_dir: Path) -> None:
    with double(lambda asked: asked.result(asked.params)) as gateway:
        code, out, _ = ctl(state_dir, "call", "x.y", "--params", '{"a": [1]}', gateway=gateway)
    assert (code, json.loads(out)) == (0, {"a": [1]})


def test_params_that_are_no_json_are_a_usage_error(state_dir: Path) -> None:
    code, _, err = ctl(state_dir, "call", "x.y", "--params", "{a")
    assert code == 2
    assert "--params" in err


def test_call_expect_final_waits_for_the_last_answer(state_dir: Path) -> None:
    with double(answers) as gateway:
        _, out, _ = ctl(state_dir, "call", "agent", "--expect-final", gateway=gateway)
    assert json.loads(out) == FINAL


def test_logs_are_read_from_the_file_when_nobody_answers(state_dir: Path) -> None:
    lines = [json.dumps({"level": "info", "process": "web", "event": f"n{n}"}) for n in range(5)]
    (state_dir / "logs/gatewayd.log").write_text("\n".join(lines) + "\nhalf")
    code, out, err = ctl(state_dir, "logs", "--limit", "2", "--json")
    assert (code, out.splitlines()) == (0, lines[-2:])
    assert "nothing answers" in err
    _, readable, _ = ctl(state_dir, "logs", "--limit", "1")
    assert "info" in readable
    assert "n4" in readable


def test_logs_come_from_the_gateway_and_a_follower_survives_its_restart(state_dir: Path) -> None:
    def tail(asked: Asked) -> None:
        if asked.count == 2:
            asked.socket.close(1012, "service restart")
            return
        asked.result({"cursor": asked.count, "lines": [f"line {asked.count}"], "reset": False})

    with double(tail) as gateway:
        process = start(state_dir, "logs", "--follow", "--json", gateway=gateway)
        assert process.stdout is not None
        seen = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert seen == ["line 1\n", "line 3\n"]
    assert process.returncode == 130
    assert gateway.asked[2][1]["cursor"] in (0, 1)


def test_dashboard_prints_the_link_with_the_token_behind_the_hash(state_dir: Path) -> None:
    code, out, _ = ctl(state_dir, "dashboard")
    assert (code, out) == (0, f"http://127.0.0.1:9/#token={TOKEN}\n")


def test_sessions_and_pairing_are_listed(state_dir: Path) -> None:
    def lists(asked: Asked) -> None:
        pending = {"channel": "telegram", "code": "ABC", "senderId": "7", "senderName": "Ann"}
        rows = {
            "sessions.list": {"sessions": [{"key": "agent:main:main", "kind": "direct"}]},
            "channels.pairing.list": {"requests": [{**pending, "createdAtMs": 1}]},
        }
        asked.result(rows.get(asked.method, {"decision": "approved"}))

    with double(lists) as gateway:
        assert "agent:main:main" in ctl(state_dir, "sessions", "list", gateway=gateway)[1]
        assert "Ann (7)" in ctl(state_dir, "pairing", "list", gateway=gateway)[1]
        assert "Nobody" in ctl(state_dir, "pairing", "list", "slack", gateway=gateway)[1]
        code, out, _ = ctl(state_dir, "pairing", "approve", "telegram", "ABC", gateway=gateway)
    assert (code, out) == (0, "Approved: ABC on telegram\n")
    assert gateway.asked[-1] == (
        "channels.pairing.approve",
        {"channel": "telegram", "code": "ABC"},
    )


@pytest.mark.parametrize("noun", ["agent", "call", "health", "logs", "status"])
def test_every_help_has_an_example(state_dir: Path, noun: str) -> None:
    code, out, _ = ctl(state_dir, noun, "--help")
    assert code == 0
    assert f"gatewayctl {noun}" in out


def test_an_unknown_noun_is_a_usage_error(state_dir: Path) -> None:
    code, _, err = ctl(state_dir, "stats")
    assert code == 2
    assert "stats" in err


def test_a_reader_that_has_seen_enough_ends_us_quietly(state_dir: Path) -> None:
    (state_dir / "logs/gatewayd.log").write_text("a line of the log\n" * 5_000)
    process = start(state_dir, "logs", "--limit", "5000", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(10) == 1
    assert [line for line in said.splitlines() if "nothing answers" not in line] == []


def test_status_loads_nothing_it_does_not_need(state_dir: Path) -> None:
    heavy = ["asyncio", "zmq", "starlette", "supervisor", "psutil", "xmlrpc", "sqlite3"]
    script = (
        "import sys; from gatewayd.ctl import main; import gatewayd.ctl.status;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_a_full_disk_behind_stdout_is_told_in_one_line(state_dir: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "--help"],
            cwd=ROOT,
            env={**os.environ, "GATEWAYD_STATE_DIR": str(state_dir)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "gatewayctl: [Errno 28] No space left on device\n"
