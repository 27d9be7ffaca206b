"""Secrets, agents and sessions as headers and addresses name them."""

import pytest

from workers.web.headers import agent_of, bearer, is_foreign_form, secret_in_query, session_of


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        (None, None),
        ("", None),
        ("Bearer x", "x"),
        ("bearer  x ", "x"),
        ("BEARER a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic x", None),
        ("x", None),
    ],
)
def test_only_a_bearer_header_carries_the_secret(given: str | None, secret: str | None) -> None:
    assert bearer(given) == secret


def test_secrets_in_addresses_are_seen_however_they_are_written() -> None:
    assert secret_in_query(["a", "Token"]) == "Token"
    assert secret_in_query(["API_KEY"]) == "API_KEY"
    assert secret_in_query(["meta", "tokens"]) is None


@pytest.mark.parametrize(
    ("kind", "is_foreign"),
    [
        (None, False),
        ("application/json", False),
        ("application/json; charset=utf-8", False),
        ("text/plain", True),
        (" TEXT/plain;charset=utf-8", True),
        ("application/x-www-form-urlencoded", True),
        ("multipart/form-data; boundary=x", True),
    ],
)
def test_types_a_form_can_send_are_foreign(kind: str | None, is_foreign: bool) -> None:
    assert is_foreign_form(kind) is is_foreign


@pytest.mark.parametrize(
    ("headers", "model", "agent"),
    [
        ({}, "gatewayd", None),
        ({}, "gpt-4o", None),
        ({}, "openai/gpt-4o", None),
        ({}, "gatewayd/default", None),
        ({}, "opensoul:ops", "ops"),
        ({}, "OpenClaw/Ops", "ops"),
        ({}, "agent:ops", "ops"),
        ({}, "agent:../ops", None),
        ({"x-opensoul-agent-id": "home"}, "agent:ops", "home"),
        ({"x-clawdbot-agent": "home"}, "gatewayd", "home"),
        ({"x-opensoul-agent-id": " "}, "agent:ops", "ops"),
    ],
)
def test_a_header_names_the_agent_before_the_model_does(
    headers: dict[str, str], model: str, agent: str | None
) -> None:
    assert agent_of(headers, model) == agent


def test_a_session_is_the_one_named_else_the_users_else_a_new_one() -> None:
    named = {"x-argent-session-key": "agent:main:mine"}
    assert session_of(named, "main", "openai", "ada", "f") == "agent:main:mine"
    assert session_of({}, "ops", "openai", "ada", "f") == "agent:ops:openai-user:ada"
    assert session_of({}, "ops", "openai", None, "f") == "agent:ops:openai:f"
    assert len(session_of({}, "ops", "openai", "u" * 9_999, "f")) < 512
