"""Who may use the HTTP routes of a real tree, and what everybody else is told."""

import base64
import json
import socket
import time
from pathlib import Path

import pytest

from tests.kit.gateway import Tree, running, scripted
from tests.workers.web.conftest import PIXEL
from tests.workers.web.http_client import bearer, chat, fetch

pytestmark = pytest.mark.processes

POSTS = ("/v1/chat/completions", "/v1/responses", "/tools/invoke")
READS = ("/v1/models", "/v1/models/gatewayd")


def paths_with_methods() -> list[tuple[str, str]]:
    return [*(("POST", path) for path in POSTS), *(("GET", path) for path in READS)]


@pytest.mark.parametrize(("method", "path"), paths_with_methods())
@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer ", "Bearer", "wrong", "Basic {basic}"]
)  # fmt: skip
def test_without_the_secret_nothing_is_served(
    tree: Tree, method: str, path: str, header: str | None
) -> None:
    basic = base64.b64encode(f"x:{tree.token}".encode()).decode()
    headers = {} if header is None else {
        "Authorization": header.format(basic=basic, token=tree.token)
    }  # fmt: skip
    body = chat("x") if method == "POST" else None
    answer = fetch(tree, method, path, body, headers)
    assert answer.status == 401
    assert answer.json() == {"error": {"message": "Unauthorized", "type": "unauthorized"}}
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["token", "TOKEN", "access_token", "api_key", "password"])
@pytest.mark.parametrize(("method", "path"), paths_with_methods())
def test_a_secret_in_the_address_is_refused_even_beside_the_right_one(
    tree: Tree, method: str, path: str, name: str
) -> None:
    body = chat("x") if method == "POST" else None
    answer = fetch(tree, method, f"{path}?{name}={tree.token}", body)
    assert answer.status == 400
    assert tree.token not in answer.body.decode()


@pytest.mark.parametrize("path", POSTS)
def test_another_method_is_told_which_is_allowed(tree: Tree, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"):
        answer = fetch(tree, method, path)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
@pytest.mark.parametrize("has_secret", [True, False])
def test_what_a_form_of_another_site_can_send_is_refused(
    tree: Tree, path: str, kind: str, has_secret: bool
) -> None:
    secret = bearer(tree.token) if has_secret else {}
    answer = fetch(tree, "POST", path, chat("x"), {**secret, "Content-Type": kind})
    assert answer.status == 415


@pytest.mark.parametrize(
    ("method", "path", "scopes", "status"),
    [
        ("POST", "/v1/chat/completions", "operator.read", 403),
        ("POST", "/v1/responses", "operator.pairing", 403),
        ("POST", "/tools/invoke", "operator.read,operator.approvals", 403),
        ("GET", "/v1/models", "operator.approvals", 403),
        ("GET", "/v1/models", "operator.nonsense", 403),
        ("GET", "/v1/models", "operator.read", 200),
        ("GET", "/v1/models", "operator.write", 200),
        ("POST", "/v1/chat/completions", "operator.read, operator.write", 200),
        ("POST", "/v1/chat/completions", "operator.admin", 200),
    ],
)
def test_a_request_that_asks_for_fewer_rights_has_only_those(
    tree: Tree, method: str, path: str, scopes: str, status: int
) -> None:
    headers = {**bearer(tree.token), "x-openclaw-scopes": scopes}
    answer = fetch(tree, method, path, chat("x") if method == "POST" else None, headers)
    assert answer.status == status
    if status == 403:
        assert answer.json()["error"]["message"].startswith("missing scope: operator.")


def test_the_decision_is_not_a_method_of_clients(tree: Tree) -> None:
    with tree.client() as client:
        hello = client.hello["features"]["methods"]
        assert "gateway.authorize" not in hello
        params = {"address": "127.0.0.1", "scope": "read", "token": tree.token}
        with pytest.raises(Exception, match="unknown method: gateway"):
            client.call("gateway.authorize", params)


def test_a_huge_body_is_not_read_before_the_secret_is_judged(tree: Tree) -> None:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
        "Content-Type: application/json\r\nAuthorization: Bearer wrong\r\n\r\n"
    )
    for given in (head, head.replace("Content-Length: 1000000000", "Transfer-Encoding: chunked")):
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", tree.port), timeout=10) as client:
            client.sendall(given.encode())
            assert client.recv(65_536).startswith(b"HTTP/1.1 401")
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"tool": "x"}, 404, {"type": "not_found", "message": "Tool not available: x"}),
        ({"tool": " "}, 400, None),
        ({}, 400, None),
        ({"tool": "x", "args": []}, 400, None),
        (b"{", 400, None),
        ({"tool": "x", "pad": "p" * 2_097_152}, 400, None),
    ],
)
def test_no_tool_is_there_to_be_invoked(
    tree: Tree, body: object, status: int, error: dict[str, str] | None
) -> None:
    answer = fetch(tree, "POST", "/tools/invoke", body)
    assert answer.status == status
    if error is not None:
        assert answer.json() == {"ok": False, "error": error}
    else:
        assert answer.json()["error"]["type"] == "invalid_request_error"


VARIANTS = (
    "/V1/models", "//v1/models", "/v1//models", "/./v1/models", "/x/../v1/models", "/v1/models/",
    "/v1%2fmodels", "/v1/%6dodels", "/v1%252fmodels", "/v1/models;x=1", "/v1/models%00",
    "/v1\\models", "/v1/models%2f", "/%76%31/models", "/v1/mod%c0%ae", "/v1/models/../models",
    "/avatar/..%2f..%2fgatewayd.json", "/avatar/%2e%2e", "/assets/..%2fapp.py",
)  # fmt: skip


@pytest.mark.parametrize("path", VARIANTS)
def test_no_way_of_writing_a_path_goes_round_the_secret(tree: Tree, path: str) -> None:
    answer = fetch(tree, "GET", path, None, {"X-Forwarded-For": "192.0.2.1"})
    assert answer.status in (400, 401, 404)
    assert b"gatewayd/main" not in answer.body


@pytest.mark.parametrize(
    ("agent", "status", "url"),
    [
        ("main", 404, None),
        ("echo", 200, f"data:image/gif;base64,{PIXEL}"),
        ("failing", 200, "/avatar/failing"),
        ("far", 404, "https://example.org/face.png"),
        ("outside", 404, None),
        ("linked", 404, None),
        ("secret", 404, None),
        ("nobody", 404, None),
        ("NOT-an-id..", 404, None),
    ],
)
def test_an_agents_face_is_served_from_its_workspace_or_not_at_all(
    tree: Tree, agent: str, status: int, url: str | None
) -> None:
    answer = fetch(tree, "GET", f"/avatar/{agent}", headers={})
    assert answer.status == status
    assert fetch(tree, "HEAD", f"/avatar/{agent}", headers={}).status == status
    if status == 200:
        assert answer.headers["content-type"] == "image/gif"
        assert answer.body.startswith(b"GIF8")
    assert fetch(tree, "GET", f"/avatar/{agent}?meta=1", headers={}).json() == {"avatarUrl": url}
    assert fetch(tree, "POST", f"/avatar/{agent}", {}).status == 405


def test_a_face_is_for_this_machine_and_for_those_who_know_the_secret(tree: Tree) -> None:
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    assert fetch(tree, "GET", "/avatar/echo", headers=proxied).status == 401
    known = {**proxied, **bearer(tree.token)}
    assert fetch(tree, "GET", "/avatar/echo", headers=known).status == 200
    wrong = {**bearer("wrong")}
    assert fetch(tree, "GET", "/avatar/echo", headers=wrong).status == 401


def test_guesses_are_limited_for_http_and_websocket_together(tmp_path: Path) -> None:
    with running(tmp_path / "s", scripted(echo=[])) as tree:
        with tree.client() as before:
            for number in range(10):
                headers = bearer(f"guess-{number}")
                assert fetch(tree, "GET", "/v1/models", headers=headers).status == 401
            answer = fetch(tree, "GET", "/v1/models", headers=bearer("guess-11"))
            assert answer.status == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert "too many failed attempts" in answer.json()["error"]["message"]
            with pytest.raises(Exception, match="too many failed attempts"):
                tree.client()
            assert before.call("health")["ok"]
        log = tree.output() + "".join(
            path.read_text(errors="replace") for path in (tmp_path / "s").rglob("*.log*")
        )
        assert "client refused" in log
        assert "guess-" not in log
        assert json.dumps(tree.token) not in log
