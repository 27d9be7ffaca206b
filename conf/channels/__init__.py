"""Settings of the channels, one module per channel, each with a `Settings` struct."""

import importlib
import pkgutil

from conf.schema import Section

SERVICE_NAMES = frozenset(
    [
        "bluebubbles",
        "discord",
        "feishu",
        "googlechat",
        "imessage",
        "irc",
        "line",
        "matrix",
        "mattermost",
        "msteams",
        "nextcloud-talk",
        "nostr",
        "signal",
        "slack",
        "telegram",
        "tlon",
        "twitch",
        "voice-call",
        "whatsapp",
        "zalo",
        "zalouser",
    ]
)
"""Chat services as clients of this protocol name them, ours or not: existing command lines send
one as a hint with every message, whether or not it is configured."""


def channel_settings() -> dict[str, type[Section]]:
    """The settings struct of every channel we have, by channel name."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").Settings for name in names}
