"""A strict Bot API in this process: refuses what Telegram refuses, fails when a test says so."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "123456789:AAF-this_is_the_secret_part_of_a_token"
BOT = {"id": 123456789, "is_bot": True, "first_name": "Gate", "username": "gate_bot"}
PARAMS = {
    "getMe": set(),
    "getUpdates": {"offset", "timeout", "allowed_updates", "limit"},
    "sendMessage": {"chat_id", "text", "message_thread_id", "parse_mode"},
    "sendChatAction": {"chat_id", "action", "message_thread_id"},
}


@dataclass
class Failure:
    """One scripted bad answer."""

    status: int
    description: str = "scripted"
    retry_after: int | None = None
    takes_effect: bool = False
    """The message is taken all the same."""
    cuts: bool = False
    """The connection is cut instead of answered."""


@dataclass
class BotApi:
    """The state of the service."""

    root: str = ""
    token: str = TOKEN
    updates: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[tuple[str, float]] = field(default_factory=list)
    offsets: list[int | None] = field(default_factory=list)
    confirmed_up_to: int = 0
    polls_under_way: int = 0
    conflict_count: int = 0
    on_confirm: Callable[[int], None] = lambda _offset: None
    next_update_id: int = 1001
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    poll: asyncio.Task[Any] | None = None

    def say(self, text: str, chat: int = 42, **more: Any) -> int:
        """A person writes; returns the update id."""
        message = {
            "message_id": self.next_update_id,
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": "private", "first_name": "Ada"},
            "from": {"id": chat, "is_bot": False, "first_name": "Ada"},
            "text": text,
            **more,
        }
        return self.push({"message": {k: v for k, v in message.items() if v is not None}})

    def push(self, update: dict[str, Any]) -> int:
        update_id = self.next_update_id
        self.next_update_id += 1
        self.updates.append({"update_id": update_id, **update})
        self._wake()
        return update_id

    def texts(self, chat: int = 42) -> list[str]:
        return [message["text"] for message in self.sent if message["chat_id"] == chat]

    async def until(self, condition: Callable[[], Any], deadline_s: float = 20.0) -> None:
        """Returns when `condition` holds; it is looked at after every request."""
        async with asyncio.timeout(deadline_s), self.changed:
            await self.changed.wait_for(condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method, token = request.match_info["method"], request.match_info["token"]
        self.calls.append((method, asyncio.get_running_loop().time()))
        self._wake()
        if token != self.token:
            return refusal(401, "Unauthorized")
        if method not in PARAMS:
            return refusal(404, "Not Found: method not found")
        params = json.loads(await request.read())
        if not set(params) <= PARAMS[method] or request.content_type != "application/json":
            return refusal(400, f"Bad Request: params {sorted(params)}")
        failure = self.failures[method].popleft() if self.failures[method] else None
        if failure is not None and not failure.takes_effect:
            return self._fail(request, failure)
        answer = await getattr(self, f"_{method}")(params)
        return answer if failure is None else self._fail(request, failure)

    def _fail(self, request: web.Request, failure: Failure) -> web.Response:
        if failure.cuts:
            assert request.transport is not None
            request.transport.close()
        return refusal(failure.status, failure.description, failure.retry_after)

    async def _getMe(self, _params: dict[str, Any]) -> web.Response:  # noqa: N802 - its name
        return success(BOT)

    async def _getUpdates(self, params: dict[str, Any]) -> web.Response:  # noqa: N802
        offset = params.get("offset")
        self.offsets.append(offset)
        if self.poll is not None:
            self.poll.cancel()
        self.poll = mine = asyncio.current_task()
        if offset is not None:
            self.on_confirm(offset)
            self.confirmed_up_to = max(self.confirmed_up_to, offset)
            self.updates = [u for u in self.updates if u["update_id"] >= offset]
        try:
            async with asyncio.timeout(params.get("timeout", 0)), self.changed:
                await self.changed.wait_for(lambda: bool(self.updates))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if self.poll is mine:  # the client went away
                self.poll = None
                raise
            self.conflict_count += 1
            return refusal(409, "Conflict: terminated by other getUpdates request")
        self.poll = None
        return success(self.updates[: params.get("limit", 100)])

    async def _sendMessage(self, params: dict[str, Any]) -> web.Response:  # noqa: N802
        text = params["text"]
        if not isinstance(params["chat_id"], int) or not text.strip():
            return refusal(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return refusal(400, "Bad Request: message is too long")
        self.sent.append(params)
        self._wake()
        return success({"message_id": len(self.sent), "date": 1, "chat": {"id": 1, "type": "x"}})

    async def _sendChatAction(self, params: dict[str, Any]) -> web.Response:  # noqa: N802
        self.actions.append(params)
        self._wake()
        return success(True)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._notify)

    def _notify(self) -> None:
        task = asyncio.get_running_loop().create_task(self._tell())
        self._telling = task

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def success(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def refusal(status: int, description: str, retry_after: int | None = None) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if retry_after is not None:
        body["parameters"] = {"retry_after": retry_after}
    return web.json_response(body, status=status)


@asynccontextmanager
async def bot_api(port: int = 0) -> AsyncIterator[BotApi]:
    """The service on a port of its own."""
    api = BotApi()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", api.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    address = runner.addresses[0]
    api.root = f"http://{address[0]}:{address[1]}"
    try:
        yield api
    finally:
        await runner.cleanup()
