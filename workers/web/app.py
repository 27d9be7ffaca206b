"""All HTTP that is not the front's own: routes, and the headers every answer carries."""

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.web.pages import Pages

READING = ("GET", "HEAD")
# Trusted types: even a mistake of ours cannot turn text into markup.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Hardened:
    """Adds to every answer, errors included, the headers that keep a page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the application does, with our headers."""

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_hardened)


class Elsewhere:
    """Every path nobody serves; as an application of its own it gets every method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 404, or 405 to what does not only read."""
        answer = PlainTextResponse("Not Found", status_code=404)
        if scope["method"] not in READING:
            allow = {"Allow": ", ".join(READING)}
            answer = PlainTextResponse("Method Not Allowed", status_code=405, headers=allow)
        await answer(scope, receive, send)


def build(pages: Pages) -> ASGIApp:
    """The application the listener serves."""
    routes = [
        Route("/", pages.chat),
        Route("/chat", pages.chat),
        Route("/favicon.ico", pages.icon),
        Route("/assets/{name}", pages.asset),
        Route("/{path:path}", Elsewhere()),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return Hardened(app)
