"""How often the growing text of a run is sent, so that its events stay affordable. Pure.

Every event carries the whole text so far, so sending each new word would cost the square of
the reply's length.
"""

ASSISTANT_INTERVAL_MS = 40
CHAT_INTERVAL_MS = 150
FREE_BYTES = 65_536
"""What may be sent regardless of the reply's length, so that usual replies flow smoothly."""
LARGEST_RATIO = 18
"""Beyond that, all events of a run together are at most so many times the reply."""


class Pace:
    """When the next event of one run may leave."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._last_ms: int | None = None
        self._sent_bytes = 0

    def wait_ms(self, now_ms: int, text_bytes: int) -> int | None:
        """Time until a text of this length may be sent: 0 now, None only once it is longer."""
        if self._sent_bytes + text_bytes > LARGEST_RATIO * text_bytes + FREE_BYTES:
            return None
        if self._last_ms is None:
            return 0
        return max(0, self._last_ms + self._interval_ms - now_ms)

    def sent(self, now_ms: int, text_bytes: int) -> None:
        """An event with a text of this length left."""
        self._last_ms = now_ms
        self._sent_bytes += text_bytes
