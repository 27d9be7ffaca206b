"""The methods of the channels worker: status, pairing, sending."""

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, LooseParams, Methods, NoParams, Params, Result, Scope
from workers.channels import acquaintances, ledger, pairing
from workers.channels.account import Account
from workers.channels.base import (
    Adapter,
    LostError,
    NotTakenError,
    Outbound,
    ParkedError,
    RefusedError,
)
from workers.channels.chunking import chunks
from workers.channels.host import Host, describe
from workers.channels.pairing import PairingRequest
from workers.channels.status import channels_status

Name = Annotated[str, Meta(min_length=1, max_length=64)]
SEND_TIMEOUT_S = 25.0
PROBE_TIMEOUT_MS = 10_000


class StatusParams(LooseParams, frozen=True):
    """Params of `channels.status`."""

    probe: bool = False
    timeout_ms: Annotated[int, Meta(ge=0)] = PROBE_TIMEOUT_MS


class CodeParams(Params, frozen=True):
    """Params of `channels.pairing.approve` and `reject`."""

    channel: Name
    code: Name


class SendParams(Params, frozen=True):
    """Params of `send`."""

    to: Annotated[str, Meta(min_length=1)]
    message: Annotated[str, Meta(min_length=1)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)]
    channel: str | None = None
    account_id: str | None = None
    session_key: str | None = None
    """Accepted; what is sent is not yet mirrored into a transcript."""
    media_url: str | None = None
    media_urls: tuple[str, ...] = ()
    gif_playback: bool = False


class Pending(Result, frozen=True):
    """Someone who waits for approval."""

    channel: str
    code: str
    sender_id: str
    created_at_ms: int
    last_seen_at_ms: int
    sender_name: str = ""


class PendingList(Result, frozen=True, omit_defaults=False):
    """Result of `channels.pairing.list`."""

    requests: list[Pending]


class Decided(Result, frozen=True):
    """Result of `channels.pairing.approve` and `reject`."""

    channel: str
    sender_id: str
    code: str
    decision: str


class Sent(Result, frozen=True):
    """Result of `send`."""

    run_id: str
    message_id: str
    channel: str
    chat_id: str


class ChannelMethods:
    """Acts on the accounts; `hosts` holds the ones that are configured and enabled."""

    methods = Methods()

    def __init__(self, accounts: Mapping[str, Account], hosts: Mapping[str, Host]) -> None:
        self._accounts = accounts
        self._hosts = hosts

    @methods.method("channels.status", scope=Scope.READ)
    async def status(self, _call: Call, params: StatusParams) -> dict[str, Any]:
        """Every channel with its accounts; `probe` asks the services now."""
        probes: dict[str, dict[str, Any]] = {}
        if params.probe:
            timeout_s = max(params.timeout_ms, 1000) / 1000
            running = {name: host.adapter for name, host in self._hosts.items() if host.adapter}
            answers = await asyncio.gather(*(_probe(a, timeout_s) for a in running.values()))
            probes = dict(zip(running, answers, strict=True))
        views = [describe(account) if name not in self._hosts else self._hosts[name].view()
                 for name, account in self._accounts.items()]  # fmt: skip
        return channels_status(views, self._now(), probes)

    @methods.method("channels.pairing.list", scope=Scope.PAIRING)
    def pairing_list(self, _call: Call, _params: NoParams) -> PendingList:
        """People who wrote and wait for approval."""
        requests = [
            Pending(r.channel, r.code, r.sender, r.created_ms, r.last_seen_ms, r.sender_name)
            for r in self._any().store.read(acquaintances.pending(self._now()))
        ]
        return PendingList(requests)

    @methods.method("channels.pairing.approve", scope=Scope.PAIRING)
    async def approve(self, _call: Call, params: CodeParams) -> Decided:
        """Lets a person talk to the agent from now on, and tells them."""
        account, request = self._requested(params)

        def job(db: sqlite3.Connection) -> bool:
            now_ms = account.clock()
            if not acquaintances.approve(db, request, now_ms):
                return False
            key = f"approval:{request.channel}:{request.code}:{request.created_ms}"
            notice = [Outbound(request.chat, pairing.APPROVAL)]
            ledger.enqueue(db, account.place, key, notice, (now_ms, now_ms))
            return True

        if not await account.store.write(job):
            raise _no_request(params)
        account.log.info("pairing approved", channel=request.channel, id=request.sender)
        if params.channel in self._hosts:
            self._hosts[params.channel].deliver([request.chat])
        return Decided(request.channel, request.sender, request.code, "approved")

    @methods.method("channels.pairing.reject", scope=Scope.PAIRING)
    async def reject(self, _call: Call, params: CodeParams) -> Decided:
        """Forgets the request; the person is not told and may ask again."""
        account, request = self._requested(params)
        if not await account.store.write(lambda db: acquaintances.reject(db, request)):
            raise _no_request(params)
        account.log.info("pairing rejected", channel=request.channel, id=request.sender)
        return Decided(request.channel, request.sender, request.code, "rejected")

    @methods.method("send", scope=Scope.WRITE)
    async def send(self, _call: Call, params: SendParams) -> Sent:
        """Sends a message to a chat; the same idempotencyKey never sends twice."""
        channel = self._channel_for(params)
        host = self._hosts.get(channel)
        if params.media_url or params.media_urls:
            raise invalid("send: media cannot be sent yet; leave out mediaUrl and mediaUrls")
        adapter = host.adapter if host is not None else None
        if host is None or adapter is None:
            raise unavailable(f"{channel} is not running; see channels.status", None)
        account = host.account
        if params.account_id not in (None, account.account_id):
            raise invalid(f"send: {channel} has no account {params.account_id!r}")
        try:
            chat = adapter.target(params.to)
        except ValueError as error:
            raise invalid(f"send: {error}") from None
        parts = [Outbound(chat, text) for text in chunks(params.message, account.chunk_limit)]
        if not parts:
            raise invalid("send: message has nothing but white space")
        key = f"send:{params.idempotency_key}"
        now_ms = account.clock()
        await account.store.write(
            lambda db: ledger.enqueue(db, account.place, key, parts, (now_ms, now_ms))
        )
        host.deliver([chat])
        message_id = await self._delivered(host, key)
        return Sent(params.idempotency_key, message_id, channel, chat)

    async def _delivered(self, host: Host, key: str) -> str:
        """The message id once all parts are sent. Raises UNAVAILABLE when one was not."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                found = host.account.store.read(ledger.delivery(key))
                while found is None or not found.is_finished:
                    await host.moved()
                    found = host.account.store.read(ledger.delivery(key))
        except TimeoutError:
            text = "send: not delivered yet, still being tried; ask again with the same key"
            raise unavailable(text, 1_000) from None
        if found.error:
            raise unavailable(f"send: not delivered: {found.error}", None)
        return found.message_id

    def _channel_for(self, params: SendParams) -> str:
        """The channel named, or named by the target's prefix, or the only one that is on."""
        prefix = params.to.partition(":")[0]
        channel = params.channel or (prefix if prefix in self._accounts else None)
        if channel is None:
            if len(self._hosts) != 1:
                raise invalid("send: channel is required: no or several channels are configured")
            return next(iter(self._hosts))
        if channel not in self._accounts:
            raise invalid(f"unsupported channel: {channel}")
        return channel

    def _requested(self, params: CodeParams) -> tuple[Account, PairingRequest]:
        account = self._accounts.get(params.channel)
        if account is None:
            raise invalid(f"unsupported channel: {params.channel}")
        waiting = account.store.read(acquaintances.pending(account.clock(), params.channel))
        request = pairing.find(waiting, params.code)
        if request is None:
            raise _no_request(params)
        return account, request

    def _any(self) -> Account:
        return next(iter(self._accounts.values()))

    def _now(self) -> int:
        return self._any().clock()


def _no_request(params: CodeParams) -> RpcError:
    return invalid(
        f"no pairing request on {params.channel} has code {params.code}: codes live 60 minutes; "
        "channels.pairing.list shows the open ones"
    )


async def _probe(adapter: Adapter, timeout_s: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(timeout_s):
            name = await adapter.probe()
    except TimeoutError:
        return {"ok": False, "error": f"no answer within {timeout_s:g} s"}
    except (NotTakenError, RefusedError, LostError, ParkedError) as error:
        return {"ok": False, "error": str(error)}
    elapsed_ms = int((loop.time() - began) * 1000)
    return {"ok": True, "elapsedMs": elapsed_ms, "bot": {"username": name.removeprefix("@")}}
