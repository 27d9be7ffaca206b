"""What the settings of every channel have, whichever channel it is."""

from typing import ClassVar, Protocol, runtime_checkable

from conf.channels import channel_settings
from conf.settings import Loaded


@runtime_checkable
class ChannelSettings(Protocol):
    """The part of a channel's settings that the host reads."""

    label: ClassVar[str]
    """The channel's name for people."""

    @property
    def enabled(self) -> bool:
        """False: the channel stays off."""
        ...

    @property
    def is_configured(self) -> bool:
        """True when there is enough to connect with."""
        ...

    @property
    def dm_policy(self) -> str:
        """Who may talk in private: pairing, allowlist, open, disabled."""
        ...

    @property
    def allowed(self) -> frozenset[str]:
        """Ids of people and groups; `*` is everyone."""
        ...

    @property
    def text_chunk_limit(self) -> int:
        """Longest message in UTF-16 units."""
        ...


def channel_sections(loaded: Loaded) -> dict[str, ChannelSettings]:
    """The settings of every channel we have, with defaults for those the config leaves out."""
    sections: dict[str, ChannelSettings] = {}
    for name, kind in sorted(channel_settings().items()):
        section = loaded.channels.get(name) or kind()
        if not isinstance(section, ChannelSettings):
            raise TypeError(f"conf/channels/{name}.py lacks a part of ChannelSettings")
        sections[name] = section
    return sections
