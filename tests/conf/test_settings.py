"""Config files as people write them: what is taken, and how every error is told."""

from pathlib import Path

import pytest

from conf.paths import resolve
from conf.settings import LARGEST_CONFIG_BYTES, ConfigError, Loaded, load, load_or_last_good


def read(tmp_path: Path, text: str | bytes, environ: dict[str, str] | None = None) -> Loaded:
    path = tmp_path / "gatewayd.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ or {})


def problems(tmp_path: Path, text: str | bytes, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text, environ)
    assert str(error.value).startswith(str(tmp_path / "gatewayd.json"))
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("text", ["", " \n", "{}", "// only a comment\n{}", "\ufeff{}"])
def test_an_empty_file_is_valid(tmp_path: Path, text: str):
    loaded = read(tmp_path, text)
    assert (loaded.settings.gateway.port, loaded.exists) == (18789, True)


def test_a_missing_file_is_valid(tmp_path: Path):
    assert load(tmp_path / "none.json", {}).exists is False


def test_json5_is_understood(tmp_path: Path):
    text = "{gateway: {port: 20000, /* c */ auth: {token: 'a b',},}, // end\n}"
    assert read(tmp_path, text).settings.gateway.auth.token == "a b"


def test_every_error_is_told_at_once_with_the_nearest_key(tmp_path: Path):
    found = problems(
        tmp_path,
        '{gatway: {}, gateway: {prot: 1, port: "x", bind: "all", auth: {tokn: "a"}},'
        " agents: {list: [{id: 'A B'}, {}]}, channels: {pigeon: {}}}",
    )
    text = "\n".join(found)
    for expected in (
        "gatway: unknown key; did you mean `gateway`?",
        "gateway.prot: unknown key; did you mean `port`?",
        "gateway.port: ", "gateway.bind: ", "gateway.auth.tokn: ", "agents.list[0].id: ",
        "agents.list[1].id: required, but not set", "channels.pigeon: unknown channel",
    ):  # fmt: skip
        assert expected in text
    assert len(found) == 8


@pytest.mark.parametrize("port", ["0", "65536", "-1", "1.5", "'1'", "null", "true", "1e999"])
def test_a_port_is_a_port(tmp_path: Path, port: str):
    assert len(problems(tmp_path, f"{{gateway: {{port: {port}}}}}")) == 1


def test_references_are_read_from_the_environment(tmp_path: Path):
    text = '{gateway: {auth: {token: "a-${MY_TOKEN}-b", password: "$HOME ${x}"}}}'
    auth = read(tmp_path, text, {"MY_TOKEN": "secret"}).settings.gateway.auth
    assert (auth.token, auth.password) == ("a-secret-b", "$HOME ${x}")
    assert problems(tmp_path, text)[0].startswith("gateway.auth.token: ${MY_TOKEN} is not set")


@pytest.mark.parametrize("text", ["{gateway:", "{a:1,,}", "{\n  gateway: }", "nonsense", "{'a' 1}"])
def test_a_syntax_error_says_where(tmp_path: Path, text: str):
    (told,) = problems(tmp_path, text)
    assert told.startswith("not valid JSON5")
    if "\n" in text:
        assert "line 2" in told


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_a_config_is_one_object(tmp_path: Path, text: str):
    assert problems(tmp_path, text) == ["must be one object: { … }"]


def test_bytes_that_are_no_text_are_told(tmp_path: Path):
    assert problems(tmp_path, b'{"a":"\xff"}') == ["not UTF-8 at byte 6; save it as UTF-8"]


@pytest.mark.parametrize("depth", [300, 900, 5_000, 100_000])
def test_very_deep_files_are_an_error_like_any_other(tmp_path: Path, depth: int):
    assert problems(tmp_path, '{"x":' + "[" * depth + "]" * depth + "}")


def test_a_huge_file_is_refused(tmp_path: Path):
    assert "larger than" in problems(tmp_path, b" " * (LARGEST_CONFIG_BYTES + 1))[0]


def test_a_directory_is_no_config(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})


def test_values_that_look_secret_are_not_repeated(tmp_path: Path):
    secret = "x" * 30
    for text in (f'{{gateway:{{auth:"{secret}"}}}}', f'{{gateway:{{port:"{secret}"}}}}'):
        assert secret not in "".join(problems(tmp_path, text))


def test_a_broken_edit_leaves_the_last_good_config(tmp_path: Path):
    paths = resolve(environ={"HOME": str(tmp_path), "GATEWAYD_STATE_DIR": str(tmp_path)})
    paths.config.write_text("{broken")
    with pytest.raises(ConfigError):
        load_or_last_good(paths)
    paths.last_good_config.write_text("{gateway:{port:20001}}")
    loaded, error = load_or_last_good(paths)
    assert loaded.settings.gateway.port == 20001
    assert error is not None
