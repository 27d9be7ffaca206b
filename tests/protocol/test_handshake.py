"""The first message of a connection: who comes in, in which order objections are raised."""

import json
from typing import Any

import pytest

from gatewayd.protocol.auth import Authenticator, Secret
from gatewayd.protocol.handshake import Admitted, Knock, Rejected, judge
from tests.kit.wire import connect_request

TOKEN = "s3cret"
KNOCK = Knock("192.0.2.1", is_local=False)


def verdict(token: str = TOKEN, mode: str = "token", **changes: Any) -> Admitted | Rejected:
    message = json.dumps(connect_request(token, **changes)).encode()
    return judge(message, KNOCK, Authenticator(Secret(mode, TOKEN)), 0.0)


def refusal(**changes: Any) -> dict[str, Any]:
    rejected = verdict(**changes)
    assert isinstance(rejected, Rejected)
    assert rejected.answer is not None
    return {"close": rejected.code, **json.loads(rejected.answer)["error"]}


def client(**changes: Any) -> dict[str, Any]:
    given = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli", **changes}
    return {name: value for name, value in given.items() if value is not ...}


def test_the_shared_secret_lets_a_client_in():
    admitted = verdict(scopes=["operator.read", "operator.write"])
    assert isinstance(admitted, Admitted)
    assert (admitted.frame_id, admitted.scopes) == (b'"c1"', ("operator.read", "operator.write"))


def test_a_client_that_asks_for_no_scope_gets_all_and_no_name_is_made_up():
    admitted, odd = verdict(scopes=[]), verdict(scopes=["operator.god", "operator.read"])
    assert isinstance(admitted, Admitted)
    assert isinstance(odd, Admitted)
    assert (admitted.scopes, odd.scopes) == (("operator.admin",), ("operator.read",))


@pytest.mark.parametrize(
    ("changes", "code", "message", "close"),
    [
        ({"minProtocol": 4, "maxProtocol": 9}, "INVALID_REQUEST", "protocol mismatch", 1002),
        ({"minProtocol": 1, "maxProtocol": 2}, "INVALID_REQUEST", "protocol mismatch", 1002),
        ({"role": "god"}, "INVALID_REQUEST", "invalid role", 1008),
        ({"role": "node"}, "NOT_PAIRED", "device identity required", 1008),
    ],
)
def test_objections_come_before_the_secret_is_looked_at(
    changes: dict, code: str, message: str, close: int
):
    for token in (TOKEN, "wrong"):
        error = refusal(token=token, **changes)
        assert (error["code"], error["message"], error["close"]) == (code, message, close)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"minProtocol": "3"}, "at /minProtocol: must be integer"),
        ({"minProtocol": 0}, "at /minProtocol: must be >= 1"),
        ({"minProtocol": 3.5}, "at /minProtocol: must be integer"),
        ({"extra": 1}, "at root: unexpected property 'extra'"),
        ({"auth": {"token": "x", "bootstrapToken": "y"}},
         "at /auth: unexpected property 'bootstrapToken'"),
        ({"client": client(version=...)}, "at /client: must have required property 'version'"),
        ({"client": client(version="")},
         "at /client/version: must NOT have fewer than 1 characters"),
        ({"client": client(id="mine")},
         "at /client/id: must be equal to one of the allowed values"),
        ({"client": client(mode="mine")},
         "at /client/mode: must be equal to one of the allowed values"),
        ({"caps": [""]}, "at /caps/0: must NOT have fewer than 1 characters"),
    ],
)  # fmt: skip
def test_bad_params_are_named(changes: dict, text: str):
    error = refusal(**changes)
    assert (error["message"], error["close"]) == (f"invalid connect params: {text}", 1008)


def test_integers_may_be_written_with_a_fraction_of_zero():
    assert isinstance(verdict(minProtocol=3.0, maxProtocol=3.0), Admitted)


@pytest.mark.parametrize(
    ("auth", "what"), [({"password": TOKEN}, "missing"), ({"token": "wrong"}, "mismatch")]
)
def test_a_client_without_the_secret_is_told_what_to_do(auth: dict, what: str):
    error = refusal(auth=auth)
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"].startswith(f"unauthorized: gateway token {what} (set gateway.remote.")
    error = refusal(auth=auth, client=client(id="opensoul-control-ui", mode="ui"))
    assert "Control UI settings" in error["message"]
    error = refusal(auth=auth, client=client(id="test", mode="test"))
    assert error["message"].endswith("(provide gateway auth token)")


@pytest.mark.parametrize("auth", [{}, {"token": ""}, {"token": "", "password": ""}])
def test_a_client_that_proves_nothing_is_asked_who_it_is(auth: dict):
    error = refusal(auth=auth)
    assert (error["code"], error["message"]) == ("NOT_PAIRED", "device identity required")
    assert error["details"] == {"code": "DEVICE_IDENTITY_REQUIRED"}


def test_only_the_modes_own_secret_counts():
    assert isinstance(verdict(mode="password"), Rejected)
    assert isinstance(verdict(mode="password", auth={"password": TOKEN}), Admitted)
    assert isinstance(verdict(auth={"password": TOKEN}), Rejected)


@pytest.mark.parametrize("key", ["deviceToken", "bootstrap", "tailscale"])
def test_no_other_credential_is_taken(key: str):
    assert "unexpected property" in refusal(auth={"token": TOKEN, key: "x"})["message"]
