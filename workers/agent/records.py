"""What the agent worker keeps: sessions, runs, transcript entries. Pure."""

from typing import Any

from msgspec import Struct

from workers.agent.ledger import RunState


class SessionEntry(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is known about a session beyond its names."""

    label: str | None = None
    spawned_by: str | None = None
    channel: str | None = None
    group_id: str | None = None
    group_channel: str | None = None
    space: str | None = None
    last_channel: str | None = None
    last_to: str | None = None
    last_account_id: str | None = None
    system_sent: bool = False
    aborted_last_run: bool = False
    thinking_level: str | None = None
    verbose_level: str | None = None
    reasoning_level: str | None = None
    elevated_level: str | None = None
    response_usage: str | None = None
    exec_host: str | None = None
    exec_security: str | None = None
    exec_ask: str | None = None
    exec_node: str | None = None
    provider_override: str | None = None
    """With `model_override`: the model a person chose for this session."""
    model_override: str | None = None
    send_policy: str | None = None
    """`deny`: nothing may be sent into the session."""
    group_activation: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    model_provider: str | None = None
    model: str | None = None
    context_tokens: int | None = None
    first_text: str | None = None
    """Beginning of the first message, for derived titles."""
    last_text: str | None = None
    """Beginning of the last message, for previews."""


class Session(Struct, frozen=True):
    """One conversation."""

    key: str
    session_id: str
    agent_id: str
    updated_at: int
    """ms since the epoch"""
    entry: SessionEntry = SessionEntry()


class Spent(Struct, frozen=True):
    """What one ended run cost; kept when the run itself is forgotten."""

    run_id: str
    ts: int
    """ms since the epoch, when it ended"""
    session_key: str
    session_id: str
    agent_id: str
    channel: str
    """Empty: none is known."""
    provider: str
    model: str
    state: str
    has_answer: bool
    duration_ms: int | None
    """None: it never began."""
    input: int
    output: int
    total: int


class RunParams(Struct, frozen=True, omit_defaults=True):
    """What a run needs to be run again by another process."""

    message: str
    chat_key: str | None = None
    """Session key that chat events of the run carry; None: it has no chat events."""
    is_background: bool = False
    timeout_ms: int | None = None
    """Wall time; 0: none; None: as configured."""
    thinking: str | None = None
    extra_system_prompt: str | None = None


class NewRun(Struct, frozen=True):
    """A run as it is asked for."""

    run_id: str
    kind: str
    session_key: str
    agent_id: str
    params: RunParams
    origin: str
    entry: SessionEntry = SessionEntry()
    """What the request says about the session; members at their default say nothing."""


class Run(Struct, frozen=True):
    """One row of the run ledger."""

    run_id: str
    kind: str
    """`agent` or `chat`, the method that asked for it."""
    session_key: str
    session_id: str
    agent_id: str
    params: RunParams
    state: RunState
    accepted_at: int
    """ms since the epoch, as the other times"""
    origin: str = ""
    """Who asked: `client:<id>` or `worker:<name>`."""
    pid: int | None = None
    pid_started: int | None = None
    """Start time of the process, so that another one with its number is left alone."""
    started_at: int | None = None
    ended_at: int | None = None
    result: Any = None
    """The final answer of a run that ended ok."""
    error: str | None = None
    stop_reason: str | None = None


class Entry(Struct, frozen=True):
    """One entry of a transcript."""

    id: str
    session_id: str
    type: str
    """`message`, or `custom_message` for what only the model sees."""
    body: bytes
    """JSON"""
    ts: int


class TextBlock(Struct, frozen=True, tag="text"):
    """A piece of a message."""

    text: str


class Message(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A message of the transcript, as chat.history gives it."""

    role: str
    content: tuple[TextBlock, ...]
    timestamp: int
    run_id: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    stop_reason: str | None = None
    error_message: str | None = None


def text_message(role: str, text: str, timestamp: int) -> Message:
    """A message of one piece of text."""
    return Message(role, (TextBlock(text),), timestamp)
