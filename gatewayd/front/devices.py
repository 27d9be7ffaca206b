"""Devices of the port: how they come in, who approves them, how their tokens end."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import msgspec

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, Methods, Params, Result, Scope
from conf.logs import Log
from gatewayd.front.audience import Audience
from gatewayd.front.device_file import DeviceFile
from gatewayd.front.identifiers import fresh_uuid
from gatewayd.protocol.auth import Authenticator
from gatewayd.protocol.claims import Doors, Moment, judge_claim, pairing_required
from gatewayd.protocol.connect import Text
from gatewayd.protocol.devices import Book, Change, Device, PairingRequest, Pass, Token, Wish
from gatewayd.protocol.handshake import POLICY_VIOLATION, Admitted, Claim, Knock, Rejected, reject
from gatewayd.protocol.identity import Seen

OWNER = ("operator.admin",)
"""On whose behalf devices of this machine that know the secret are approved."""
Verdict = Admitted | Rejected
log = Log("front")


class NoMembers(Params, frozen=True):
    """Nothing may be given."""


class RequestIdParams(Params, frozen=True):
    """Which request is decided."""

    request_id: Text


class RotateParams(Params, frozen=True):
    """Whose token gets a new value; without scopes it keeps those it has."""

    device_id: Text
    role: Text
    scopes: tuple[Text, ...] | None = None


class RevokeParams(Params, frozen=True):
    """Whose token ends."""

    device_id: Text
    role: Text


class TokenSummary(Result, frozen=True):
    """A token without its value."""

    role: str
    scopes: tuple[str, ...]
    created_at_ms: int
    rotated_at_ms: int | None = None
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None


class PairedDevice(Result, frozen=True):
    """A paired device without its secrets."""

    device_id: str
    public_key: str
    role: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at_ms: int
    approved_at_ms: int
    tokens: tuple[TokenSummary, ...] = ()
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    remote_ip: str | None = None


class PairList(Result, frozen=True):
    """Who waits and who is paired, newest first."""

    pending: tuple[PairingRequest, ...]
    paired: tuple[PairedDevice, ...]


class Approved(Result, frozen=True):
    """The device as it is now."""

    request_id: str
    device: PairedDevice


class Turned(Result, frozen=True):
    """Whose request was rejected."""

    request_id: str
    device_id: str


class Rotated(Result, frozen=True):
    """The new token, shown this once."""

    device_id: str
    role: str
    token: str
    scopes: tuple[str, ...]
    rotated_at_ms: int


class Revoked(Result, frozen=True):
    """Since when the token is worth nothing."""

    device_id: str
    role: str
    revoked_at_ms: int


class Devices:
    """The paired devices, on disk and at the door."""

    methods = Methods()

    def __init__(self, file: DeviceFile, audience: Audience) -> None:
        self.tasks: asyncio.TaskGroup
        """Owns what is written without anybody waiting for it."""
        self.book: Book = file.book
        self._file = file
        self._audience = audience
        self._loop = asyncio.get_running_loop()
        self._seen = Seen()
        self._writing: Counter[str] = Counter()
        """Devices whose changes are on their way to the disk."""

    # Connect

    def enter(
        self, claim: Claim, knock: Knock, auth: Authenticator
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The verdict on a device, or what gives it once it is durable."""
        moment = Moment(time.monotonic(), _now_ms())
        wish = judge_claim(claim, knock, Doors(auth, self.book, self._seen), moment)
        if isinstance(wish, Rejected):
            return wish
        lacks = self.book.lacks(wish)
        try:
            if lacks is not None:
                return self._pair(claim, wish, lacks, moment.now_ms)
            return self._admit(claim, wish, moment.now_ms)
        except RpcError as error:
            return reject(claim.frame_id, error)

    def _admit(
        self, claim: Claim, wish: Wish, now_ms: int
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        """Lets a paired device in: at once, unless its token is new."""
        before = self.book.devices[wish.device_id].token_for(wish.role)
        used = claim.params.auth.token or ""
        token = self.book.admit(wish, _fresh_token(), used, now_ms)
        changes = self.book.take_changes()
        is_known = before is not None and before.token == token.token
        if not is_known or self._writing[wish.device_id]:
            return self._enter_durably(claim, wish, token, changes)
        if changes:
            self.tasks.create_task(self._note(changes))
        return _admitted(claim, wish, token)

    def _pair(
        self, claim: Claim, wish: Wish, lacks: str, now_ms: int
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        """Pairs a device of this machine; every other one waits for an operator."""
        request, is_new = self.book.ask(wish, fresh_uuid(), now_ms)
        if not is_new:
            changes = self.book.take_changes()
            if changes:
                self.tasks.create_task(self._note(changes))
            return reject(claim.frame_id, pairing_required(request.request_id, lacks))
        if not request.silent:
            return self._announce(claim, request, lacks, self.book.take_changes())
        self.book.approve(request.request_id, OWNER, _fresh_token(), now_ms)
        token = self.book.admit(wish, _fresh_token(), "", now_ms)
        return self._enter_durably(claim, wish, token, self.book.take_changes(), request)

    async def _announce(
        self, claim: Claim, request: PairingRequest, lacks: str, changes: list[Change]
    ) -> Verdict:
        try:
            await self._save(changes)
        except RpcError as error:
            return reject(claim.frame_id, error)
        log.info("device asks to be paired", device=request.device_id, request=request.request_id)
        self._publish("device.pair.requested", request)
        return reject(claim.frame_id, pairing_required(request.request_id, lacks))

    async def _enter_durably(
        self, claim: Claim, wish: Wish, token: Token, changes: list[Change],
        request: PairingRequest | None = None,
    ) -> Verdict:  # fmt: skip
        try:
            await self._save(changes)
            if not self.book.is_live(wish.device_id, token):
                raise invalid("device token revoked")
        except RpcError as error:
            return reject(claim.frame_id, error)
        if request is not None:
            self._resolved(request, "approved")
        return _admitted(claim, wish, token)

    # Methods

    @methods.method("device.pair.list", scope=Scope.PAIRING)
    def list_devices(self, call: Call, params: NoMembers) -> PairList:
        """Devices that wait for approval and devices that are paired; no token is shown."""
        now_ms = _now_ms()
        waiting = [one for one in self.book.requests.values() if not one.is_over(now_ms)]
        waiting.sort(key=lambda request: -request.ts)
        devices = sorted(self.book.devices.values(), key=lambda device: -device.approved_at_ms)
        return PairList(tuple(waiting), tuple(map(_shown, devices)))

    @methods.method("device.pair.approve", scope=Scope.PAIRING)
    async def approve(self, call: Call, params: RequestIdParams) -> Approved:
        """Pairs a device; nobody can give it more than they hold themselves."""
        held = call.caller.scopes
        request, device = self.book.approve(params.request_id, held, _fresh_token(), _now_ms())
        await self._save(self.book.take_changes())
        log.info("device paired", device=device.device_id, by=call.caller.id)
        self._resolved(request, "approved")
        return Approved(request.request_id, _shown(device))

    @methods.method("device.pair.reject", scope=Scope.PAIRING)
    async def reject(self, call: Call, params: RequestIdParams) -> Turned:
        """Forgets the request of a device."""
        request = self.book.reject(params.request_id, _now_ms())
        await self._save(self.book.take_changes())
        self._resolved(request, "rejected")
        return Turned(request.request_id, request.device_id)

    @methods.method("device.token.rotate", scope=Scope.PAIRING)
    async def rotate(self, call: Call, params: RotateParams) -> Rotated:
        """Gives a device's token a new value; it gets it when it connects again."""
        of, held, now_ms = (params.device_id, params.role), call.caller.scopes, _now_ms()
        token = self.book.rotate(of, params.scopes, held, _fresh_token(), now_ms)
        await self._save(self.book.take_changes())
        self._loop.call_soon(self._close, params.device_id, token.role)
        log.info("device token rotated", device=params.device_id, role=token.role)
        return Rotated(params.device_id, token.role, token.token, token.scopes, now_ms)

    @methods.method("device.token.revoke", scope=Scope.PAIRING)
    async def revoke(self, call: Call, params: RevokeParams) -> Revoked:
        """Ends a device's token and closes the connections it has in that role."""
        now_ms = _now_ms()
        token = self.book.revoke(params.device_id, params.role, now_ms)
        try:
            await self._save(self.book.take_changes())
        finally:
            self._loop.call_soon(self._close, params.device_id, token.role)
        log.info("device token revoked", device=params.device_id, role=token.role)
        return Revoked(params.device_id, token.role, now_ms)

    # What they share

    async def _save(self, changes: list[Change]) -> None:
        """Returns once the changes are durable; takes them back when they cannot be."""
        keys = [change.key for change in changes]
        self._writing.update(keys)
        try:
            await self._file.write(changes)
        except RpcError:
            self.book.undo(changes)
            raise
        except TimeoutError:
            raise unavailable("the disk does not answer, try again later", 1000) from None
        finally:
            self._writing.subtract(keys)
            for key in keys:
                if not self._writing[key]:
                    del self._writing[key]

    async def _note(self, changes: list[Change]) -> None:
        """Writes what nobody waits for."""
        try:
            await self._save(changes)
        except RpcError as error:
            log.warning("device not updated", error=error.message)

    def _close(self, device_id: str, role: str) -> None:
        for client in self._audience:
            if client.device_id == device_id and client.rights.role == role:
                client.close(POLICY_VIOLATION, "device token revoked")

    def _resolved(self, request: PairingRequest, decision: str) -> None:
        members = {
            "requestId": request.request_id, "deviceId": request.device_id,
            "decision": decision, "ts": _now_ms(),
        }  # fmt: skip
        self._publish("device.pair.resolved", members)

    def _publish(self, topic: str, payload: Any) -> None:
        body = msgspec.json.encode(payload)
        self._audience.publish(topic, body, scope=Scope.PAIRING, drop_if_slow=True)


def _admitted(claim: Claim, wish: Wish, token: Token) -> Admitted:
    return Admitted(claim.frame_id, claim.params, wish.scopes, Pass(wish.device_id, token))


def _shown(device: Device) -> PairedDevice:
    return msgspec.convert(device, PairedDevice, from_attributes=True)


def _fresh_token() -> str:
    return os.urandom(16).hex()


def _now_ms() -> int:
    return int(time.time() * 1000)
