"""Which model answers."""

import msgspec
import pytest

from conf.schema import Settings
from workers.agent import models


def settings(**values: object) -> Settings:
    return msgspec.convert(values, Settings)


CLOUD = {
    "cloud": {"baseUrl": "http://127.0.0.1:1", "models": [{"id": "big", "contextWindow": 9_000}]}
}


def test_without_configuration_the_local_model_answers() -> None:
    choice = models.choose(settings(), "main")
    assert (choice.provider_id, choice.model, choice.provider.api) == (
        "local",
        "smollm2-135m",
        "local-gguf",
    )
    assert choice.context_tokens == 2_048


def test_a_configured_local_provider_keeps_its_settings_and_gets_the_model() -> None:
    own = settings(models={"providers": {"local": {"api": "local-gguf", "contextTokens": 512}}})
    choice = models.choose(own, "main")
    assert (choice.model, choice.context_tokens) == ("smollm2-135m", 512)


def test_an_agent_may_have_its_own_model() -> None:
    own = settings(
        models={"providers": CLOUD},
        agents={"list": [{"id": "a"}, {"id": "b", "model": {"primary": "cloud/big"}}]},
    )
    assert models.choose(own, "a").provider_id == "local"
    assert models.choose(own, "b").context_tokens == 9_000


@pytest.mark.parametrize(
    ("primary", "parts"),
    [
        ("big", ("<provider>/<model>",)),
        ("moon/big", ("no provider 'moon'", "cloud, local")),
        ("cloud/small", ("no such model", "cloud/big")),
    ],
)
def test_a_model_that_is_not_there_is_named_with_its_key_and_the_choices(
    primary: str, parts: tuple[str, ...]
) -> None:
    own = settings(
        models={"providers": CLOUD}, agents={"defaults": {"model": {"primary": primary}}}
    )
    with pytest.raises(models.ModelError, match=r"agents\.defaults\.model\.primary") as caught:
        models.choose(own, "main")
    assert all(part in str(caught.value) for part in parts)
    assert models.names(own, "main")[2] == 200_000


def test_the_place_named_is_the_agent_s_when_it_chose() -> None:
    own = settings(agents={"list": [{"id": "b", "model": {"primary": "x/y"}}]})
    with pytest.raises(models.ModelError, match=r"agents\.list\[b\]\.model"):
        models.choose(own, "b")
