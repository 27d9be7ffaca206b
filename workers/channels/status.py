"""What clients are told about the channels; nothing is called connected on old evidence. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

FRESH_MS = 90_000
"""Evidence older than this proves nothing: the longest poll is 50 s."""


class AccountView(Struct, frozen=True):
    """What is known of one account."""

    channel: str
    label: str
    account_id: str
    enabled: bool
    configured: bool
    dm_policy: str
    is_running: bool = False
    last_ok_ms: int | None = None
    error: str = ""
    failure_count: int = 0
    account_name: str = ""
    last_start_ms: int | None = None
    last_inbound_ms: int | None = None
    last_outbound_ms: int | None = None


def is_connected(view: AccountView, now_ms: int) -> bool:
    """True while the service's last answer is fresh."""
    return view.is_running and view.last_ok_ms is not None and now_ms - view.last_ok_ms < FRESH_MS


def account_snapshot(view: AccountView, now_ms: int) -> dict[str, Any]:
    """The account as `channels.status` shows it; members without a value are left out."""
    snapshot = {
        "accountId": view.account_id,
        "name": view.account_name or None,
        "enabled": view.enabled,
        "configured": view.configured,
        "running": view.is_running,
        "connected": is_connected(view, now_ms),
        "reconnectAttempts": view.failure_count,
        "dmPolicy": view.dm_policy,
        "mode": "polling",
        "lastConnectedAt": view.last_ok_ms,
        "lastError": view.error or None,
        "lastStartAt": view.last_start_ms,
        "lastInboundAt": view.last_inbound_ms,
        "lastOutboundAt": view.last_outbound_ms,
    }
    return {name: value for name, value in snapshot.items() if value is not None}


def channels_status(
    views: Sequence[AccountView], now_ms: int, probes: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Result of `channels.status`; `probes` holds what was asked for just now, by channel."""
    accounts = {
        view.channel: account_snapshot(view, now_ms) | _probe(probes.get(view.channel), now_ms)
        for view in views
    }
    labels = {view.channel: view.label for view in views}
    return {
        "ts": now_ms,
        "channelOrder": list(labels),
        "channelLabels": labels,
        "channelDetailLabels": {view.channel: f"{view.label} bot" for view in views},
        "channelSystemImages": dict.fromkeys(labels, "bubble.left.and.bubble.right"),
        "channelMeta": [
            {"id": view.channel, "label": view.label, "detailLabel": f"{view.label} bot"}
            for view in views
        ],
        "channels": accounts,
        "channelAccounts": {channel: [account] for channel, account in accounts.items()},
        "channelDefaultAccountId": {view.channel: view.account_id for view in views},
    }


def _probe(probe: dict[str, Any] | None, now_ms: int) -> dict[str, Any]:
    return {} if probe is None else {"probe": probe, "lastProbeAt": now_ms}


def front_snapshot(views: Sequence[AccountView], now_ms: int) -> dict[str, Any]:
    """The part of `health` and `status` that the front answers without asking us."""
    channels = {}
    for view in views:
        account = _steady(account_snapshot(view, now_ms))
        channels[view.channel] = {**account, "accounts": {view.account_id: account}}
    return {
        "health": {
            "channels": channels,
            "channelOrder": [view.channel for view in views],
            "channelLabels": {view.channel: view.label for view in views},
        },
        "status": {"channelSummary": [summary(view, now_ms) for view in views if view.configured]},
        "problems": [
            {"id": f"channel.{view.channel}", "text": summary(view, now_ms)}
            for view in views
            if view.error
        ],
    }


def _steady(account: dict[str, Any]) -> dict[str, Any]:
    """Without times of day, so that the front hears of changes and not of every poll."""
    moving = ("lastConnectedAt", "lastInboundAt", "lastOutboundAt")
    return {name: value for name, value in account.items() if name not in moving}


def summary(view: AccountView, now_ms: int) -> str:
    """One line for people."""
    who = f" as {view.account_name}" if view.account_name else ""
    if not view.enabled:
        return f"{view.label}: disabled"
    if is_connected(view, now_ms):
        trouble = f" (last poll failed: {view.error})" if view.error else ""
        return f"{view.label}: connected{who}{trouble}"
    reason = view.error or ("connecting" if view.is_running else "not running")
    return f"{view.label}: not connected{who} ({reason})"
