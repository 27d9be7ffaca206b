"""Params of `connect`, the request every connection begins with. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bus.rpc import Params

Text = Annotated[str, Meta(min_length=1)]
Version = Annotated[int, Meta(ge=1)]

BRANDS = ("gatewayd", "opensoul", "moltbot", "clawdbot", "openclaw", "argent")
_OWN_IDS = ("control-ui", "macos", "ios", "android", "probe", "tui", "linux", "watchos")
_SHARED_IDS = (
    "webchat-ui", "webchat", "cli", "gateway-client", "node-host", "test", "fingerprint",
)  # fmt: skip
CLIENT_IDS = frozenset(_SHARED_IDS) | {f"{brand}-{own}" for brand in BRANDS for own in _OWN_IDS}


class Client(Params, frozen=True, kw_only=True):
    """`client`: which program connects."""

    id: Text
    display_name: Text | None = None
    version: Text
    platform: Text
    device_family: Text | None = None
    model_identifier: Text | None = None
    mode: Literal["webchat", "cli", "ui", "backend", "node", "probe", "test"]
    instance_id: Text | None = None


class Device(Params, frozen=True, kw_only=True):
    """`device`: a signed device identity."""

    id: Text
    public_key: Text
    signature: Text
    signed_at: Annotated[int, Meta(ge=0)]
    nonce: Text | None = None


class Credentials(Params, frozen=True):
    """`auth`: what the client knows."""

    token: str | None = None
    password: str | None = None


class ConnectParams(Params, frozen=True, kw_only=True):
    """Everything `connect` may carry; nothing else is taken."""

    min_protocol: Version
    max_protocol: Version
    client: Client
    caps: tuple[Text, ...] = ()
    commands: tuple[Text, ...] = ()
    permissions: dict[str, bool] = msgspec.field(default_factory=dict)
    path_env: str | None = None
    role: Text = "operator"
    scopes: tuple[Text, ...] = ()
    device: Device | None = None
    auth: Credentials = Credentials()
    locale: str | None = None
    user_agent: str | None = None


def is_browser_ui(client: Client) -> bool:
    """Control pages and web chats: programs that live in a browser."""
    return (
        client.id.endswith("-control-ui")
        or client.mode == "webchat"
        or client.id
        in (
            "webchat",
            "webchat-ui",
        )
    )
