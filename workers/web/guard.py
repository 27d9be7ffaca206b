"""Who may use an HTTP route: headers are judged first, the body is read only then."""

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from bus.errors import RpcError
from bus.wording import validation_text
from workers.runtime import Worker
from workers.web import refusals
from workers.web.headers import bearer, is_foreign_form, named_header, secret_in_query

ASK_TIMEOUT_S = 5.0
"""For the front's word on a secret; it answers in milliseconds or is being replaced."""
BODY_TIMEOUT_S = 60.0
"""For a whole request body."""
HEARD_OUT = 4
"""Bodies up to so many times the limit are read to their end, and thrown away."""
FORWARDED = ("x-forwarded-for", "x-real-ip", "x-forwarded-host", "forwarded")

T = TypeVar("T", bound=msgspec.Struct)


class Authorized(msgspec.Struct, frozen=True, rename="camel"):
    """The front's answer: what a client may do, and whether it is on this machine."""

    scopes: tuple[str, ...] = ()
    is_local: bool = False


class Guard:
    """Asks the front about every request; remembers nothing."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def admit_post(self, request: Request, scope: str) -> None:
        """Lets a POST with JSON pass whose bearer holds `scope`. Raises HttpError."""
        if request.method != "POST":
            raise refusals.method_not_allowed("POST")
        if is_foreign_form(request.headers.get("content-type")):
            raise refusals.refused(
                415, refusals.INVALID, "send the body as JSON, with Content-Type: application/json"
            )
        await self.admit(request, scope)

    async def admit(self, request: Request, scope: str) -> None:
        """Lets a request pass whose bearer holds `scope`. Raises HttpError."""
        secret = self._secret(request)
        if secret is None:
            raise refusals.unauthorized()
        await self._ask(request, secret, scope)

    async def admit_reader(self, request: Request) -> None:
        """Lets pass who is on this machine without a proxy, or may read. Raises HttpError."""
        secret = self._secret(request)
        answer = await self._ask(request, secret, "read")
        if secret is None and not answer.is_local:
            raise refusals.unauthorized()

    def _secret(self, request: Request) -> str | None:
        name = secret_in_query(request.query_params.keys())
        if name is not None:
            raise refusals.invalid(
                f"query parameter {name!r}: secrets are taken from the header"
                " `Authorization: Bearer …` only, because addresses are logged on their way"
            )
        return bearer(request.headers.get("authorization"))

    async def _ask(self, request: Request, secret: str | None, scope: str) -> Authorized:
        requested = named_header(request.headers, "scopes") or ""
        question = {
            "token": secret,
            "scope": scope,
            "scopes": [name.strip() for name in requested.split(",") if name.strip()][:16],
            "address": request.client.host if request.client else "",
            "host": request.headers.get("host"),
            "isForwarded": any(name in request.headers for name in FORWARDED),
        }
        try:
            answer = await self._worker.call("gateway.authorize", question, timeout_s=ASK_TIMEOUT_S)
        except RpcError as error:
            raise refusals.of_authorization(error) from None
        return msgspec.json.decode(answer, type=Authorized)


async def read_json(request: Request, kind: type[T], most_bytes: int) -> T:
    """The body as `kind`. Raises HttpError for one that is too large, no JSON or of other shape."""
    body = await _read(request, most_bytes)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refusals.invalid(f"invalid request body: {validation_text(str(error))}") from None


async def _read(request: Request, most_bytes: int) -> bytes:
    """The body. One that is somewhat too large is heard out, so that its sender hears why."""
    announced = request.headers.get("content-length", "0")
    size_bytes = int(announced) if announced.isdigit() else 0
    limit_bytes = most_bytes * HEARD_OUT
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            if size_bytes <= limit_bytes:
                size_bytes = 0
                async for piece in request.stream():
                    size_bytes += len(piece)
                    if size_bytes <= most_bytes:
                        body += piece
                    elif size_bytes > limit_bytes:
                        break
    except TimeoutError:
        raise refusals.refused(408, refusals.INVALID, "the body took too long") from None
    except ClientDisconnect:
        raise refusals.invalid("the body ended early") from None
    if size_bytes > most_bytes:
        raise refusals.invalid(f"Payload too large: the body may have {most_bytes} bytes")
    return bytes(body)
