"""Streams over HTTP while clients leave and processes die."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.client import Client
from tests.kit.gateway import Tree, running, scripted
from tests.kit.waiting import wait_until
from tests.workers.web.http_client import Stream, bearer, chat, fetch

pytestmark = pytest.mark.processes

PATH = "/v1/chat/completions"
ENDLESS = [{"text": "begun"}, {"sleep_ms": 60_000}]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with running(tmp_path / "s", scripted(endless=ENDLESS)) as tree:
        yield tree


def phases(client: Client) -> Iterator[dict[str, Any]]:
    """The lifecycle of the runs, as it is published."""
    for event in client.events(timeout_s=15):
        if event.name == "agent" and event.payload["stream"] == "lifecycle":
            yield event.payload["data"]


def read_start(stream: Stream) -> Iterator[Any]:
    """Reads up to the first text; returns the rest."""
    events = stream.events()
    for event in events:
        if event["choices"][0]["delta"].get("content") == "begun":
            return events
    raise AssertionError("no text came")


def test_a_client_that_leaves_ends_its_run(tree: Tree) -> None:
    with tree.client() as operator:
        lives = phases(operator)
        with Stream(tree, PATH, chat("x")) as stream:
            read_start(stream)
        assert [next(lives)["phase"], next(lives).get("aborted")] == ["start", True]


def test_a_client_that_leaves_before_its_whole_answer_ends_its_run(tree: Tree) -> None:
    body = json.dumps(chat("x")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tree.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with tree.client() as operator:
        lives = phases(operator)
        with socket.create_connection(("127.0.0.1", tree.port), timeout=10) as client:
            client.sendall(head.encode() + body)
            assert next(lives)["phase"] == "start"
        assert next(lives)["aborted"] is True


def test_a_client_that_leaves_at_once_leaves_no_run_behind(tree: Tree) -> None:
    body = json.dumps(chat("x")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tree.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", tree.port), timeout=10) as client:
            client.sendall(head.encode() + body)
    assert fetch(tree, "GET", "/v1/models").status == 200
    web = tree.pids()["web"]

    def is_idle() -> bool:
        with tree.client() as operator:
            rows = operator.call("status")["processes"]
            agent = next(row for row in rows if row["name"] == "agent")
            return agent["runsDoneCount"] > 0 and not agent["runsRunning"] + agent["runsQueued"]

    wait_until(is_idle, 15, "every run has ended")
    assert tree.pids()["web"] == web


def test_a_killed_agent_ends_the_stream_with_an_error(tree: Tree) -> None:
    with Stream(tree, PATH, chat("x")) as stream:
        events = read_start(stream)
        started = time.monotonic()
        tree.kill("agent")
        *_, last = events
        assert time.monotonic() - started < 5
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["choices"][0]["delta"]["content"].startswith("Error: worker agent went away")
    assert last["error"]["code"] == "UNAVAILABLE"


def test_a_killed_web_worker_ends_the_stream_and_is_back(tree: Tree) -> None:
    pid = tree.pids()["web"]
    with Stream(tree, PATH, chat("x")) as stream:
        events = read_start(stream)
        started = time.monotonic()
        tree.kill("web")
        with pytest.raises((EOFError, http.client.IncompleteRead, ConnectionError)):
            list(events)
        assert time.monotonic() - started < 5
    tree.replaced("web", pid)
    assert fetch(tree, "GET", "/v1/models").status == 200


def test_a_killed_front_ends_the_stream_and_the_run(tree: Tree) -> None:
    with tree.client() as operator, Stream(tree, PATH, chat("x")) as stream:
        events = read_start(stream)
        seen = operator.events(timeout_s=10)
        run_id = next(event.payload["runId"] for event in seen if event.name == "agent")
        tree.kill("front")
        with pytest.raises((EOFError, http.client.IncompleteRead, ConnectionError)):
            list(events)
    said = tree.outcome(run_id)
    assert (said["status"], said["error"]) == ("error", "the run was aborted")


def test_without_its_workers_a_request_is_told_to_come_again(tree: Tree) -> None:
    pid = tree.pids()["agent"]
    os.kill(pid, signal.SIGSTOP)
    try:

        def refused() -> bool:
            answer = fetch(tree, "POST", PATH, chat("x"), bearer(tree.token))
            return answer.status == 503 and int(answer.headers["retry-after"]) >= 1

        wait_until(lambda: "silent" in str(readiness(tree)), 10, "the agent is silent")
        assert refused()
    finally:
        os.kill(pid, signal.SIGCONT)


def readiness(tree: Tree) -> Any:
    """What /readyz says."""
    return fetch(tree, "GET", "/readyz", headers={}).json()


def test_streams_one_after_the_other_and_side_by_side_hear_their_own_run(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(echo=[])) as tree:
        for _ in range(3):
            streams = [Stream(tree, PATH, chat(f"text {number}")) for number in range(3)]
            for number, stream in enumerate(streams):
                with stream:
                    said = [e["choices"][0]["delta"].get("content") or "" for e in stream.events()]
                    assert "".join(said) == f"text {number}"
