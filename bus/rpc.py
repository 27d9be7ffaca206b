"""How a method is declared: once, beside its handler. Everything else is derived. Pure.

    class Sessions:
        methods = Methods()

        @methods.method("sessions.list", scope=Scope.READ)
        def list(self, call: Call, params: ListParams) -> ListResult: ...

The params struct and the result type come from the handler's annotations.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

import msgspec

from bus.errors import INVALID_REQUEST, RpcError, invalid
from bus.messages import Caller, Method
from bus.wording import validation_text

DEFAULT_TIMEOUT_MS = 30_000
EMPTY_BYTES = len(b"null")
"""Params no longer than this may be none at all."""
UNLIMITED_MS = 0
"""For calls that last as long as the work they wait for."""


class Scope(StrEnum):
    """The right a method needs; `write` includes `read`, `admin` includes all."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    PAIRING = "pairing"
    APPROVALS = "approvals"
    NODE = "node"
    WORKER = "worker"
    """No client holds it: for the methods with which the front serves workers."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Params of a method: camelCase on the wire, unknown keys refused."""


class LooseParams(msgspec.Struct, frozen=True, rename="camel"):
    """Params of a method that ignores keys it does not know."""


class Result(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Result of a method: camelCase on the wire, members at their default left out."""


class NoParams(LooseParams, frozen=True):
    """The method takes nothing and ignores what it gets."""


class Call(Protocol):
    """One use of a method, as its handler sees it."""

    caller: Caller
    method: str

    def accept(self, payload: Any) -> None:
        """Sends a first answer; the handler's return value is the final one."""


Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True)
class Declaration:
    """A method as declared: name, right, time limit, params and result types, handler."""

    name: str
    scope: Scope
    timeout_ms: int
    params: type[msgspec.Struct]
    result: Any
    handler: Handler
    summary: str

    def row(self) -> Method:
        """The row of the announced method table."""
        return Method(self.name, self.scope.value, self.timeout_ms)


P = TypeVar("P", bound=msgspec.Struct)


class Reader(Generic[P]):
    """Reads params of one type; integers may be written 3.0, as the wire allows."""

    __slots__ = ("_decode", "_kind")

    def __init__(self, kind: type[P]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, body: bytes) -> P:
        """The params. Raises msgspec.DecodeError, RecursionError or UnicodeDecodeError."""
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
            return msgspec.convert(_integral(msgspec.json.decode(body)), self._kind)


class Bound:
    """A declared method with the object it acts on: decodes params, runs, knows nothing else."""

    __slots__ = ("_decode", "_handler", "_nothing", "declaration", "is_async", "scope")

    def __init__(self, declaration: Declaration, handler: Handler) -> None:
        self.declaration = declaration
        self.is_async = inspect.iscoroutinefunction(handler)
        """Whether a call returns an awaitable."""
        self.scope = declaration.scope.value
        """As plain text: hashing a member of an enum is a call into Python."""
        self._handler = handler
        self._decode = Reader(declaration.params)
        self._nothing: msgspec.Struct | None = None
        """Params of a request that brings none: decoded once, as they cannot change."""

    def __call__(self, call: Call, body: bytes) -> Any | Awaitable[Any]:
        """Result or awaitable of it. Raises RpcError for params the method does not take."""
        try:
            params = self._decode(body) if len(body) > EMPTY_BYTES else self._no_params(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            text = validation_text(str(error))
            raise invalid(f"invalid {self.declaration.name} params: {text}") from error
        return self._handler(call, params)

    def _no_params(self, body: bytes) -> msgspec.Struct:
        if body not in (b"", b"{}", b"null"):
            return self._decode(body)
        if self._nothing is None:
            self._nothing = self._decode(b"{}")
        return self._nothing


def _integral(value: Any) -> Any:
    """`value` with every float without a fraction as an int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _integral(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_integral(member) for member in value]
    return value


class Methods:
    """The methods a class declares, in the order of declaration."""

    def __init__(self) -> None:
        self.declarations: dict[str, Declaration] = {}

    def method(
        self, name: str, *, scope: Scope, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> Callable[[H], H]:
        """Declares the decorated handler as method `name`; it may be async or plain.

        Plain handlers run at once in the worker's loop and must not block.
        """

        def declare(handler: H) -> H:
            if name in self.declarations:
                raise ValueError(f"method {name} is declared twice")
            hints = get_type_hints(handler)
            params_name = list(inspect.signature(handler).parameters)[-1]
            summary = (inspect.getdoc(handler) or "").partition("\n")[0]
            self.declarations[name] = Declaration(
                name, scope, timeout_ms, hints[params_name], hints["return"], handler, summary
            )
            return handler

        return declare

    def bind(self, owner: object) -> dict[str, Bound]:
        """The declared methods acting on `owner`, by name."""
        return {
            name: Bound(declaration, declaration.handler.__get__(owner))
            for name, declaration in self.declarations.items()
        }


_encoder = msgspec.json.Encoder()


def result_frame(frame_id: str, payload: Any) -> bytes:
    """The `res` frame of a success; `frame_id` is JSON text."""
    body = payload if isinstance(payload, bytes) else _encoder.encode(payload)
    return success_frame(frame_id.encode(), body)


def success_frame(frame_id: bytes, payload: bytes) -> bytes:
    """The same from what is encoded already; joined, because formatting takes twice as long."""
    return b"".join((b'{"type":"res","id":', frame_id, b',"ok":true,"payload":', payload, b"}"))


def error_frame(frame_id: str, error: RpcError) -> bytes:
    """The `res` frame of a failure, with its payload if it has one."""
    payload = b""
    if error.payload is not None:
        payload = b'"payload":%b,' % _encoder.encode(error.payload)
    return b'{"type":"res","id":%b,"ok":false,%b"error":%b}' % (
        frame_id.encode(),
        payload,
        _encoder.encode(error.shape()),
    )


class _AnyResponse(msgspec.Struct, frozen=True):
    """A `res` frame as a caller reads it."""

    ok: bool
    payload: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] = {}


_decode_response = msgspec.json.Decoder(_AnyResponse).decode


def read_response(frame: bytes) -> bytes:
    """The payload of a `res` frame. Raises the RpcError it carries."""
    response = _decode_response(frame)
    if response.ok:
        return bytes(response.payload)
    shape = response.error
    raise RpcError(
        str(shape.get("code", INVALID_REQUEST)),
        str(shape.get("message", "unknown error")),
        details=shape.get("details"),
        retry_after_ms=shape.get("retryAfterMs"),
        payload=msgspec.json.decode(response.payload) if response.payload != b"null" else None,
    )
