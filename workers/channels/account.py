"""One account of a channel: what its parts share."""

from dataclasses import dataclass

from conf.logs import Log
from workers.channels.base import Clock
from workers.channels.chunking import units
from workers.channels.outbox import DELAYED_MARK
from workers.channels.sections import ChannelSettings
from workers.store import Store

DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True)
class Account:
    """Name, settings and store of one account."""

    channel: str
    section: ChannelSettings
    store: Store
    clock: Clock
    log: Log
    account_id: str = DEFAULT_ACCOUNT

    @property
    def place(self) -> tuple[str, str]:
        """Channel and account id, the key of everything kept for it."""
        return self.channel, self.account_id

    @property
    def chunk_limit(self) -> int:
        """Longest piece in UTF-16 units, with room for the mark of a delayed message."""
        return self.section.text_chunk_limit - units(DELAYED_MARK)
