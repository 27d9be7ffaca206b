"""`/avatar/<agentId>`: the face of an agent, from its data URI or a file of its workspace."""

import base64
import binascii
import os
import stat
from pathlib import Path

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from conf.paths import Paths
from conf.schema import Agent, Settings
from workers.web.guard import Guard

LARGEST_BYTES = 2_097_152
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
}
NO_STORE = {"Cache-Control": "no-store"}


class Picture(Struct, frozen=True):
    """A picture as it is sent."""

    body: bytes
    media_type: str


class Avatars:
    """The faces of the configured agents."""

    def __init__(self, settings: Settings, paths: Paths, guard: Guard) -> None:
        self._settings = settings
        self._paths = paths
        self._guard = guard

    async def avatar(self, request: Request) -> Response:
        """The picture, or with `?meta=1` where it is."""
        await self._guard.admit_reader(request)
        agent_id = request.path_params["agent_id"]
        agent = self._agent(agent_id)
        if request.query_params.get("meta") == "1":
            return JSONResponse({"avatarUrl": self._url(agent_id, agent)}, headers=NO_STORE)
        picture = self._picture(agent)
        if picture is None:
            return PlainTextResponse("Not Found", status_code=404, headers=NO_STORE)
        return Response(picture.body, media_type=picture.media_type, headers=NO_STORE)

    def _agent(self, agent_id: str) -> Agent | None:
        found = (agent for agent in self._settings.agents.list if agent.id == agent_id)
        return next(found, None)

    def _url(self, agent_id: str, agent: Agent | None) -> str | None:
        given = agent.identity.avatar if agent is not None else None
        if given is None or given.startswith(("http://", "https://")):
            return given
        if self._picture(agent) is None:
            return None
        return given if given.startswith("data:") else f"/avatar/{agent_id}"

    def _picture(self, agent: Agent | None) -> Picture | None:
        given = agent.identity.avatar if agent is not None else None
        if agent is None or given is None or given.startswith(("http://", "https://")):
            return None
        if given.startswith("data:"):
            return _from_data_uri(given)
        return _from_file(self._workspace(agent), given)

    def _workspace(self, agent: Agent) -> Path:
        given = agent.workspace or self._settings.agents.defaults.workspace
        return Path(given).expanduser() if given else self._paths.workspace


def _from_data_uri(uri: str) -> Picture | None:
    """The picture of a `data:image/…;base64,…` URI."""
    head, separator, text = uri.removeprefix("data:").partition(",")
    media_type, *options = head.lower().split(";")
    if not separator or "base64" not in options or media_type not in MEDIA_TYPES.values():
        return None
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Picture(body, media_type) if len(body) <= LARGEST_BYTES else None


def _from_file(workspace: Path, name: str) -> Picture | None:
    """The picture in a file, wherever its name and links lead, if that is in the workspace."""
    try:
        root = workspace.resolve(strict=True)
        path = (root / Path(name).expanduser()).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None or not path.is_relative_to(root):
        return None
    try:
        # Neither a link put there meanwhile nor a pipe that would hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
            return None
        return Picture(file.read(LARGEST_BYTES), media_type)
