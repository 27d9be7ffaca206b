"""The schema of the config file says what the loader takes; the hints name what exists."""

from typing import Any

import pytest

from conf.config_schema import config_schema, hints


def at(schema: Any, *path: str) -> Any:
    for name in path:
        schema = schema["properties"][name]
    return schema


def test_the_schema_needs_no_references_and_refuses_unknown_keys():
    schema = config_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$ref" not in str(schema)
    assert schema["additionalProperties"] is False
    assert at(schema, "gateway", "port") == {
        "type": "integer", "minimum": 1, "maximum": 65535, "default": 18789,
    }  # fmt: skip


def test_each_channel_has_its_own_section():
    channels = at(config_schema(), "channels")
    assert channels["additionalProperties"] is False
    assert "botToken" in at(channels, "telegram")["properties"]


@pytest.mark.parametrize(
    ("path", "member", "value"),
    [
        ("gateway.auth.token", "sensitive", True),
        ("models.providers.*.apiKey", "sensitive", True),
        ("channels.telegram.botToken", "sensitive", True),
        ("channels.telegram.botToken", "help", "From @BotFather."),
        ("agents.defaults.timeoutSeconds", "label", "Timeout seconds"),
        ("agents.list[].identity.name", "group", "agents"),
        ("channels.telegram", "label", "Telegram"),
    ],
)
def test_hints_name_the_setting(path: str, member: str, value: Any):
    assert hints()[path][member] == value


def test_amounts_of_tokens_are_no_secret():
    found = hints()
    assert "sensitive" not in found["agents.defaults.contextTokens"]
    assert "sensitive" not in found["models.providers.*.models[].maxTokens"]


def test_every_hint_stands_for_a_place_in_the_schema():
    schema = config_schema()
    for path in hints():
        place = schema
        for name in path.replace("[]", ".[]").split("."):
            kinds = place.get("anyOf", [place])
            place = next(k for k in kinds if k.get("type") != "null")
            if name == "*":
                place = place["additionalProperties"]
            else:
                place = place["items"] if name == "[]" else place["properties"][name]
