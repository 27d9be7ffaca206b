"""Asks the agent for an answer until there is one, whatever restarts meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bus.errors import RpcError
from conf.logs import Log, redact
from conf.schema import Settings
from workers.channels import reply
from workers.channels.backoff import AGENT
from workers.channels.inbox import InboxRow, InboxStep
from workers.channels.routing import session_key

GIVE_UP_AFTER_S = 1800.0


class Call(Protocol):
    """`Worker.call`."""

    def __call__(
        self,
        method: str,
        params: Any,
        *,
        timeout_s: float | None,
        on_partial: Callable[[bytes], None] | None,
    ) -> Awaitable[bytes]:
        """The payload of the final answer."""
        ...


@dataclass(frozen=True)
class Answer:
    """What the person gets, and whether that ends the matter well."""

    step: InboxStep
    text: str


class Agent:
    """The agent worker, as seen from a chat."""

    def __init__(
        self, call: Call, settings: Settings, log: Log, give_up_after_s: float = GIVE_UP_AFTER_S
    ) -> None:
        self._call = call
        self._settings = settings
        self._log = log
        self._give_up_after_s = give_up_after_s

    async def ask(self, row: InboxRow, accepted: Callable[[], None]) -> Answer:
        """The answer to a message; the same message is always the same run.

        While the agent is away it is asked again, until it was away for GIVE_UP_AFTER_S.
        """
        loop = asyncio.get_running_loop()
        failure_count, deadline = 0, loop.time() + self._give_up_after_s
        while True:
            asked_at = loop.time()
            try:
                # No time limit: a run ends by the agent's own limits, and a lost call is an error.
                final = await self._call(
                    "agent",
                    self._params(row),
                    timeout_s=None,
                    on_partial=lambda _: accepted(),
                )
                return Answer(InboxStep.ANSWER, reply.text_of(final))
            except RpcError as error:
                if not reply.is_worth_retrying(error):
                    self._log.warning("run failed", run=row.key, code=error.code)
                    return Answer(InboxStep.ANSWER, redact(reply.sentence(error)))
                if loop.time() - asked_at > AGENT.cap_s:  # it was there: being away starts now
                    failure_count, deadline = 0, loop.time() + self._give_up_after_s
                failure_count += 1
                if loop.time() >= deadline:
                    self._log.error("agent unreachable, message given up", run=row.key)
                    return Answer(InboxStep.GIVE_UP, reply.UNREACHABLE)
                delay_s = max(AGENT.delay_s(failure_count, random.random()), _asked_for(error))  # noqa: S311 - jitter
            await asyncio.sleep(delay_s)

    def _params(self, row: InboxRow) -> dict[str, str]:
        agents, session = self._settings.agents, self._settings.session
        place = (row.channel, row.account)
        key = session_key(
            agents.default_id(), session.main_key, session.dm_scope, place, row.message
        )
        message = row.message
        group = {"groupId": message.chat} if message.kind == "group" else {}
        thread = {"threadId": message.thread} if message.thread else {}
        return {
            "message": message.text,
            "sessionKey": key,
            "idempotencyKey": row.key,
            "channel": row.channel,
            "accountId": row.account,
            "to": message.chat,
            **group,
            **thread,
        }


def _asked_for(error: RpcError) -> float:
    """The pause the other side asked for, in seconds, within our own cap."""
    return min((error.retry_after_ms or 0) / 1000, AGENT.cap_s)
