"""What the model is given: a system text and as much of the conversation as fits. Pure."""

from collections.abc import Iterable, Sequence

from workers.agent.contract import Turn

CHARS_PER_TOKEN = 4
ANSWER_SHARE = 4
"""One part in so many of the context is kept free for the answer."""
SMALLEST_BUDGET_CHARS = 1_000


def system_text(name: str, override: str | None, extra: str | None) -> str:
    """The system text: the configured one or a short default, then what the request adds."""
    own = override
    if own is None:
        own = (
            f"You are {name}, a helpful personal assistant.\n"
            "Answer briefly and truthfully, in the language of the person you talk to."
        )
    return f"{own}\n\n{extra}" if extra else own


def budget_chars(context_tokens: int, system: str) -> int:
    """How much conversation fits beside the system text and the answer."""
    free_tokens = context_tokens - context_tokens // ANSWER_SHARE
    return max(SMALLEST_BUDGET_CHARS, free_tokens * CHARS_PER_TOKEN - len(system))


def with_events(message: str, events: Sequence[str]) -> str:
    """The message, after what happened since the last one."""
    return "\n".join([*(f"System: {event}" for event in events), message])


def fit(newest_first: Iterable[Turn], message: str, budget: int) -> tuple[Turn, ...]:
    """The newest turns that fit, oldest first, ending with `message`, roles alternating.

    `newest_first` is read only as far as needed.
    """
    turns = [Turn("user", message)]
    left = budget - len(message)
    for turn in newest_first:
        left -= len(turn.text)
        if left < 0:
            break
        turns.append(turn)
    while turns[-1].role != "user":
        turns.pop()
    return tuple(_merged(reversed(turns)))


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    """Turns of the same side in a row as one: services refuse two in a row."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].text}\n\n{turn.text}")
        else:
            merged.append(turn)
    return merged
