"""What people are told of a model service's errors."""

import pytest

from conf.schema import Provider
from tests.workers.agent.runs_kit import spec_of
from workers.agent.providers.errors import ProviderError
from workers.agent.providers.remote import Sdk, plain_errors


class RefusedError(Exception):
    """What an SDK raises for an HTTP status."""

    status_code = 401
    body = {"error": {"message": "Incorrect API key provided: sk-very-secret."}}  # noqa: RUF012


class OtherError(Exception):
    """Any other error of an SDK."""


SDK = Sdk(TimeoutError, ConnectionError, RefusedError, OtherError)


@pytest.mark.parametrize("error", [RefusedError(), OtherError("no use for sk-very-secret")])
def test_a_key_that_the_service_repeats_is_not_told(error: Exception) -> None:
    spec = spec_of(Provider(api_key="sk-very-secret"))
    with pytest.raises(ProviderError, match=r"\[the key\]") as caught, plain_errors(spec, SDK):
        raise error
    assert "sk-very-secret" not in str(caught.value)
