"""Calls that the front answers by itself, of clients and of workers."""

from typing import Any

from bus.errors import unavailable
from bus.messages import Caller


class LocalCall:
    """A call answered in the front; it has no first answer."""

    __slots__ = ("caller", "method")

    def __init__(self, caller: Caller, method: str) -> None:
        self.caller = caller
        self.method = method

    def accept(self, payload: Any) -> None:
        """Methods of the front answer once."""
        raise unavailable(f"{self.method} answers once")
