"""A config text changes where it must; comments, order and everything unrelated stay."""

import json
import string
from typing import Any

import pyjson5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.editing import edit, merge_patch
from conf.json5 import DEEPEST, UnscannableError, scan
from conf.profile import FIRST_CONFIG

TEXT = """\
// Mine.
{
  gateway: {
    port: 20000, // the port
    /* who */ auth: { token: 'a"b' },
  },
  agents: { defaults: { timeoutSeconds: 600 } }, // last
  // end
}
"""


def patched(text: str, patch: Any) -> tuple[str, bool]:
    return edit(text, merge_patch(pyjson5.loads(text) if text.strip() else {}, patch))


@pytest.mark.parametrize(
    ("current", "patch", "merged"),
    [
        ({"a": 1}, {"a": None}, {}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({}, {"a": [{"b": None}]}, {"a": [{"b": None}]}),
    ],
)
def test_a_merge_patch_does_what_its_specification_says(current: Any, patch: Any, merged: Any):
    assert merge_patch(current, patch) == merged


def test_one_changed_value_changes_nothing_else():
    text, is_kept = patched(TEXT, {"gateway": {"port": 20001}})
    assert (text, is_kept) == (TEXT.replace("20000", "20001"), True)


def test_a_new_key_comes_last_behind_the_comment_of_the_line():
    text, is_kept = patched(TEXT, {"logging": {"level": "debug"}, "gateway": {"bind": "lan"}})
    assert is_kept
    assert '    bind: "lan",\n  },\n' in text
    assert '// last\n  logging: {\n    "level": "debug"\n  },\n  // end\n' in text


def test_a_deleted_key_takes_its_line_with_it():
    text, _ = patched(TEXT, {"agents": None})
    assert text == TEXT.replace(
        "  agents: { defaults: { timeoutSeconds: 600 } }, // last\n", "   // last\n"
    )
    text, _ = patched(TEXT, {"gateway": {"auth": None}})
    assert "/* who */" in text
    assert "port: 20000, // the port" in text


def test_strict_json_stays_strict_json():
    text = '{"a": 1, "b": {"c": 2}}\n'
    for patch in ({"b": None}, {"a": None}, {"b": {"c": None}}, {"d": {"e": [1]}}, {"b": {"x": 1}}):
        edited, is_kept = patched(text, patch)
        assert is_kept
        assert pyjson5.loads(edited) == merge_patch(pyjson5.loads(text), patch)
        assert ",}" not in edited.replace(" ", "")
        assert '"' in edited


def test_the_first_config_keeps_its_comments_through_a_change():
    text = FIRST_CONFIG.format(profile="main", port="", token="t")
    edited, is_kept = patched(text, {"agents": {"defaults": {"model": {"primary": "a/b"}}}})
    assert is_kept
    assert [line for line in text.splitlines() if line not in edited.splitlines()] == []


def test_an_empty_file_becomes_plain_json():
    assert patched("", {"a": 1}) == ('{\n  "a": 1\n}\n', True)


def test_a_change_too_large_to_edit_in_says_so_and_loses_no_key():
    patch = {f"k{i}": i for i in range(200)}
    text, is_kept = patched(TEXT, patch)
    assert not is_kept
    assert pyjson5.loads(text) == merge_patch(pyjson5.loads(TEXT), patch)


def test_nesting_too_deep_for_a_config_is_an_error_of_the_scanner_and_none_of_the_edit():
    with pytest.raises(UnscannableError):
        scan("{a:" * (DEEPEST + 2) + "1" + "}" * (DEEPEST + 2))
    patch: Any = 1
    for _ in range(40):
        patch = {"a": patch}
    text, is_kept = patched(TEXT, patch)
    assert not is_kept
    assert json.loads(text) == merge_patch(pyjson5.loads(TEXT), patch)


@pytest.mark.parametrize("text", ["{a 1}", "{a:1", "[1", "{a:}", "{'a", "", "{:1}"])
def test_what_is_no_json5_is_an_error_of_the_scanner(text: str):
    with pytest.raises(UnscannableError):
        scan(text)


NAMES = st.text(string.ascii_letters + "$_-. é", min_size=1, max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("a\"'\\/*,{}:\n", max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def dressed(value: Any, draw: Any, depth: int = 0) -> str:
    """`value` as JSON5 with comments, bare names, trailing commas and odd spaces."""
    trivia = st.sampled_from(["", " ", "\n", "// x }\n", "/* { */", "\n  "])
    if isinstance(value, dict):
        members = [
            f"{draw(trivia)}{pyjson5.dumps(k)}{draw(trivia)}:{draw(trivia)}{dressed(v, draw)}"
            for k, v in value.items()
        ]
        tail = draw(st.sampled_from(["", ","])) if members else ""
        return "{" + f"{draw(trivia)},".join(members) + tail + draw(trivia) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dressed(v, draw) for v in value) + draw(trivia) + "]"
    return str(pyjson5.dumps(value))


@settings(max_examples=150, deadline=None)
@given(st.data(), OBJECTS, OBJECTS)
def test_every_edit_means_its_target_and_keeps_the_comments(data: Any, current: Any, patch: Any):
    text = dressed(current, data.draw)
    assert pyjson5.loads(text) == current
    edited, is_kept = patched(text, patch)
    assert is_kept
    assert pyjson5.loads(edited) == merge_patch(current, patch)
    twice, _ = edit(edited, merge_patch(current, patch))
    assert twice == edited
