"""gatewayctl config and protocol: with a gateway that answers, and with none."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.gateway_double import Asked, double
from tests.ctl.test_gatewayctl import COMMAND, ROOT
from tests.kit.gateway import Tree, free_port, scripted

TEXT = """\
// Mine.
{
  gateway: { port: %d, auth: { token: "right-token" } },
  agents: { list: [{ id: "a" }, { id: "b", name: "B" }] }, // agents
}
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    path = tmp_path / "gatewayd.json"
    path.write_text(TEXT % free_port())
    path.chmod(0o600)
    return tmp_path


def config(state_dir: Path, *arguments: str, noun: str = "config") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAYD_")}
    done = subprocess.run(
        [*COMMAND, noun, *arguments],
        cwd=ROOT,
        env={**kept, "GATEWAYD_STATE_DIR": str(state_dir)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_path_prints_the_path(state_dir: Path) -> None:
    assert config(state_dir, "path") == (0, f"{state_dir / 'gatewayd.json'}\n", "")


def test_validate_says_what_the_start_would_say(state_dir: Path) -> None:
    path = state_dir / "gatewayd.json"
    assert config(state_dir, "validate") == (0, f"{path}: valid\n", "")
    path.write_text("{gateway: {prot: 1, auth: {token: 'x'}}, sesion: {}}")
    code, out, err = config(state_dir, "validate")
    assert (code, out) == (1, "")
    assert f"{path}: gateway.prot: unknown key; did you mean `port`?" in err
    assert f"{path}: sesion: unknown key; did you mean `session`?" in err
    code, out, _ = config(state_dir, "validate", "--json")
    assert (code, json.loads(out)["valid"]) == (1, False)
    path.write_text("{}")
    assert "nobody could connect" in config(state_dir, "validate")[2]
    path.unlink()
    assert config(state_dir, "validate")[0] == 0


def test_get_without_a_gateway_reads_the_file_with_its_defaults(state_dir: Path) -> None:
    assert config(state_dir, "get", "agents.list[1].name") == (0, "B\n", "")
    assert config(state_dir, "get", "agents.defaults.timeoutSeconds") == (0, "600\n", "")
    assert config(state_dir, "get", "channels.telegram.dmPolicy") == (0, "pairing\n", "")
    code, out, _ = config(state_dir, "get")
    assert (code, json.loads(out)["session"]["mainKey"]) == (0, "main")
    assert "right-token" not in out


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("gateway.prot", "gateway.prot: unknown key; did you mean `gateway.port`?"),
        ("gatway.port", "gatway: unknown key; did you mean `gateway`?"),
        ("channels.telegrm", "channels.telegrm: unknown key; did you mean `channels.telegram`?"),
        ("gateway.port.x", "gateway.port.x: unknown key; nothing stands below gateway.port"),
        ("agents.list[9]", "nothing stands below agents.list"),
        ("session.zzzz", "valid here: dmScope, mainKey"),
    ],
)
def test_get_of_an_unknown_key_names_file_key_and_nearest_key(
    state_dir: Path, key: str, text: str
) -> None:
    code, out, err = config(state_dir, "get", key)
    assert (code, out) == (1, "")
    assert err.startswith(f"gatewayctl: {state_dir / 'gatewayd.json'}: ")
    assert text in err


@pytest.mark.parametrize("key", ["", "a..b", "[", "a[x]", ".a"])
def test_a_key_that_is_none_is_a_usage_error(state_dir: Path, key: str) -> None:
    code, _, err = config(state_dir, "get", key) if key else config(state_dir, "set", "", "1")
    assert code == 2
    assert "agents.list[0].name" in err


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("agents.defaults.timeoutSeconds", "120", '"timeoutSeconds": 120'),
        ("agents.list[1].name", "Bee bee", '"Bee bee"'),
        ("agents.list[2]", "{id: 'c'}", '"c"'),
        ("gateway.allowedHosts", "['example.org']", '"example.org"'),
        ("logging.level", "debug", '"level": "debug"'),
    ],
)
def test_set_without_a_gateway_changes_the_file_and_keeps_its_comments(
    state_dir: Path, key: str, value: str, line: str
) -> None:
    path = state_dir / "gatewayd.json"
    code, out, err = config(state_dir, "set", key, value)
    assert (code, err) == (0, "")
    assert "when the gateway starts" in out
    text = path.read_text()
    assert line in text
    assert text.startswith("// Mine.\n{\n  gateway: { port:")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config(state_dir, "validate")[0] == 0


def test_set_to_null_removes_the_key(state_dir: Path) -> None:
    assert config(state_dir, "set", "agents.list[0]", "null")[0] == 0
    assert config(state_dir, "get", "agents.list[0].id")[1] == "b\n"
    assert config(state_dir, "set", "agents", "null")[0] == 0
    assert "agents:" not in (state_dir / "gatewayd.json").read_text()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("gateway.prot", "1", "gateway.prot: unknown key; did you mean `port`?"),
        ("gateway.port", "99999", "gateway.port: "),
        ("logging.level", "loud", "logging.level: "),
        ("gateway.auth.token", "null", "nobody could connect"),
    ],
)
def test_set_of_what_the_gateway_would_refuse_changes_nothing(
    state_dir: Path, key: str, value: str, text: str
) -> None:
    path = state_dir / "gatewayd.json"
    before = path.read_bytes()
    code, out, err = config(state_dir, "set", key, value)
    assert (code, out) == (1, "")
    assert str(path) in err
    assert text in err
    assert path.read_bytes() == before


def test_another_gateway_that_does_not_answer_is_an_error(state_dir: Path) -> None:
    before = (state_dir / "gatewayd.json").read_bytes()
    url = f"ws://127.0.0.1:{free_port()}"
    assert config(state_dir, "set", "logging.level", "debug", "--url", url)[0] == 1
    assert config(state_dir, "get", "--url", url)[0] == 1
    assert (state_dir / "gatewayd.json").read_bytes() == before


def test_a_running_gateway_is_asked_with_the_hash_it_gave(state_dir: Path) -> None:
    found = {"path": "/its/own.json", "parsed": {}, "config": {}, "hash": "h-1", "valid": True}

    def answer(asked: Asked) -> None:
        if asked.method == "config.get":
            asked.result(found)
        else:
            restart = {"effect": "at once"}
            asked.result({"ok": True, "path": found["path"], "restart": restart})

    with double(answer) as gateway:
        (state_dir / "gatewayd.json").write_text(TEXT % gateway.port)
        code, out, _ = config(state_dir, "set", "logging.level", "debug")
        got = config(state_dir, "get", "logging.level")
    assert (code, got) == (0, (0, "info\n", ""))
    assert out == "/its/own.json: logging.level is set\nTakes effect: at once\n"
    method, params = gateway.asked[1]
    assert method == "config.patch"
    assert params == {"raw": '{"logging":{"level":"debug"}}', "baseHash": "h-1"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("ctl") / "state", scripted(play=[{"text": "hi"}]))
    try:
        tree.start()
        yield tree
    finally:
        tree.stop()


@pytest.mark.processes
def test_a_real_gateway_is_read_and_changed(tree: Tree) -> None:
    path = tree.state_dir / "gatewayd.json"
    assert config(tree.state_dir, "get", "gateway.port") == (0, f"{tree.port}\n", "")
    code, out, err = config(tree.state_dir, "set", "gateway.prot", "1")
    assert (code, out) == (1, "")
    assert f"{path}: gateway.prot: unknown key; did you mean `port`?" in err
    code, out, err = config(tree.state_dir, "set", "agents.defaults.timeoutSeconds", "77")
    assert (code, err) == (0, "")
    assert "the workers are replaced" in out
    written = json.loads(path.read_text())
    assert written["agents"]["defaults"]["timeoutSeconds"] == 77
    assert written["gateway"]["auth"]["token"] == tree.token


def schema(tmp_path: Path) -> dict[str, Any]:
    code, out, err = config(tmp_path, "schema", noun="protocol")
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.processes
def test_every_advertised_method_is_in_the_protocol_schema(tree: Tree, tmp_path: Path) -> None:
    document = schema(tmp_path)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    with tree.client() as client:
        advertised = set(client.hello["features"]["methods"])
    assert advertised
    assert advertised - document["methods"].keys() == set()
    for method in document["methods"].values():
        assert {"summary", "scope", "params", "result"} <= method.keys()


def test_every_reference_of_the_protocol_schema_leads_somewhere(tmp_path: Path) -> None:
    document = schema(tmp_path)
    found = set(references(document))
    assert found
    names = {name.removeprefix("#/$defs/") for name in found}
    assert names - document["$defs"].keys() == set()
    assert set(document["frames"]) == {"protocol", "connect", "request", "response", "event"}
