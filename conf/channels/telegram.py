"""Settings of the Telegram channel."""

import re
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from conf.schema import Section, Text

ID = re.compile(r"(?:telegram:|tg:)?(-?[1-9][0-9]{0,19})")


class Settings(Section, frozen=True):
    """`channels.telegram`."""

    label: ClassVar[str] = "Telegram"

    enabled: bool = True
    bot_token: Text | None = None
    """From @BotFather."""
    api_root: Annotated[str, Meta(pattern=r"^https?://[^\s/]+")] = "https://api.telegram.org"
    """Base URL of the Bot API, for a local Bot API server."""
    dm_policy: Literal["pairing", "allowlist", "open", "disabled"] = "pairing"
    """Who may talk to the agent in a private chat."""
    allow_from: tuple[str | int, ...] = ()
    """Numeric ids of users, and of groups whose members may talk to the agent by mentioning it
    (optionally with the prefix `telegram:`); `*` with policy `open`."""
    poll_seconds: Annotated[int, Meta(ge=1, le=50)] = 30
    """Length of one long poll."""
    text_chunk_limit: Annotated[int, Meta(ge=100, le=4096)] = 4000
    """Longest piece of a reply, in UTF-16 units, as the service counts."""

    def __post_init__(self) -> None:
        """Refuses what could never match: names instead of ids, and an open door by accident."""
        for entry in self.allow_from:
            if entry != "*" and ID.fullmatch(str(entry)) is None:
                raise ValueError(
                    f"allowFrom: {entry!r} is not a numeric id; names can be changed by their "
                    "owners, so only ids count (the pairing message shows a person's id)"
                )
        if self.dm_policy == "open" and "*" not in self.allow_from:
            raise ValueError('dmPolicy "open" lets everyone in: confirm it with allowFrom: ["*"]')

    @property
    def is_configured(self) -> bool:
        """True when there is enough to connect with."""
        return self.bot_token is not None

    @property
    def allowed(self) -> frozenset[str]:
        """The ids of `allow_from` without prefixes, and `*` if it is there."""
        found = (ID.fullmatch(str(entry)) for entry in self.allow_from)
        ids = frozenset(match[1] for match in found if match is not None)
        return ids | ({"*"} if "*" in self.allow_from else frozenset())
