"""Params of `agent` and `chat.*`, checked, as runs to be accepted. Pure."""

import base64
import binascii
from collections.abc import Collection
from typing import Annotated, Any

from msgspec import Meta

from bus.errors import invalid
from bus.messages import Caller
from bus.rpc import Params
from conf.channels import SERVICE_NAMES
from conf.schema import Settings
from workers.agent import keys
from workers.agent.records import NewRun, RunParams, Session, SessionEntry

NonEmpty = Annotated[str, Meta(min_length=1)]
Key = Annotated[str, Meta(min_length=1, max_length=512)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0)]
CHANNEL_HINTS = SERVICE_NAMES | {"last", "webchat"}
BACKGROUND_LANES = ("cron", "subagent", "nested", "heartbeat", "background")
STOP_WORDS = ("/stop", "stop", "esc", "abort", "wait", "exit", "interrupt")
LARGEST_ATTACHMENT_BYTES = 5_000_000


class AgentParams(Params, frozen=True):
    """Params of `agent`."""

    message: NonEmpty
    idempotency_key: Key
    agent_id: NonEmpty | None = None
    to: str | None = None
    reply_to: str | None = None
    session_id: str | None = None
    session_key: str | None = None
    task_id: str | None = None
    thinking: str | None = None
    deliver: bool | None = None
    attachments: tuple[Any, ...] = ()
    channel: str | None = None
    reply_channel: str | None = None
    account_id: str | None = None
    reply_account_id: str | None = None
    thread_id: str | None = None
    group_id: str | None = None
    group_channel: str | None = None
    group_space: str | None = None
    timeout: Count | None = None
    lane: str | None = None
    extra_system_prompt: str | None = None
    label: Label | None = None
    spawned_by: str | None = None


class SendParams(Params, frozen=True):
    """Params of chat.send."""

    session_key: NonEmpty
    message: str
    idempotency_key: Key
    thinking: str | None = None
    deliver: bool | None = None
    attachments: tuple[Any, ...] = ()
    timeout_ms: Count | None = None


def agent_run(
    settings: Settings,
    channels: Collection[str],
    caller: Caller,
    params: AgentParams,
    session_key: str,
) -> NewRun:
    """The run that `agent` asks for, in session `session_key`. Raises RpcError."""
    for channel in (params.channel, params.reply_channel):
        check_channel(channel, channels)
    check_attachments("agent", params.attachments)
    agent_id = check_agent(settings, session_key, params.agent_id)
    has_chat = session_key in ("global", keys.main_session(settings, agent_id))
    run = RunParams(
        message=params.message,
        chat_key=session_key if has_chat else None,
        is_background=params.lane in BACKGROUND_LANES,
        timeout_ms=None if params.timeout is None else params.timeout * 1000,
        thinking=params.thinking,
        extra_system_prompt=params.extra_system_prompt,
    )
    entry = SessionEntry(
        label=params.label,
        spawned_by=params.spawned_by or None,
        channel=_channel(params.channel),
        group_id=params.group_id or None,
        group_channel=params.group_channel or None,
        space=params.group_space or None,
        last_channel=_channel(params.reply_channel) or _channel(params.channel),
        last_to=params.reply_to or params.to or None,
        last_account_id=params.reply_account_id or params.account_id or None,
    )
    return NewRun(
        params.idempotency_key, "agent", session_key, agent_id, run, origin(caller), entry
    )


def chat_run(settings: Settings, caller: Caller, params: SendParams) -> NewRun:
    """The run that chat.send asks for. Raises RpcError."""
    session_key = keys.canonical(settings, params.session_key)
    agent_id = check_agent(settings, session_key, None)
    run = RunParams(
        message=params.message,
        chat_key=params.session_key,
        timeout_ms=params.timeout_ms,
        thinking=params.thinking,
    )
    return NewRun(params.idempotency_key, "chat", session_key, agent_id, run, origin(caller))


def session_key(settings: Settings, params: AgentParams, known: str | None) -> str:
    """The canonical key of the session that `agent` means; `known` is that of its sessionId."""
    if params.session_key:
        return keys.canonical(settings, params.session_key)
    if params.session_id:
        if known is None:
            raise invalid(
                f"invalid agent params: no session has sessionId {params.session_id!r};"
                " sessions.list names those there are"
            )
        return known
    agent_id = params.agent_id.lower() if params.agent_id else None
    return keys.main_session(settings, agent_id)


def check_agent(
    settings: Settings, session_key: str, agent_id: str | None, method: str = "agent"
) -> str:
    """The agent of a session. Raises RpcError if there is none or it is not the one named."""
    owner = keys.agent_of(settings, session_key)
    known = keys.known_agents(settings)
    for name in (agent_id, owner):
        if name is not None and name.lower() not in known:
            names = ", ".join(known)
            raise invalid(f'invalid {method} params: unknown agent id "{name}"; there are: {names}')
    if agent_id is not None and agent_id.lower() != owner:
        raise invalid(
            f'invalid {method} params: agentId "{agent_id}" does not match'
            f' session key "{session_key}" of agent "{owner}"'
        )
    return owner


def check_send_policy(session: Session | None) -> None:
    """Raises RpcError if sessions.patch closed the session to messages."""
    if session is not None and session.entry.send_policy == "deny":
        raise invalid("send blocked by session policy")


def check_channel(channel: str | None, channels: Collection[str]) -> None:
    """Raises RpcError for a channel nobody knows; a known one we lack is only a hint."""
    name = (channel or "").strip().lower()
    if name and name not in CHANNEL_HINTS and name not in channels:
        raise invalid(f"invalid agent params: unknown channel: {channel}")


def check_attachments(method: str, attachments: tuple[Any, ...]) -> None:
    """Raises RpcError for attachments that are broken or that no model of ours can see."""
    for number, attachment in enumerate(attachments):
        place = f"invalid {method} params: attachments[{number}]"
        content = attachment.get("content") if isinstance(attachment, dict) else None
        if not isinstance(content, str):
            raise invalid(f"{place}: needs content in base64")
        kind = str(attachment.get("mimeType") or "")
        if content.startswith("data:"):
            head, _, content = content.partition(",")
            kind = kind or head[5:].partition(";")[0]
        try:
            size = len(base64.b64decode(content, validate=True))
        except (binascii.Error, ValueError):
            raise invalid(f"{place}: content is not base64") from None
        if size > LARGEST_ATTACHMENT_BYTES:
            raise invalid(f"{place}: larger than {LARGEST_ATTACHMENT_BYTES} bytes")
        if kind.startswith("image/"):
            raise invalid(f"{place}: images are not supported yet; send text")


def is_stop(message: str) -> bool:
    """Whether a chat message asks to stop what runs."""
    return message.strip().lower() in STOP_WORDS


def origin(caller: Caller) -> str:
    """Who asked, for the ledger."""
    return f"{caller.kind}:{caller.id}"


def _channel(name: str | None) -> str | None:
    text = (name or "").strip().lower()
    return text if text and text != "last" else None
