"""The order in which a device at the door is judged: proof, then secret or token."""

import json
from typing import Any

import pytest

from gatewayd.protocol.auth import Authenticator, Secret
from gatewayd.protocol.claims import Doors, Moment, judge_claim
from gatewayd.protocol.devices import Book, Wish
from gatewayd.protocol.handshake import Claim, Knock, Rejected, judge
from gatewayd.protocol.identity import Seen
from gatewayd.protocol.limiter import MAX_FAILURES
from tests.kit.device import Device
from tests.kit.wire import connect_request

TOKEN, NONCE, AT = "s3cret", "n-1", 1_767_225_600_000
REMOTE = Knock("192.0.2.1", is_local=False, nonce=NONCE)
DEVICE = Device(bytes(32))
OLD = AT - 600_001


def doors(book: Book | None = None, mode: str = "token") -> Doors:
    return Doors(Authenticator(Secret(mode, TOKEN)), book or Book(), Seen())


def outcome(
    at: Doors, token: str = TOKEN, knock: Knock = REMOTE, *, signed: dict[str, Any] | None = None,
    block: dict[str, Any] | None = None, **params: Any,
) -> Wish | dict[str, Any]:  # fmt: skip
    """What is asked for, or the error; `signed` changes what is signed, `block` what is sent."""
    request = connect_request(token, **params)
    sign = {"nonce": NONCE, "signed_at": AT, **(signed or {})}
    request["params"]["device"] = {**DEVICE.block(request["params"], **sign), **(block or {})}
    claim = judge(json.dumps(request).encode(), knock, at.auth, 0.0)
    if isinstance(claim, Claim):
        verdict = judge_claim(claim, knock, at, Moment(0.0, AT))
        if isinstance(verdict, Wish):
            return verdict
        claim = verdict
    assert isinstance(claim, Rejected)
    assert claim.answer is not None
    return {"close": claim.code, **json.loads(claim.answer)["error"]}


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("protocol mismatch", {"minProtocol": 9, "maxProtocol": 9}),
    ("invalid role", {"role": "god"}),
    ("device identity mismatch", {"block": {"id": "0" * 64}}),
    ("device signature expired", {"signed": {"signed_at": OLD}}),
    ("device nonce mismatch", {"signed": {"nonce": "n-2"}}),
    ("device signature invalid", {"block": {"signature": "AA"}}),
    ("unauthorized: gateway token mismatch", {"token": "wrong"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_of_several_faults_the_first_in_the_order_is_told(first: int):
    merged: dict[str, Any] = {}
    for _, fault in reversed(FAULTS[first:]):
        for name, value in fault.items():
            known = merged.get(name)
            merged[name] = {**known, **value} if isinstance(known, dict) else value
    error = outcome(doors(), **merged)
    assert isinstance(error, dict)
    assert error["message"].startswith(FAULTS[first][0])
    assert (error["code"], error["close"]) == ("INVALID_REQUEST", 1008 if first else 1002)


def test_a_nonce_is_required_of_everyone_but_a_peer_on_this_machine():
    unbound = {"signed": {"nonce": "", "version": "v1"}}
    error = outcome(doors(), **unbound)
    assert isinstance(error, dict)
    assert error["message"] == "device nonce required"
    here = Knock("127.0.0.1", is_local=True, nonce=NONCE)
    at = doors()
    wish = outcome(at, knock=here, **unbound)
    assert isinstance(wish, Wish)
    assert wish.remote_ip is None
    again = outcome(at, knock=here, **unbound)
    assert isinstance(again, dict)
    assert again["details"]["reason"] == "device-signature-replayed"


@pytest.mark.parametrize(
    ("params", "scopes"),
    [
        ({}, ("operator.admin",)), ({"scopes": ["operator.read"]}, ("operator.read",)),
        ({"scopes": ["operator.god", "operator.read"]}, ("operator.read",)),
        ({"role": "node", "scopes": ["operator.admin"]}, ()),
    ],
)  # fmt: skip
def test_the_scopes_wished_for_are_those_that_exist_for_the_role(params: dict, scopes: tuple):
    wish = outcome(doors(), **params)
    assert isinstance(wish, Wish)
    assert (wish.scopes, wish.remote_ip) == (scopes, "192.0.2.1")


def with_token(*scopes: str) -> Book:
    wish = outcome(doors(), scopes=list(scopes))
    assert isinstance(wish, Wish)
    book = Book()
    book.ask(wish, "r", AT)
    book.approve("r", ("operator.admin",), "own-token", AT)
    return book


def test_a_devices_own_token_serves_in_place_of_the_secret_and_for_no_more():
    book = with_token("operator.write")
    for mode in ("token", "password"):
        for scopes in (["operator.write"], ["operator.read"]):
            assert isinstance(outcome(doors(book, mode), "own-token", scopes=scopes), Wish)
    for more in ([], ["operator.admin"], ["operator.write", "operator.pairing"]):
        error = outcome(doors(book), "own-token", scopes=more)
        assert isinstance(error, dict)
        assert error["details"]["code"] == "AUTH_SCOPE_MISMATCH"
    other_role = outcome(doors(book), "own-token", role="node")
    assert isinstance(other_role, dict)
    assert other_role["details"]["code"] == "AUTH_TOKEN_MISMATCH"


def test_the_right_token_of_a_device_is_never_counted_as_a_guess():
    at = doors(with_token("operator.read"))
    for _ in range(MAX_FAILURES + 1):
        assert isinstance(outcome(at, "own-token", scopes=["operator.read"]), Wish)
    for _ in range(MAX_FAILURES + 1):
        error = outcome(at, "wrong")
    assert isinstance(error, dict)
    assert error["details"]["code"] == "AUTH_RATE_LIMITED"
    assert isinstance(outcome(at, "own-token", scopes=["operator.read"]), Wish)
