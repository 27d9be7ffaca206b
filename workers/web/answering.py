"""The answer to a request that waits for a run: whole or as server-sent events."""

import asyncio
from typing import Any, Protocol

import msgspec
from starlette.types import Message, Receive, Scope, Send

from bus.errors import RpcError
from workers.web.listener import LEFT
from workers.web.outcome import Outcome
from workers.web.refusals import HttpError, of_run
from workers.web.runs import Ask, Run, Runs

STILL_HERE = b": waiting\n\n"
_HEADERS = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_encode = msgspec.json.Encoder().encode


class Form(Protocol):
    """How one API words a run; stateful where its events count."""

    def whole(self, outcome: Outcome) -> dict[str, Any]:
        """The answer in one piece."""
        ...

    def begin(self) -> bytes:
        """The first events."""
        ...

    def piece(self, text: str) -> bytes:
        """More text."""
        ...

    def end(self, outcome: Outcome) -> bytes:
        """The last events of a run that ended well."""
        ...

    def broken(self, error: RpcError) -> bytes:
        """The last events of a run that did not."""
        ...


class RunAnswer:
    """An ASGI answer that lasts as long as its run; the run ends when the client goes."""

    def __init__(self, runs: Runs, ask: Ask, form: Form, *, is_streamed: bool) -> None:
        self._runs = runs
        self._ask = ask
        self._form = form
        self._is_streamed = is_streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, unless the client leaves before."""
        async with asyncio.TaskGroup() as tasks:
            left: asyncio.Event = scope["state"][LEFT]
            gone = tasks.create_task(left.wait(), name="client gone")
            work = tasks.create_task(self._answer(send), name="http answer")
            await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            work.cancel()

    async def _answer(self, send: Send) -> None:
        was_accepted = False
        try:
            async with self._runs.run(self._ask, is_streamed=self._is_streamed) as run:
                was_accepted = run.is_accepted
                if self._is_streamed:
                    await self._stream(run, send)
                else:
                    body = _encode(self._form.whole(await run.outcome()))
                    await _send_whole(send, 200, "application/json", [], body)
        except RpcError as error:
            await send_refusal(send, of_run(error, was_accepted=was_accepted))

    async def _stream(self, run: Run, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *_HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send_piece(send, self._form.begin())
        try:
            while (text := await run.piece()) is not None:
                await _send_piece(send, self._form.piece(text) if text else STILL_HERE)
            last = self._form.end(await run.outcome())
        except RpcError as error:
            last = self._form.broken(error)
        await _send_piece(send, last + b"data: [DONE]\n\n", is_last=True)


async def send_refusal(send: Send, refusal: HttpError) -> None:
    """Sends a refusal as the whole answer."""
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in refusal.headers.items()]
    await _send_whole(send, refusal.status, refusal.media_type, headers, refusal.body)


async def _send_whole(
    send: Send, status: int, media_type: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    described = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        *(headers or _HEADERS[:1]),
    ]
    start: Message = {"type": "http.response.start", "status": status, "headers": described}
    await send(start)
    await _send_piece(send, body, is_last=True)


async def _send_piece(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})
