"""Responses (the newer of the two APIs): what clients get, whole or as events. Pure."""

from typing import Any

import msgspec

from bus.errors import RpcError
from workers.web.outcome import Outcome
from workers.web.response_request import ResponseRequest

_encode = msgspec.json.Encoder().encode


class ResponseForm:
    """The answer to one request; `created` in seconds since the epoch."""

    def __init__(self, request: ResponseRequest, response_id: str, created: int) -> None:
        self._request = request
        self._id = response_id
        self._item_id = f"msg_{response_id.removeprefix('resp_')}"
        self._created = created
        self._sequence = -1
        self._said: list[str] = []

    def whole(self, outcome: Outcome) -> dict[str, Any]:
        """The answer in one piece."""
        status = _status(outcome)
        details = _details(outcome) if status == "incomplete" else None
        output = [self._item(status, [_part(outcome.text)])]
        return self._response(status, output, usage=_usage(outcome), incomplete_details=details)

    def begin(self) -> bytes:
        """The events before the first text."""
        started = self._response("in_progress", [])
        return b"".join(
            (
                self._event("response.created", response=started),
                self._event("response.in_progress", response=started),
                self._event(
                    "response.output_item.added",
                    output_index=0,
                    item=self._item("in_progress", []),
                ),
                self._event("response.content_part.added", **self._place(), part=_part("")),
            )
        )

    def piece(self, text: str) -> bytes:
        """An event with more text."""
        self._said.append(text)
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def end(self, outcome: Outcome) -> bytes:
        """The events that end an answer."""
        final = self.whole(outcome)
        closing = self._close(outcome.text, final["status"])
        return closing + self._event(f"response.{final['status']}", response=final)

    def broken(self, error: RpcError) -> bytes:
        """The events that end a run which failed; what was said stays said."""
        text = "".join(self._said)
        closing = self._close(text, "incomplete")
        failed = self._response(
            "failed",
            [self._item("incomplete", [_part(text)])],
            error={"code": "server_error", "message": error.message},
        )
        return closing + self._event("response.failed", response=failed)

    def _close(self, text: str, status: str) -> bytes:
        place = self._place()
        item = self._item(status, [_part(text)])
        return b"".join(
            (
                self._event("response.output_text.done", **place, text=text, logprobs=[]),
                self._event("response.content_part.done", **place, part=_part(text)),
                self._event("response.output_item.done", output_index=0, item=item),
            )
        )

    def _event(self, kind: str, **members: Any) -> bytes:
        self._sequence += 1
        body = _encode({"type": kind, "sequence_number": self._sequence, **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _response(
        self,
        status: str,
        output: list[dict[str, Any]],
        *,
        usage: dict[str, Any] | None = None,
        error: dict[str, str] | None = None,
        incomplete_details: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        request = self._request
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": request.model,
            "output": output,
            "usage": usage,
            "error": error,
            "incomplete_details": incomplete_details,
            "instructions": request.instructions,
            "metadata": request.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": request.previous_response_id,
            "temperature": request.temperature,
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
        }


def _status(outcome: Outcome) -> str:
    return "incomplete" if outcome.is_cut or outcome.is_filtered else "completed"


def _details(outcome: Outcome) -> dict[str, str]:
    return {"reason": "content_filter" if outcome.is_filtered else "max_output_tokens"}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(outcome: Outcome) -> dict[str, Any]:
    return {
        "input_tokens": outcome.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": outcome.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": outcome.total_tokens,
    }
