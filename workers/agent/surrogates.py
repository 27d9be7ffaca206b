"""Makes text of what model services send: halves of UTF-16 characters are joined or replaced. Pure.

JSON can hold such a half, for example where a service cuts its answer between two halves; it
can be neither stored nor sent on.
"""


class Halves:
    """Joins characters whose halves come in two pieces of a stream."""

    def __init__(self) -> None:
        self._half = ""

    def whole(self, piece: str) -> str:
        """`piece` as text; a first half at its end is kept for the next piece."""
        text = self._half + piece
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return mended(text[: len(text) - len(self._half)])


def mended(text: str) -> str:
    """`text` with both halves of a character joined, and U+FFFD for a half that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
