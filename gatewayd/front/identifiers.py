"""Random identifiers, made often enough that the standard library's way is felt."""

import os

_VARIANTS = "89ab"


def fresh_uuid() -> str:
    """A random UUID (version 4) as text."""
    text = os.urandom(16).hex()
    variant = _VARIANTS[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
