"""Secrets are hidden from readers, and come back when readers write what they read."""

import string
from typing import Any

import pyjson5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.redaction import MARK, NotStoredError, redact, redact_text, restore


@pytest.mark.parametrize(
    "key",
    ["token", "botToken", "PASSWORD", "clientSecret", "apiKey", "api-key", "api_key", "x_Tokens"],
)
def test_the_name_of_a_key_makes_a_secret(key: str):
    assert redact({key: "hide me"}) == {key: MARK}
    assert redact({"a": [{key: {"deep": ["hide me"]}}]}) == {"a": [{key: {"deep": [MARK]}}]}


@pytest.mark.parametrize(
    "value",
    [{"contextTokens": 2048}, {"maxTokens": 1.5}, {"token": None}, {"token": ""}, {"token": True}],
)
def test_amounts_and_empty_values_are_shown(value: dict[str, Any]):
    assert redact(value) == value
    assert pyjson5.loads(redact_text(pyjson5.dumps(value))) == value


def test_a_number_can_be_a_secret():
    assert redact({"password": 12345}) == {"password": MARK}


def test_a_text_is_redacted_in_place_duplicates_and_escaped_names_too():
    text = '{ /* c */ token: \'one\', "to\\u006ben": "two", port: 1, // end\n}'
    hidden = redact_text(text)
    assert "one" not in hidden
    assert "two" not in hidden
    assert hidden.startswith("{ /* c */ token: ")
    assert hidden.endswith("port: 1, // end\n}")


STORED = {
    "gateway": {"auth": {"token": "t-1", "password": "${PASS}"}, "hosts": ["${HOST}"]},
    "list": [{"id": "a", "token": "t-a"}, {"id": "b", "token": "t-b"}],
}


def written_back(value: Any, stored: Any = None, resolved: Any = None) -> Any:
    stored = STORED if stored is None else stored
    text = pyjson5.dumps(value)
    return pyjson5.loads(restore(text, stored, resolved if resolved is not None else stored))


def test_what_was_read_can_be_written_back():
    assert written_back(redact(STORED)) == STORED
    text = "{token: 'a\"b' /* c */}"
    assert pyjson5.loads(restore(redact_text(text), {"token": 'a"b'}, {})) == {"token": 'a"b'}


def test_the_mark_of_other_brands_is_understood():
    value = {"gateway": {"auth": {"token": "__OPENCLAW_REDACTED__"}}}
    assert written_back(value) == {"gateway": {"auth": {"token": "t-1"}}}


def test_items_of_a_list_are_found_by_their_id():
    value = {"list": [{"id": "b", "token": MARK}]}
    assert written_back(value) == {"list": [{"id": "b", "token": "t-b"}]}


@pytest.mark.parametrize(
    "value",
    [
        {"gateway": {"auth": {"secret": MARK}}},
        {"other": {"token": MARK}},
        {"list": [{"id": "c", "token": MARK}]},
        {"list": [{"token": MARK}]},
        {"gateway": {"port": MARK}},
        {"gateway": {"auth": {"token": f"Bearer {MARK}"}}},
    ],
)
def test_a_mark_with_nothing_behind_it_is_an_error_that_names_the_key(value: Any):
    with pytest.raises(NotStoredError, match=r"gateway|other|list"):
        written_back(value)


def test_a_reference_that_was_read_as_its_value_stays_a_reference():
    resolved = {"gateway": {"auth": {"token": "t-1", "password": "p"}, "hosts": ["example.org"]}}
    stored = {"gateway": STORED["gateway"]}
    assert written_back(redact(resolved), stored, resolved) == stored
    changed = {"gateway": {"hosts": ["other.org"]}}
    assert written_back(changed, stored, resolved) == changed


NAMES = st.sampled_from(["token", "apiKey", "port", "maxTokens", "list", "secrets", "é"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(string.printable, max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_round_trip_gives_the_file_back(value: dict[str, Any]):
    text = str(pyjson5.dumps(value))
    assert pyjson5.loads(redact_text(text)) == redact(value)
    assert pyjson5.loads(restore(redact_text(text), value, value)) == value
