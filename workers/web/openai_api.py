"""The routes of the OpenAI API that clients know: completions, responses, models."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from conf.schema import Settings
from workers.web import chat_form, refusals, response_request
from workers.web.answering import RunAnswer
from workers.web.chat_form import ChatForm, ChatRequest
from workers.web.guard import Guard, read_json
from workers.web.headers import DEFAULT_MODEL, agent_of, session_of
from workers.web.prompt import PromptError
from workers.web.response_form import ResponseForm
from workers.web.response_request import ResponseRequest
from workers.web.runs import Ask, Runs

CHAT_MAY_HAVE_BYTES = 1_048_576
RESPONSE_MAY_HAVE_BYTES = 20_971_520


class OpenAiApi:
    """What programs written for OpenAI's service find here; agents stand in for models."""

    def __init__(self, settings: Settings, guard: Guard, runs: Runs) -> None:
        self._settings = settings
        self._guard = guard
        self._runs = runs
        self._started = int(time.time())

    async def chat_completions(self, request: Request) -> RunAnswer:
        """`POST /v1/chat/completions`."""
        await self._guard.admit_post(request, "write")
        asked = await read_json(request, ChatRequest, CHAT_MAY_HAVE_BYTES)
        try:
            prompt = chat_form.prompt_of(asked)
        except PromptError as error:
            raise refusals.invalid(str(error)) from None
        agent_id = agent_of(request.headers, asked.model)
        session = self._session(request.headers, agent_id, "openai", asked.user, str(uuid.uuid4()))
        ask = Ask(prompt.message, session, agent_id, prompt.system)
        form = ChatForm(asked, f"chatcmpl_{uuid.uuid4()}", int(time.time()))
        return RunAnswer(self._runs, ask, form, is_streamed=bool(asked.stream))

    async def responses(self, request: Request) -> RunAnswer:
        """`POST /v1/responses`."""
        await self._guard.admit_post(request, "write")
        asked = await read_json(request, ResponseRequest, RESPONSE_MAY_HAVE_BYTES)
        try:
            prompt = response_request.prompt_of(asked)
            response_id, fresh = response_request.fresh_ids(
                asked.previous_response_id, uuid.uuid4().hex, uuid.uuid4().hex
            )
        except PromptError as error:
            raise refusals.invalid(str(error)) from None
        agent_id = agent_of(request.headers, asked.model)
        prefix = response_request.PREFIX
        session = self._session(request.headers, agent_id, prefix, asked.user, fresh)
        ask = Ask(prompt.message, session, agent_id, prompt.system)
        form = ResponseForm(asked, response_id, int(time.time()))
        return RunAnswer(self._runs, ask, form, is_streamed=bool(asked.stream))

    async def models(self, request: Request) -> JSONResponse:
        """`GET /v1/models`."""
        await self._guard.admit(request, "read")
        rows = [self._model(name) for name in self._names()]
        return JSONResponse({"object": "list", "data": rows}, headers={"Cache-Control": "no-store"})

    async def model(self, request: Request) -> JSONResponse:
        """`GET /v1/models/<id>`."""
        await self._guard.admit(request, "read")
        name = request.path_params["name"]
        if name not in self._names():
            raise refusals.refused(
                404, refusals.INVALID, f"The model {name[:100]!r} does not exist; see /v1/models"
            )
        return JSONResponse(self._model(name), headers={"Cache-Control": "no-store"})

    def _names(self) -> list[str]:
        agents = [agent.id for agent in self._settings.agents.list] or ["main"]
        return [DEFAULT_MODEL, *(f"{DEFAULT_MODEL}/{agent}" for agent in agents)]

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": DEFAULT_MODEL}

    def _session(
        self,
        headers: Mapping[str, str],
        agent_id: str | None,
        prefix: str,
        user: str | None,
        fresh: str,
    ) -> str:
        owner = agent_id or self._settings.agents.default_id()
        return session_of(headers, owner, prefix, user, fresh)
