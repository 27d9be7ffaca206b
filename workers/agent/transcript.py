"""Entries of a transcript: what is written at a run's turns, and the history made of it."""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from workers.agent import answers
from workers.agent.contract import Turn
from workers.agent.ledger import RunState, Verdict
from workers.agent.records import Entry, Message, Run, TextBlock, text_message

MESSAGE = "message"
EVENTS = "custom_message"
"""System events that went into a prompt: the model sees them, chat pages do not."""
LARGEST_HISTORY_BYTES = 6 * 1024 * 1024
ID_BYTES = 4

_encode = msgspec.json.Encoder().encode


class _Stored(Struct, frozen=True, rename="camel"):
    """What prompts need of a stored message."""

    role: str
    content: tuple[dict[str, Any], ...]
    stop_reason: str | None = None


_decode = msgspec.json.Decoder(_Stored).decode


def entry(session_id: str, message: Message, type_: str = MESSAGE) -> Entry:
    """A new entry holding `message`."""
    name = secrets.token_hex(ID_BYTES)
    return Entry(name, session_id, type_, _encode(message), message.timestamp)


def user_entries(run: Run, events: Iterable[str], now: int) -> list[Entry]:
    """The person's turn, after the system events that go with it."""
    lines = "\n".join(f"System: {event}" for event in events)
    turn = Message("user", (TextBlock(run.params.message),), now, run_id=run.run_id)
    found = [entry(run.session_id, turn)]
    if lines:
        found.insert(0, entry(run.session_id, text_message("user", lines, now), EVENTS))
    return found


def end_entries(run: Run, verdict: Verdict, model: tuple[str, str], now: int) -> list[Entry]:
    """The assistant's turn as far as it came, or a note that says why there is none."""
    is_ok = verdict.state is RunState.OK
    if verdict.text or is_ok:
        said = Message(
            "assistant",
            (TextBlock(verdict.text),) if verdict.text else (),
            now,
            run_id=run.run_id,
            provider=model[0],
            model=model[1],
            usage=answers.usage(verdict.usage),
            stop_reason=verdict.stop_reason if is_ok else verdict.state.value,
            error_message=verdict.error,
        )
        return [entry(run.session_id, said)]
    if verdict.state is RunState.ABORTED:
        return []
    note = f"No answer: {verdict.error}"
    return [entry(run.session_id, Message("system", (TextBlock(note),), now, run_id=run.run_id))]


def history(newest_first: Iterable[bytes]) -> bytes:
    """The newest messages as a JSON array, oldest first, as many as fit but at least one."""
    kept: list[bytes] = []
    size = 2
    for body in newest_first:
        size += len(body) + 1
        if kept and size > LARGEST_HISTORY_BYTES:
            break
        kept.append(body)
    return b"[%b]" % b",".join(reversed(kept))


def turns(newest_first: Iterable[bytes]) -> Iterator[Turn]:
    """The turns of a transcript that a model gets, newest first."""
    for body in newest_first:
        stored = _decode(body)
        text = "\n".join(str(block.get("text", "")) for block in stored.content)
        if stored.role in ("user", "assistant") and text:
            yield Turn(stored.role, text)
