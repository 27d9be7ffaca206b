"""`POST /tools/invoke`: calls one tool of an agent."""

from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from workers.web import refusals
from workers.web.guard import Guard, read_json

MAY_HAVE_BYTES = 2_097_152


class InvokeRequest(Struct, frozen=True):
    """The body of a request."""

    tool: str = ""
    action: str | None = None
    args: dict[str, Any] = {}


class Tools:
    """The tools HTTP clients may call; agents have none yet, so every name is refused."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def invoke(self, request: Request) -> Response:
        """`POST /tools/invoke`."""
        await self._guard.admit_post(request, "write")
        asked = await read_json(request, InvokeRequest, MAY_HAVE_BYTES)
        name = asked.tool.strip()
        if not name:
            raise refusals.invalid("tools.invoke requires `tool`")
        error = {"type": "not_found", "message": f"Tool not available: {name[:100]}"}
        raise refusals.HttpError(404, {"ok": False, "error": error})
