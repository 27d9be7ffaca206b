"""Declaring methods, reading their params, saying what is wrong with them."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import (
    Call,
    LooseParams,
    Methods,
    NoParams,
    Params,
    Reader,
    Scope,
    error_frame,
    read_response,
    result_frame,
)


class Send(Params, frozen=True, kw_only=True):
    """Strict params."""

    session_key: Annotated[str, Meta(min_length=1)]
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    tags: tuple[str, ...] = ()
    flag: bool = False


class Service:
    methods = Methods()

    @methods.method("x.send", scope=Scope.WRITE, timeout_ms=5)
    def send(self, call: Call, params: Send) -> Send:
        """Says it back.

        At length.
        """
        return params

    @methods.method("x.none", scope=Scope.READ)
    def none(self, call: Call, params: NoParams) -> int:
        return 1


BOUND = Service.methods.bind(Service())


def use(body: bytes, method: str = "x.send") -> Any:
    call: Any = None
    return BOUND[method](call, body)


def test_a_declaration_says_everything_once():
    declaration = Service.methods.declarations["x.send"]
    assert (declaration.params, declaration.result) == (Send, Send)
    assert (declaration.summary, declaration.timeout_ms) == ("Says it back.", 5)
    assert tuple(getattr(declaration.row(), n) for n in ("name", "scope", "timeout_ms")) == (
        "x.send", "write", 5,
    )  # fmt: skip
    with pytest.raises(ValueError, match="declared twice"):
        Service.methods.method("x.send", scope=Scope.READ)(Service.none)


def test_names_on_the_wire_are_camel_case_and_integers_may_be_floats():
    assert use(b'{"sessionKey":"a","count":3.0}') == Send(session_key="a", count=3)


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"anything":[1]}'])
def test_absent_params_are_empty_ones(body: bytes):
    assert use(body, "x.none") == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "must have required property 'sessionKey'"),
        (b"null", "must have required property 'sessionKey'"),
        (b"[]", "must be object"),
        (b'{"sessionKey":7}', "at /sessionKey: must be string"),
        (b'{"sessionKey":""}', "at /sessionKey: must NOT have fewer than 1 characters"),
        (b'{"sessionKey":"a","count":0}', "at /count: must be >= 1"),
        (b'{"sessionKey":"a","count":10}', "at /count: must be <= 9"),
        (b'{"sessionKey":"a","count":1.5}', "at /count: must be integer"),
        (b'{"sessionKey":"a","count":"1"}', "at /count: must be integer"),
        (b'{"sessionKey":"a","flag":1}', "at /flag: must be boolean"),
        (b'{"sessionKey":"a","tags":"x"}', "at /tags: must be array"),
        (b'{"sessionKey":"a","tags":["x",1]}', "at /tags/1: must be string"),
        (b'{"sessionKey":"a","x/y":1}', "at root: unexpected property 'x/y'"),
    ],
)
def test_what_is_wrong_is_said_in_the_protocols_words(body: bytes, text: str):
    with pytest.raises(RpcError) as wrong:
        use(body)
    assert (wrong.value.code, wrong.value.message) == (
        "INVALID_REQUEST", f"invalid x.send params: {text}",
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 100_000,
        b'{"sessionKey":"\xff"}',
        b"\xff",
        b'{"sessionKey":"a","count":3.0,"tags":' + b"[" * 100_000,
    ],
)
def test_no_bytes_are_more_than_a_bad_request(body: bytes):
    with pytest.raises(RpcError, match=r"invalid x\.send params: "):
        use(body)


def test_what_a_client_wrote_is_not_repeated_at_length():
    with pytest.raises(RpcError) as wrong:
        use(b'{"sessionKey":"a","%b":1}' % (b"k" * 100_000))
    assert len(wrong.value.message) < 500


def test_a_reader_leaves_real_fractions_alone():
    class Loose(LooseParams, frozen=True):
        ratio: float = 0.0
        whole: int = 0

    read = Reader(Loose)(b'{"ratio":0.5,"whole":2.0}')
    assert (read.ratio, read.whole) == (0.5, 2)
    with pytest.raises(msgspec.ValidationError):
        Reader(Loose)(b'{"whole":2.5}')


def test_frames_say_nothing_they_need_not():
    assert result_frame('"1"', {"a": 1}) == b'{"type":"res","id":"1","ok":true,"payload":{"a":1}}'
    assert error_frame('"1"', invalid("no")) == (
        b'{"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"no"}}'
    )
    assert unavailable("gone", 50).shape() == {
        "code": "UNAVAILABLE", "message": "gone", "retryable": True, "retryAfterMs": 50,
    }  # fmt: skip
    assert unavailable("gone", None).shape() == {"code": "UNAVAILABLE", "message": "gone"}


def test_a_callers_error_is_the_callees():
    error = RpcError("UNAVAILABLE", "m", details={"d": 1}, retry_after_ms=5, payload={"p": 1})
    with pytest.raises(RpcError) as raised:
        read_response(error_frame('"1"', error))
    assert raised.value.shape() == error.shape()
    assert raised.value.payload == {"p": 1}
    assert read_response(result_frame('"1"', [1])) == b"[1]"
