"""Runs that HTTP clients wait for: begun over the bus, followed, ended when the client goes."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from bus.errors import INVALID_REQUEST, RpcError, unavailable
from workers.runtime import Worker
from workers.web.outcome import Outcome, read_outcome

TOPIC = "agent"
MAX_OPEN = 256
"""Runs followed at a time; more are told to retry."""
ACCEPT_S = 30.0
"""Longest wait for the acceptance of a run whose client has left already."""
ABORT_S = 30.0
"""How long it is tried to end a run whose client has left, while the agent worker is away."""
PAUSE_S = 15.0
"""Silence after which a client is shown that we are still there."""


class Ask(Struct, frozen=True):
    """A run as an HTTP client wants it."""

    message: str
    session_key: str
    agent_id: str | None = None
    system: str | None = None


class _Said(Struct, frozen=True):
    delta: str = ""


class _AgentEvent(Struct, frozen=True):
    """What is needed of an `agent` event."""

    run_id: str = msgspec.field(default="", name="runId")
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_decode_event = msgspec.json.Decoder(_AgentEvent).decode
_decode_said = msgspec.json.Decoder(_Said).decode


class Run:
    """One run as its client hears it: pieces of text, then the outcome.

    What waits for a slow client is at most one answer, whose length the agent worker limits.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.id = str(uuid.uuid4())
        self.is_accepted = False
        self._waiting: list[str] = []
        self._said: list[str] = []
        self._end: Outcome | RpcError | None = None
        self._changed = asyncio.Event()

    @property
    def may_go_on(self) -> bool:
        """Whether the agent may still work on it: it has not ended, or only our call was lost."""
        if isinstance(self._end, RpcError):
            return self._end.code != INVALID_REQUEST
        return self._end is None

    def add(self, text: str) -> None:
        """The assistant said more."""
        self._waiting.append(text)
        self._changed.set()

    def accept(self) -> None:
        """The ledger has the run."""
        self.is_accepted = True
        self._changed.set()

    def end(self, end: Outcome | RpcError) -> None:
        """The run is over; text that did not come in pieces is one more piece."""
        if isinstance(end, Outcome):
            said = "".join([*self._said, *self._waiting])
            if end.text.startswith(said):
                self._waiting.append(end.text[len(said) :])
        self._end = end
        self._changed.set()

    async def begun(self) -> None:
        """Returns once the run is accepted. Raises RpcError if it is refused."""
        while not self.is_accepted and self._end is None:
            await self._news()
        if isinstance(self._end, RpcError) and not self.is_accepted:
            raise self._end

    async def piece(self) -> str | None:
        """New text, empty after PAUSE_S without any, None at the end. Raises RpcError."""
        if not self._waiting and self._end is None:
            try:
                async with asyncio.timeout(PAUSE_S):
                    await self._news()
            except TimeoutError:
                return ""
        text = "".join(self._waiting)
        self._waiting.clear()
        self._said.append(text)
        if text or self._end is None:
            return text
        self._raise_failure()
        return None

    async def outcome(self) -> Outcome:
        """How the run ended. Raises RpcError if it did not end well."""
        while self._end is None:
            await self._news()
        self._raise_failure()
        assert isinstance(self._end, Outcome)
        return self._end

    async def _news(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _raise_failure(self) -> None:
        if isinstance(self._end, RpcError):
            raise self._end


class Runs:
    """The runs clients wait for now."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._open: dict[str, Run] = {}
        self._streamed: set[str] = set()

    @property
    def topics(self) -> tuple[str, ...]:
        """What the worker must hear: events of runs only while somebody follows one."""
        return (TOPIC,) if self._streamed else ()

    @contextlib.asynccontextmanager
    async def run(self, ask: Ask, *, is_streamed: bool) -> AsyncIterator[Run]:
        """An accepted run; it is aborted if it has not ended by the end of the block.

        Raises RpcError if it is refused.
        """
        if len(self._open) >= MAX_OPEN:
            raise unavailable(f"{MAX_OPEN} HTTP clients wait for answers already", 1000)
        run = Run(ask)
        self._open[run.id] = run
        if is_streamed:
            self._streamed.add(run.id)
            if len(self._streamed) == 1:
                # Events are asked for before the run can have any.
                self._worker.announce()
        task = self._worker.spawn(self._follow(run), f"http run {run.id}")
        try:
            await run.begun()
            yield run
        finally:
            self._streamed.discard(run.id)
            self._open.pop(run.id, None)
            if run.may_go_on:
                self._worker.spawn(self._end(run, task), f"abort {run.id}")

    def on_event(self, payload: bytes) -> None:
        """Takes an `agent` event; most are of runs nobody follows here."""
        event = _decode_event(payload)
        run = self._open.get(event.run_id)
        if run is not None and event.stream == "assistant" and event.run_id in self._streamed:
            run.add(_decode_said(event.data).delta)

    async def stop(self) -> None:
        """Aborts what runs for clients that will not hear the answer."""
        async with asyncio.TaskGroup() as tasks:
            for run in list(self._open.values()):
                tasks.create_task(self._abort(run))

    async def _follow(self, run: Run) -> None:
        params: dict[str, Any] = {
            "message": run.ask.message,
            "sessionKey": run.ask.session_key,
            "idempotencyKey": run.id,
        }
        if run.ask.agent_id is not None:
            params["agentId"] = run.ask.agent_id
        if run.ask.system is not None:
            params["extraSystemPrompt"] = run.ask.system
        try:
            answer = await self._worker.call(
                "agent", params, timeout_s=None, on_partial=lambda _: run.accept()
            )
            run.end(read_outcome(answer))
        except RpcError as error:
            run.end(error)

    async def _end(self, run: Run, task: asyncio.Task[None]) -> None:
        """Aborts a run nobody waits for, once it is there to be aborted."""
        with contextlib.suppress(TimeoutError, RpcError):
            async with asyncio.timeout(ACCEPT_S):
                await run.begun()
        if run.may_go_on:
            await self._abort(run)
        task.cancel()

    async def _abort(self, run: Run) -> None:
        """Has the agent worker end a run, also one that is away for a moment."""
        params = {"sessionKey": run.ask.session_key, "runId": run.id}
        deadline = asyncio.get_running_loop().time() + ABORT_S
        while True:
            try:
                await self._worker.call("chat.abort", params)
            except RpcError as error:
                is_late = asyncio.get_running_loop().time() > deadline
                if error.retry_after_ms is None or is_late:
                    # It ends by its own time limit.
                    self._worker.log.warning("run not aborted", run_id=run.id, error=error.message)
                    return
                await asyncio.sleep(error.retry_after_ms / 1000)
            else:
                return
