"""Chat completions: what clients send and get. Pure."""

from typing import Any

import msgspec
from msgspec import Struct

from bus.errors import RpcError
from workers.web.headers import DEFAULT_MODEL
from workers.web.outcome import Outcome
from workers.web.prompt import Content, Prompt, PromptError, Said, build, text_of

_encode = msgspec.json.Encoder().encode


class ChatMessage(Struct, frozen=True):
    """One message of a request."""

    role: str
    content: Content = None
    name: str | None = None


class StreamOptions(Struct, frozen=True):
    """What a streamed answer shall contain."""

    include_usage: bool | None = None


class ChatRequest(Struct, frozen=True):
    """The body of a request; members we cannot act on are ignored."""

    messages: tuple[ChatMessage, ...]
    model: str = DEFAULT_MODEL
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    n: int | None = None


def prompt_of(request: ChatRequest) -> Prompt:
    """The prompt of a request. Raises PromptError."""
    if request.n not in (None, 1):
        raise PromptError("n: one answer is given to a request")
    said = [
        Said(message.role, text_of(message.content, f"messages[{at}].content"), message.name)
        for at, message in enumerate(request.messages)
    ]
    return build(said, "messages")


class ChatForm:
    """The answer to one request, whole or in chunks; `created` in seconds since the epoch."""

    def __init__(self, request: ChatRequest, answer_id: str, created: int) -> None:
        self._id = answer_id
        self._model = request.model
        self._created = created
        options = request.stream_options
        self._has_usage_chunk = bool(options and options.include_usage)

    def whole(self, outcome: Outcome) -> dict[str, Any]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": outcome.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": _finish(outcome)}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [{**choice, "logprobs": None}],
            "usage": _usage(outcome),
        }

    def begin(self) -> bytes:
        """The chunk that names the speaker."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """A chunk with more text."""
        return self._chunk({"content": text})

    def end(self, outcome: Outcome) -> bytes:
        """The chunk that ends the answer, and its cost, in a chunk of its own if asked so."""
        if not self._has_usage_chunk:
            return self._chunk({}, _finish(outcome), usage=_usage(outcome))
        last = self._event({"choices": [], "usage": _usage(outcome)})
        return self._chunk({}, _finish(outcome)) + last

    def broken(self, error: RpcError) -> bytes:
        """A chunk that people read as an answer and programs as an error."""
        shape = {"message": error.message, "type": "api_error", "code": error.code}
        return self._chunk({"content": f"Error: {error.message}"}, "stop", error=shape)

    def _chunk(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._event({"choices": [choice], **more})

    def _event(self, members: dict[str, Any]) -> bytes:
        chunk = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            **members,
        }
        return b"data: %b\n\n" % _encode(chunk)


def _finish(outcome: Outcome) -> str:
    if outcome.is_filtered:
        return "content_filter"
    return "length" if outcome.is_cut else "stop"


def _usage(outcome: Outcome) -> dict[str, int]:
    return {
        "prompt_tokens": outcome.input_tokens,
        "completion_tokens": outcome.output_tokens,
        "total_tokens": outcome.total_tokens,
    }
