"""All HTTP that is not the front's own: routes, and the headers every answer carries."""

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.runtime import Worker
from workers.web.avatars import Avatars
from workers.web.guard import Guard
from workers.web.openai_api import OpenAiApi
from workers.web.pages import Pages
from workers.web.refusals import HttpError
from workers.web.runs import Runs
from workers.web.tools import Tools

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


def api_routes(worker: Worker, runs: Runs) -> list[BaseRoute]:
    """The routes for programs; those that are switched off are not there."""
    guard = Guard(worker)
    settings = worker.settings
    openai = OpenAiApi(settings, guard, runs)
    endpoints = settings.gateway.http.endpoints
    # These judge the method themselves: another one gets 405 in plain text and what is allowed.
    any_method = [*READING, "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes = [Route("/tools/invoke", Tools(guard).invoke, methods=any_method)]
    if endpoints.chat_completions.enabled:
        path = "/v1/chat/completions"
        routes.append(Route(path, openai.chat_completions, methods=any_method))
    if endpoints.responses.enabled:
        routes.append(Route("/v1/responses", openai.responses, methods=any_method))
    if endpoints.chat_completions.enabled or endpoints.responses.enabled:
        routes.append(Route("/v1/models", openai.models))
        routes.append(Route("/v1/models/{name:path}", openai.model))
    avatars = Avatars(settings, worker.paths, guard)
    routes.append(Route("/avatar/{agent_id}", avatars.avatar))
    return list[BaseRoute](routes)


async def refuse(_request: Request, error: Exception) -> Response:
    """The answer that a refusal carries."""
    assert isinstance(error, HttpError)
    return Response(error.body, error.status, error.headers, error.media_type)


def build(pages: Pages, api: list[BaseRoute] | None = None) -> ASGIApp:
    """The application the listener serves."""
    routes = [
        Route("/", pages.chat),
        Route("/chat", pages.chat),
        Route("/favicon.ico", pages.icon),
        Route("/assets/{name}", pages.asset),
        *(api or ()),
        Route("/{path:path}", Elsewhere()),
    ]
    app = Starlette(routes=routes, exception_handlers={HttpError: refuse})
    app.router.redirect_slashes = False
    return Hardened(app)
