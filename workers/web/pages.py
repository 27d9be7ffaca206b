"""The files of the web chat, read once at start and answered from memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

UI = Path(__file__).parent / "ui"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Page:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


class Pages:
    """The files of one folder by name."""

    def __init__(self, folder: Path = UI) -> None:
        self._pages = {
            path.name: _read(path)
            for path in sorted(folder.iterdir())
            if path.suffix in MEDIA_TYPES and path.is_file()
        }

    async def chat(self, request: Request) -> Response:
        """The web chat."""
        return self._answer(request, "index.html")

    async def icon(self, request: Request) -> Response:
        """The icon browsers ask for by themselves."""
        return self._answer(request, "icon.svg")

    async def asset(self, request: Request) -> Response:
        """A file of the web chat."""
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        page = self._pages.get(name)
        if page is None:
            return PlainTextResponse("Not Found", status_code=404)
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if _names(request.headers.get("if-none-match", ""), page.etag):
            return Response(status_code=304, headers=headers)
        return Response(page.body, media_type=page.media_type, headers=headers)


def _read(path: Path) -> Page:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:32]
    return Page(body, MEDIA_TYPES[path.suffix], f'"{digest}"')


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names this version; a proxy may have made the tag a weak one."""
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in tags)
