"""Which session a chat belongs to. Pure."""

from workers.channels.base import Inbound


def session_key(
    agent_id: str, main_key: str, dm_scope: str, place: tuple[str, str], message: Inbound
) -> str:
    """The session key of `message`, which came in at `place` (channel, account).

    `dm_scope` says how far private chats share a session; every group has its own.
    """
    channel, account = place
    if message.kind == "group":
        topic = f":topic:{message.thread}" if message.thread else ""
        return f"agent:{agent_id}:{channel}:group:{message.chat}{topic}".lower()
    rest = {
        "per-peer": f"dm:{message.sender}",
        "per-channel-peer": f"{channel}:dm:{message.sender}",
        "per-account-channel-peer": f"{channel}:{account}:dm:{message.sender}",
    }.get(dm_scope, main_key)
    return f"agent:{agent_id}:{rest}".lower()
