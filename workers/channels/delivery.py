"""Sends what is in the outbox: in order per chat, each attempt recorded before it is made."""

import asyncio
import random

from workers.channels import ledger
from workers.channels.account import Account
from workers.channels.backoff import SERVICE
from workers.channels.base import Adapter, LostError, NotTakenError, ParkedError, RefusedError
from workers.channels.ledger import Outcome
from workers.channels.outbox import OutboxRow, OutboxState, OutboxStep, as_sent, is_expired

PARKED_PAUSE_S = 60.0


class Delivery:
    """Works off the outbox of one account."""

    def __init__(self, account: Account, adapter: Adapter) -> None:
        self._account = account
        self._adapter = adapter
        self._is_closing = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._moved = asyncio.Event()
        self.last_sent_ms: int | None = None

    async def step(self, chat: str) -> bool:
        """Works on the chat's oldest message; False if none is left or we are closing."""
        account = self._account
        row = account.store.read(ledger.next_outbound(account.place, chat))
        if row is None or self._is_closing:
            return False
        now_ms = account.clock()
        if is_expired(row, now_ms):
            error = Outcome(error="not delivered within a day")
            await account.store.write(ledger.move(row.id, OutboxStep.EXPIRE, now_ms, error))
            account.log.error("reply expired", outbox_id=row.id, channel=row.channel)
            self._tell()
        elif row.next_attempt_ms > now_ms:
            await asyncio.sleep((row.next_attempt_ms - now_ms) / 1000)
        else:
            await self._attempt(row)
        return True

    async def moved(self) -> None:
        """Returns when some message has reached an end since the call."""
        await self._moved.wait()

    async def settle(self) -> None:
        """Begins no attempt any more; returns when none is under way."""
        self._is_closing = True
        await self._idle.wait()

    async def _attempt(self, row: OutboxRow) -> None:
        self._under_way += 1
        self._idle.clear()
        try:
            account = self._account
            recorded = ledger.move(row.id, OutboxStep.ATTEMPT, account.clock())
            state = await account.store.write(recorded)
            if state is OutboxState.RECONCILED:
                account.log.warning(
                    "sent once more, nobody knows whether it arrived", outbox_id=row.id
                )
            what, outcome = await self._send(row)
            await account.store.write(ledger.move(row.id, what, account.clock(), outcome))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        self._tell()

    async def _send(self, row: OutboxRow) -> tuple[OutboxStep, Outcome]:
        """One attempt and what is known of it."""
        account = self._account
        try:
            message_id = await self._adapter.send(as_sent(row, account.clock()))
        except NotTakenError as error:
            return self._postponed(row, str(error), error.retry_after_s or 0.0)
        except ParkedError as error:
            return self._postponed(row, str(error), PARKED_PAUSE_S)
        except RefusedError as error:
            account.log.warning("message refused", outbox_id=row.id, reason=str(error))
            return OutboxStep.REJECT, Outcome(error=str(error))
        except LostError as error:
            account.log.warning("message may be lost", outbox_id=row.id, reason=str(error))
            next_ms = account.clock() + self._pause_ms(row, 0.0)
            return OutboxStep.LOSE, Outcome(error=str(error), next_attempt_ms=next_ms)
        self.last_sent_ms = account.clock()
        return OutboxStep.CONFIRM, Outcome(message_id=message_id)

    def _postponed(self, row: OutboxRow, error: str, least_s: float) -> tuple[OutboxStep, Outcome]:
        pause_ms = self._pause_ms(row, least_s)
        self._account.log.warning(
            "message postponed", outbox_id=row.id, reason=error, pause_ms=pause_ms
        )
        next_ms = self._account.clock() + pause_ms
        return OutboxStep.POSTPONE, Outcome(error=error, next_attempt_ms=next_ms)

    def _pause_ms(self, row: OutboxRow, least_s: float) -> int:
        delay_s = SERVICE.delay_s(row.attempt_count + 1, random.random())  # noqa: S311 - jitter
        return int(max(delay_s, least_s) * 1000)

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
