"""A conversation as an HTTP client sends it, as the one message of a run. Pure."""

from collections.abc import Sequence

from msgspec import Struct

SYSTEM_ROLES = ("system", "developer")
CURRENT_ROLES = ("user", "tool", "function")
_TEXT_TYPES = ("text", "input_text", "output_text", "refusal")
_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Tool", "function": "Tool"}


class PromptError(ValueError):
    """The conversation cannot be answered; the text is for the client."""


class Part(Struct, frozen=True):
    """A piece of a message's content."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None


Content = str | tuple[Part, ...] | None


class Said(Struct, frozen=True):
    """One message of a conversation."""

    role: str
    text: str
    name: str | None = None


class Prompt(Struct, frozen=True):
    """What a run is given."""

    message: str
    system: str | None = None


def text_of(content: Content, place: str) -> str:
    """The text of a message's content. Raises PromptError for what is no text."""
    if content is None or isinstance(content, str):
        return content or ""
    for at, part in enumerate(content):
        if part.type not in _TEXT_TYPES:
            raise PromptError(f"{place}[{at}]: {part.type} is not supported; send text")
    return "\n".join(text for part in content if (text := part.text or part.refusal))


def build(conversation: Sequence[Said], place: str, system: str | None = None) -> Prompt:
    """The prompt of a conversation; its last message of a person or tool is answered.

    `place` names the field of the request. Raises PromptError when nobody asks anything.
    """
    spoken = [said for said in conversation if said.text.strip()]
    rules = [said.text for said in spoken if said.role in SYSTEM_ROLES]
    turns = [said for said in spoken if said.role not in SYSTEM_ROLES]
    while turns and turns[-1].role not in CURRENT_ROLES:
        turns.pop()
    if not turns:
        raise PromptError(f"Missing user message in `{place}`.")
    joined = "\n\n".join([*([system] if system else []), *rules])
    *history, current = turns
    message = current.text if current.role == "user" else _line(current)
    if history:
        before = "\n".join(_line(said) for said in history)
        message = f"The conversation so far:\n{before}\n\nThe message to answer:\n{_line(current)}"
    return Prompt(message, joined or None)


def _line(said: Said) -> str:
    speaker = _SPEAKERS.get(said.role, said.role)
    name = f" {said.name}" if said.name else ""
    return f"{speaker}{name}: {said.text}"
