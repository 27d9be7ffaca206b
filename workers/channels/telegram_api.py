"""A thin client of the Telegram Bot API. Its errors never carry the token, which is in the URL."""

import json
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

MAX_ANSWER_BYTES = 33_554_432
CONNECT_TIMEOUT_S = 10.0


class ApiError(Exception):
    """Telegram answered that it did not do it."""

    def __init__(self, status: int, description: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {description}")
        self.status = status
        self.description = description
        self.retry_after_s = retry_after_s


class UnreachableError(Exception):
    """The request did not reach Telegram."""


class NoAnswerError(Exception):
    """The request may have reached Telegram; no usable answer came."""


class _Parameters(Struct, frozen=True):
    retry_after: float | None = None


class _Answer(Struct, frozen=True):
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: int = 0
    description: str = ""
    parameters: _Parameters = _Parameters()


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class TelegramApi:
    """Calls methods of one bot."""

    def __init__(self, root: str, token: str) -> None:
        self._url = f"{root.rstrip('/')}/bot{token}/"
        self._token = token
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            headers={"Content-Type": "application/json"},
        )

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> bytes:
        """The `result` of a method as JSON. Raises ApiError, UnreachableError, NoAnswerError."""
        try:
            status, body = await self._post(method, _encode(params), timeout_s)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # `from None` here and below: the causes may show the URL.
            raise UnreachableError(self._scrub(method, error)) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            text = f"{method}: apiRoot is not a usable URL ({type(error).__name__})"
            raise UnreachableError(text) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswerError(self._scrub(method, error)) from None
        try:
            answer = _read(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise _not_json(method, status) from None
        if not answer.ok:
            description = answer.description.replace(self._token, "***")
            code = answer.error_code or status
            raise ApiError(code, description, answer.parameters.retry_after)
        return bytes(answer.result)

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def _post(self, method: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
        request = self._session.post(
            self._url + method, data=body, timeout=timeout, allow_redirects=False
        )
        async with request as response:
            answer = await response.content.read(MAX_ANSWER_BYTES)
            while not response.content.at_eof() and len(answer) < MAX_ANSWER_BYTES:
                answer += await response.content.read(MAX_ANSWER_BYTES - len(answer))
            return response.status, answer

    def _scrub(self, method: str, error: Exception) -> str:
        return f"{method}: {type(error).__name__} {error}".replace(self._token, "***").rstrip()


def _read(body: bytes) -> _Answer:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        # Half a surrogate pair in one person's text must not stop everybody's messages.
        whole = json.dumps(json.loads(body), ensure_ascii=False)
        return _decode(whole.encode("utf-8", "replace"))


def _not_json(method: str, status: int) -> Exception:
    """What an answer that is no Bot API answer means: some proxy spoke, or a wrong apiRoot."""
    text = f"{method}: answered with HTTP {status} and no JSON (is apiRoot right?)"
    return NoAnswerError(text) if status < 400 else ApiError(status, text)  # noqa: PLR2004
