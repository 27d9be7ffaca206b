"""config.* over the port of a real gateway: every documented answer and refusal."""

import hashlib
import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyjson5
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conf.redaction import MARK
from gatewayd.client import Client, GatewayError, Identity
from tests.kit.gateway import Tree, scripted
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.processes

NEVER_MS = 60_000
"""The longest delay: no worker is replaced before the test is over."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("config") / "state", scripted(play=[{"text": "hi"}]))
    try:
        tree.start()
        yield tree
    finally:
        tree.stop()


@pytest.fixture
def client(tree: Tree) -> Iterator[Client]:
    with tree.client() as client:
        yield client


@pytest.fixture
def file(tree: Tree) -> Iterator[Path]:
    """The config file, put back after the test."""
    path = tree.state_dir / "gatewayd.json"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def ask(client: Client, method: str, raw: Any, **params: Any) -> Any:
    """A write that names the present hash."""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    known = {"baseHash": client.call("config.get")["hash"]}
    delay = {} if method == "config.set" else {"restartDelayMs": NEVER_MS}
    return client.call(method, {"raw": text, **known, **delay, **params})


def refusal(call: Callable[[], Any]) -> tuple[str, str, Any]:
    with pytest.raises(GatewayError) as error:
        call()
    return error.value.code, error.value.message, error.value.details


def test_get_tells_everything_but_the_secrets(tree: Tree, client: Client, file: Path) -> None:
    found = client.call("config.get", {})
    assert set(found) == {
        "path", "exists", "raw", "parsed", "valid", "config", "hash", "issues", "warnings",
        "legacyIssues",
    }  # fmt: skip
    assert (found["path"], found["exists"], found["valid"]) == (str(file), True, True)
    assert found["hash"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["parsed"]["gateway"]["auth"]["token"] == MARK
    assert pyjson5.loads(found["raw"]) == found["parsed"]
    assert (found["issues"], found["warnings"], found["legacyIssues"]) == ([], [], [])
    assert tree.token not in json.dumps(found)


def test_get_describes_a_broken_file_without_failing(client: Client, file: Path) -> None:
    file.write_text("{gatway: {}, gateway: {auth: {token: 12345678}}}")
    found = client.call("config.get")
    assert found["valid"] is False
    assert {"path": "gatway", "message": "unknown key; did you mean `gateway`?"} in found["issues"]
    assert "12345678" not in json.dumps(found)
    file.write_text("{ token: 'abcdefgh")
    found = client.call("config.get")
    assert (found["valid"], found["raw"], found["parsed"]) == (False, None, {})
    assert "JSON5" in found["issues"][0]["message"]
    assert "abcdefgh" not in json.dumps(found)


def test_readers_are_refused(tree: Tree) -> None:
    with tree.client(identity=Identity(scopes=("operator.read",))) as client:
        for method in ("config.get", "config.schema", "config.set", "wizard.start", "update.run"):
            said = refusal(lambda method=method: client.call(method, {"raw": "{}"}))
            assert said[:2] == ("INVALID_REQUEST", "missing scope: operator.admin")


def test_the_methods_are_advertised(client: Client) -> None:
    names = [name for name in client.hello["features"]["methods"] if name.startswith("config.")]
    assert names == ["config.apply", "config.get", "config.patch", "config.schema", "config.set"]


def test_schema_and_hints(client: Client) -> None:
    found = client.call("config.schema", {})
    assert set(found) == {"schema", "uiHints", "version", "generatedAt"}
    assert found["schema"]["properties"]["gateway"]["type"] == "object"
    assert found["uiHints"]["gateway.auth.token"]["sensitive"] is True


def test_what_was_read_can_be_set_and_the_secret_comes_back(
    tree: Tree, client: Client, file: Path
) -> None:
    raw = client.call("config.get")["raw"]
    result = ask(client, "config.set", raw + "// mine\n")
    assert (result["ok"], result["path"]) == (True, str(file))
    assert result["config"]["gateway"]["auth"]["token"] == MARK
    text = file.read_text()
    assert pyjson5.loads(text)["gateway"]["auth"]["token"] == tree.token
    assert text.endswith("// mine\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("method", ["config.set", "config.apply", "config.patch"])
def test_the_base_hash_is_asked_for_and_compared(client: Client, method: str) -> None:
    assert refusal(lambda: client.call(method, {"raw": "{}"}))[:2] == (
        "INVALID_REQUEST",
        "config base hash required; re-run config.get and retry",
    )
    assert refusal(lambda: client.call(method, {"raw": "{}", "baseHash": "stale"}))[:2] == (
        "INVALID_REQUEST",
        "config changed since last load; re-run config.get and retry",
    )


@pytest.mark.parametrize("method", ["config.set", "config.apply", "config.patch"])
def test_bad_text_is_refused_with_the_place_and_writes_nothing(
    client: Client, file: Path, method: str
) -> None:
    before = file.read_bytes()
    code, message, _ = refusal(lambda: ask(client, method, "{\n  gateway: {,"))
    assert code == "INVALID_REQUEST"
    assert "not valid JSON5 near line 2" in message
    code, message, details = refusal(lambda: ask(client, method, "{gateway: {prot: 1}}"))
    assert (code, message) == ("INVALID_REQUEST", "invalid config")
    expected = {"path": "gateway.prot", "message": "unknown key; did you mean `port`?"}
    assert expected in details["issues"]
    code, message, details = refusal(
        lambda: ask(client, method, f"{{models: {{token: '{MARK}'}}}}")
    )
    assert code == "INVALID_REQUEST"
    assert "models.token" in message
    assert file.read_bytes() == before


@pytest.mark.parametrize("raw", ["[]", "1", "null", "'text'"])
def test_what_is_no_object_is_refused(client: Client, raw: str) -> None:
    said = refusal(lambda: ask(client, "config.patch", raw))
    assert said[:2] == ("INVALID_REQUEST", "config.patch raw must be an object")
    said = refusal(lambda: ask(client, "config.set", raw))
    assert said[:2] == ("INVALID_REQUEST", "invalid config")


def test_a_broken_file_is_set_anew_but_not_patched(tree: Tree, client: Client, file: Path) -> None:
    good = file.read_text()
    file.write_text("{gatway: {}}")
    said = refusal(lambda: ask(client, "config.patch", "{logging: {level: 'debug'}}"))
    assert said[:2] == ("INVALID_REQUEST", "invalid config; fix before patching")
    assert said[2]["issues"][0]["path"] == "gatway"
    assert ask(client, "config.set", good)["ok"] is True


def test_nobody_can_lock_everybody_out(client: Client) -> None:
    said = refusal(lambda: ask(client, "config.patch", "{gateway: {auth: null}}"))
    assert said[1] == "invalid config"
    (issue,) = said[2]["issues"]
    assert issue["path"] == "gateway.auth.token"
    assert "nobody could connect" in issue["message"]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "must have required property 'raw'"),
        ({"raw": ""}, "must NOT have fewer than 1 characters"),
        ({"raw": 1}, "at /raw: must be string"),
        ({"raw": "{}", "colour": 1}, "unexpected property 'colour'"),
        ({"raw": "{}", "restartDelayMs": -1}, "at /restartDelayMs: must be >= 0"),
    ],
)
def test_wrong_params_are_told(client: Client, params: dict[str, Any], text: str) -> None:
    code, message, _ = refusal(lambda: client.call("config.patch", params))
    assert code == "INVALID_REQUEST"
    assert text in message


def test_of_many_writers_with_one_hash_one_wins(tree: Tree, client: Client, file: Path) -> None:
    base = client.call("config.get")["hash"]
    text = file.read_text()

    def write(number: int) -> str:
        with tree.client() as other:
            try:
                params = {"raw": f"{text}// {number}\n", "baseHash": base}
                return str(other.call("config.set", params)["ok"])
            except GatewayError as error:
                return error.message

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(write, range(6)))
    assert outcomes.count("True") == 1
    assert outcomes.count("config changed since last load; re-run config.get and retry") == 5


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.text("{}[]:,'\"\\/*abc019.${}\n\u2028é", min_size=1, max_size=30))
def test_no_text_makes_a_write_fail_in_another_way_than_documented(
    client: Client, file: Path, raw: str
) -> None:
    before = file.read_bytes()
    params = {"raw": raw, "baseHash": hashlib.sha256(before).hexdigest()}
    # A text of so few characters can be no config that anybody could connect to.
    assert refusal(lambda: client.call("config.set", params))[0] == "INVALID_REQUEST"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("update.run", {}, "UNAVAILABLE", "does not update itself"),
        ("wizard.start", {"mode": "local"}, "UNAVAILABLE", "config.patch"),
        ("wizard.next", {"sessionId": "x"}, "INVALID_REQUEST", "wizard not found"),
        ("wizard.cancel", {"sessionId": "x"}, "INVALID_REQUEST", "wizard not found"),
        ("wizard.status", {"sessionId": "x"}, "INVALID_REQUEST", "wizard not found"),
        ("wizard.status", {}, "INVALID_REQUEST", "must have required property 'sessionId'"),
        ("wizard.start", {"mode": "moon"}, "INVALID_REQUEST", "at /mode: must be equal to one"),
        ("update.run", {"timeoutMs": 0}, "INVALID_REQUEST", "at /timeoutMs: must be >= 1"),
    ],
)
def test_what_is_not_there_says_so(
    client: Client, method: str, params: dict[str, Any], code: str, text: str
) -> None:
    said = refusal(lambda: client.call(method, params))
    assert said[0] == code
    assert text in said[1]


# From here on a replacement of the workers is due, a minute later.


def test_patch_merges_deletes_and_keeps_the_rest(client: Client, file: Path) -> None:
    file.write_text("// mine\n" + file.read_text()[:-1] + ", logging: {level: 'debug'}}\n")
    before = pyjson5.loads(file.read_text())
    raw = "{agents: {defaults: {timeoutSeconds: 120}}, logging: null, /* c */}"
    result = ask(client, "config.patch", raw, note="shorter", sessionKey="main")
    after = pyjson5.loads(file.read_text())
    before["agents"]["defaults"]["timeoutSeconds"] = 120
    del before["logging"]
    assert after == before
    assert file.read_text().startswith("// mine\n")
    restart, sentinel = result["restart"], result["sentinel"]
    assert (restart["ok"], restart["signal"], restart["mode"]) == (True, "SIGUSR1", "signal")
    assert restart["reason"] == "config.patch"
    assert 0 < restart["delayMs"] <= NEVER_MS
    assert restart["pending"] == ["logging"]
    assert result["warnings"] == []
    kept = json.loads(Path(sentinel["path"]).read_bytes())
    assert kept == {"version": 1, "payload": sentinel["payload"]}
    assert sentinel["payload"]["kind"] == "config-apply"
    assert sentinel["payload"]["message"] == "shorter"
    assert sentinel["payload"]["sessionKey"] == "main"
    assert sentinel["payload"]["stats"] == {"mode": "config.patch", "root": str(file)}


def test_apply_replaces_everything(tree: Tree, client: Client, file: Path) -> None:
    config = {"gateway": {"port": tree.port, "auth": {"token": MARK}}}
    result = ask(client, "config.apply", config)
    assert result["restart"]["reason"] == "config.apply"
    assert pyjson5.loads(file.read_text()) == {
        "gateway": {"port": tree.port, "auth": {"token": tree.token}}
    }


def test_a_later_change_does_not_put_off_an_earlier_restart(client: Client, file: Path) -> None:
    first = ask(client, "config.patch", {"logging": {"level": "debug"}}, restartDelayMs=50_000)
    second = ask(client, "config.patch", {"logging": {"level": "info"}}, restartDelayMs=60_000)
    assert second["restart"]["delayMs"] <= first["restart"]["delayMs"] <= 50_000


def test_a_patch_changes_what_the_workers_do_after_their_replacement(tmp_path: Path) -> None:
    config = scripted(one=[{"text": "first"}], two=[{"text": "second"}])
    tree = Tree(tmp_path / "state", config)
    try:
        tree.start()
        before = tree.pids()
        patch = {"agents": {"defaults": {"model": {"primary": "two/m"}}}}
        with tree.client() as client:
            result = ask(client, "config.patch", patch, restartDelayMs=0, note="the second")
        assert result["restart"]["effect"].startswith("the workers are replaced in 0 s")
        for name in ("agent", "channels", "web", "health"):
            tree.replaced(name, before[name], 30)
        after = tree.pids()
        assert (after["front"], after["supervisor"]) == (before["front"], before["supervisor"])
        sentinel = tree.state_dir / "restart-sentinel.json"
        wait_until(lambda: not sentinel.exists(), 15, "the note has been delivered")
        with tree.client() as client:
            wait_until(
                lambda: "the second" in json.dumps(client.call("status")), 10, "the session knows"
            )
            params = {"message": "which?", "idempotencyKey": "after-patch"}
            said = client.call("agent", params, on_accept=lambda _: None, timeout_s=30)
        assert said["result"]["payloads"][0]["text"] == "second"
    finally:
        tree.stop()
