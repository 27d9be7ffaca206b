"""The one name of a session."""

import msgspec
import pytest

from conf.schema import Settings
from workers.agent import keys


def settings(**values: object) -> Settings:
    return msgspec.convert(values, Settings)


OPS = settings(
    agents={"list": [{"id": "home"}, {"id": "ops", "default": True}]}, session={"mainKey": "Desk"}
)


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("main", "agent:ops:desk"),
        ("MAIN", "agent:ops:desk"),
        ("desk", "agent:ops:desk"),
        (" ", "agent:ops:desk"),
        ("global", "global"),
        ("unknown", "unknown"),
        ("agent:HOME:main", "agent:home:desk"),
        ("agent:home:Desk", "agent:home:desk"),
        ("agent:home:signal:group:aBc", "agent:home:signal:group:aBc"),
        ("Project X", "agent:ops:Project X"),
        ("agent:", "agent:ops:agent:"),
    ],
)
def test_aliases_are_mapped_and_other_keys_kept(key: str, kept: str) -> None:
    assert keys.canonical(OPS, key) == kept
    assert keys.canonical(OPS, kept) == kept


def test_without_configuration_there_is_one_agent_main() -> None:
    assert keys.known_agents(settings()) == ("main",)
    assert keys.canonical(settings(), "") == "agent:main:main"


def test_kinds_and_cron_runs_are_told_from_the_key() -> None:
    assert keys.kind("agent:main:telegram:group:5") == "group"
    assert keys.kind("agent:main:main") == "direct"
    assert keys.kind("global") == "global"
    assert keys.is_cron_run("agent:main:cron:job:run:7")
    assert not keys.is_cron_run("agent:main:cron:job")
