"""The Telegram adapter: long poll in, sendMessage out, text only.

Private chats are answered by the channel's DM policy. A group is answered only when its chat id
stands in `allowFrom`, and then only messages that mention the bot or reply to it. Media come as
`<media:…>`; edits, reactions and channel posts are ignored.
"""

import asyncio
import random
import re

import msgspec

from conf.channels.telegram import Settings
from conf.logs import Log
from workers.channels import telegram_updates
from workers.channels.backoff import SERVICE
from workers.channels.base import (
    Adapter,
    Clock,
    LostError,
    NotTakenError,
    Outbound,
    ParkedError,
    Progress,
    RefusedError,
    Take,
)
from workers.channels.telegram_api import (
    ApiError,
    NoAnswerError,
    TelegramApi,
    UnreachableError,
)
from workers.channels.telegram_updates import User

REQUEST_TIMEOUT_S = 20.0
POLL_GRACE_S = 15.0
"""How much later than asked the answer to a poll may come."""
CONFLICT_PAUSE_S = 20.0
"""Slow, so that two pollers of one token do not throw each other out all the time."""
TARGET = re.compile(r"(?:telegram:|tg:)?(?:group:)?(-?[1-9][0-9]{0,19})")
TAKEN_UNKNOWN = (504,)
"""A gateway gave up waiting for Telegram: the message may have been taken."""

TRANSIENT = (ApiError, UnreachableError, NoAnswerError)


class _Sent(msgspec.Struct, frozen=True):
    message_id: int


_decode_user = msgspec.json.Decoder(User).decode
_decode_sent = msgspec.json.Decoder(_Sent).decode


def open_adapter(settings: Settings, clock: Clock) -> Adapter:
    """The adapter for the configured bot."""
    return TelegramAdapter(settings, clock)


class TelegramAdapter:
    """One bot."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        if settings.bot_token is None:
            raise ValueError("channels.telegram.botToken is not set")
        self._api = TelegramApi(settings.api_root, settings.bot_token)
        self._poll_s = settings.poll_seconds
        self._clock = clock
        self._log = Log("telegram")
        self._bot: User | None = None
        self._last_ok_ms: int | None = None
        self._error = ""
        self._failure_count = 0

    async def receive(self, cursor: str, take: Take) -> None:
        """Polls until cancelled. The next poll, which confirms updates, follows their commit."""
        offset = int(cursor) if cursor else None
        while True:
            try:
                bot = self._bot or await self._introduce()
                result = await self._poll(offset)
                batch = telegram_updates.read(result, bot)
            except (*TRANSIENT, msgspec.DecodeError) as error:
                await asyncio.sleep(self._pause_s(error))
                continue
            self._last_ok_ms = self._clock()
            self._error, self._failure_count = "", 0
            if batch.unreadable_count:
                self._log.warning("updates of unknown shape", count=batch.unreadable_count)
            if batch.next_offset is not None:
                await take(batch.messages, str(batch.next_offset))
                offset = batch.next_offset

    async def send(self, message: Outbound) -> str:
        """One sendMessage; plain text, so that nothing in it can be refused as markup."""
        params: dict[str, str | int] = {"chat_id": int(message.chat), "text": message.text}
        if message.thread:
            params["message_thread_id"] = int(message.thread)
        try:
            result = await self._api.call("sendMessage", params, REQUEST_TIMEOUT_S)
        except UnreachableError as error:
            raise NotTakenError(str(error)) from None
        except NoAnswerError as error:
            raise LostError(str(error)) from None
        except ApiError as error:
            raise _send_error(error) from None
        try:
            return str(_decode_sent(result).message_id)
        except msgspec.DecodeError:
            raise LostError("sendMessage: answered without a message id") from None

    async def typing(self, chat: str, thread: str) -> None:
        """Shows "typing" for about five seconds."""
        params: dict[str, str | int] = {"chat_id": int(chat), "action": "typing"}
        if thread:
            params["message_thread_id"] = int(thread)
        try:
            await self._api.call("sendChatAction", params, REQUEST_TIMEOUT_S)
        except TRANSIENT as error:
            self._log.debug("typing not shown", reason=str(error))

    async def probe(self) -> str:
        """Asks who we are."""
        try:
            bot = await self._introduce()
        except ApiError as error:
            raise _send_error(error) from None
        except (UnreachableError, NoAnswerError, msgspec.DecodeError) as error:
            raise NotTakenError(str(error)) from None
        return f"@{bot.username}"

    def target(self, text: str) -> str:
        """A numeric chat id, optionally with the prefix `telegram:`."""
        match = TARGET.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a chat id: use the numeric id, like telegram:12345")
        return match[1]

    def progress(self) -> Progress:
        """What the polls have shown."""
        name = f"@{self._bot.username}" if self._bot else ""
        return Progress(self._last_ok_ms, self._error, self._failure_count, name)

    async def close(self) -> None:
        """Closes the connections, the poll's too."""
        await self._api.close()

    async def _introduce(self) -> User:
        self._bot = _decode_user(await self._api.call("getMe", {}, REQUEST_TIMEOUT_S))
        return self._bot

    async def _poll(self, offset: int | None) -> bytes:
        # The first poll does not wait, so that we know at once whether we are connected.
        is_proven = self._last_ok_ms is not None and not self._failure_count
        wait_s = self._poll_s if is_proven else 0
        params: dict[str, object] = {"timeout": wait_s, "allowed_updates": ["message"]}
        if offset is not None:
            params["offset"] = offset
        return await self._api.call("getUpdates", params, wait_s + POLL_GRACE_S)

    def _pause_s(self, error: Exception) -> float:
        """Notes a failed poll and says how long to wait. Raises ParkedError for a bad token."""
        self._failure_count += 1
        pause_s = SERVICE.delay_s(self._failure_count, random.random())  # noqa: S311 - jitter
        self._error = str(error)
        if isinstance(error, ApiError):
            if error.status in (401, 404):
                self._bot = None
                self._error = UNKNOWN_BOT
                raise ParkedError(self._error)
            if error.status == 409:  # noqa: PLR2004 - Conflict
                self._error = _conflict(error.description)
                pause_s = CONFLICT_PAUSE_S
            pause_s = max(pause_s, error.retry_after_s or 0.0)
        self._log.warning("poll failed", reason=self._error, pause_s=round(pause_s, 1))
        return pause_s


UNKNOWN_BOT = (
    "Telegram does not know this bot token: check channels.telegram.botToken "
    "(and apiRoot), then restart the channels worker"
)


def _conflict(description: str) -> str:
    if "webhook" in description.lower():
        return "a webhook is set for this bot, so polling is refused: delete it (deleteWebhook)"
    return "another poller uses this bot token: stop it, or give this gateway a bot of its own"


def _send_error(error: ApiError) -> Exception:
    """What Telegram's refusal means for the message."""
    if error.status in (401, 404):
        return ParkedError(UNKNOWN_BOT)
    if error.status in TAKEN_UNKNOWN:
        return LostError(str(error))
    if error.status == 429 or error.status >= 500:  # noqa: PLR2004 - too many, or their fault
        return NotTakenError(str(error), error.retry_after_s)
    return RefusedError(str(error))
