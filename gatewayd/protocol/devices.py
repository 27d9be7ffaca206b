"""Paired devices, requests to be paired, device tokens: every decision about them. Pure.

The book changes at once; what was changed is taken from it, written, and undone if it could not
be written. Nobody is told of a change before it is durable.
"""

import hmac
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bus.errors import invalid, unavailable
from gatewayd.protocol.connect import Client

REQUEST_TTL_MS = 300_000
PREVIOUS_TTL_MS = 600_000
"""How long a rotated token still lets its device in to fetch the new one."""
USE_NOTED_MS = 60_000
"""How often the use of a token is written down."""
MAX_REQUESTS = 256
"""Waiting at a time; the oldest goes first."""
MAX_DEVICES = 10_000
MAX_LOST = 64
LONGEST_NAME_CHARS = 256
"""Of what a device says of itself; operators are sent it."""
_ADMIN, _READ, _WRITE = "operator.admin", "operator.read", "operator.write"


class Token(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a device presents instead of the shared secret: one per role."""

    role: str
    token: str
    scopes: tuple[str, ...]
    created_at_ms: int
    rotated_at_ms: int | None = None
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None
    previous: str = ""
    previous_until_ms: int = 0

    @property
    def issued_at_ms(self) -> int:
        """When its present value was made."""
        return self.rotated_at_ms or self.created_at_ms


class Device(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A device that was approved, with all that was ever approved for it."""

    device_id: str
    public_key: str
    role: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at_ms: int
    approved_at_ms: int
    tokens: tuple[Token, ...] = ()
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    remote_ip: str | None = None

    def token_for(self, role: str) -> Token | None:
        """Its token of that role, revoked or not."""
        return next((token for token in self.tokens if token.role == role), None)

    def with_token(self, token: Token) -> "Device":
        """The device with this token in place of the role's former one."""
        by_role = {known.role: known for known in self.tokens}
        by_role[token.role] = token
        return replace(self, tokens=tuple(by_role.values()))


class PairingRequest(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A device that asks to be paired, or for a role or scopes it does not have yet."""

    request_id: str
    device_id: str
    public_key: str
    role: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    silent: bool
    is_repair: bool
    ts: int
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    remote_ip: str | None = None

    def is_over(self, now_ms: int) -> bool:
        """Whether nobody answered it in time."""
        return now_ms - self.ts >= REQUEST_TTL_MS


Record = Device | PairingRequest


@dataclass(frozen=True)
class Wish:
    """What a proven device asks for at connect."""

    device_id: str
    public_key: str
    client: Client
    role: str
    scopes: tuple[str, ...]
    remote_ip: str | None
    """None for a device on this machine: it needs nobody's approval."""


@dataclass(frozen=True)
class Pass:
    """A paired device that came in."""

    device_id: str
    token: Token

    def shape(self) -> dict[str, object]:
        """`auth` of its hello-ok."""
        token = self.token
        return {
            "deviceToken": token.token, "role": token.role, "scopes": token.scopes,
            "issuedAtMs": token.issued_at_ms,
        }  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One record before and after; None where there was or is none."""

    kind: str
    """`device` or `request`."""
    key: str
    before: Record | None
    after: Record | None


class Book:
    """All devices and requests."""

    def __init__(
        self, devices: Iterable[Device] = (), requests: Iterable[PairingRequest] = ()
    ) -> None:
        self.devices = {device.device_id: device for device in devices}
        self.requests = {request.request_id: request for request in requests}
        self._changes: list[Change] = []
        self._lost: deque[Change] = deque(maxlen=MAX_LOST)
        """Changes that were not written but built upon: what is built on them may fail too."""

    def take_changes(self) -> list[Change]:
        """What has changed since the last call, in order: to be written."""
        taken, self._changes = self._changes, []
        return taken

    def undo(self, changes: list[Change]) -> None:
        """Takes back what could not be written, unless it has changed again."""
        for change in reversed(changes):
            records: dict[str, Any] = self._records(change.kind)
            before = change.before
            for lost in reversed(self._lost):
                before = lost.before if before is not None and before is lost.after else before
            if records.get(change.key) is not change.after:
                self._lost.append(change)
            elif before is None:
                records.pop(change.key, None)
            else:
                records[change.key] = before

    # Connect

    def matching(self, wish: Wish, given: str, now_ms: int) -> Token | None:
        """The live token of that device and role with this value; the one before counts a while."""
        device = self.devices.get(wish.device_id)
        token = device.token_for(wish.role) if device is not None else None
        if token is None or token.revoked_at_ms is not None or not given:
            return None
        is_previous = now_ms < token.previous_until_ms and same(given, token.previous)
        return token if same(given, token.token) or is_previous else None

    def lacks(self, wish: Wish) -> str | None:
        """Why the device has to be paired (again) for what it wants, or None."""
        device = self.devices.get(wish.device_id)
        if device is None:
            return "not-paired"
        if wish.role not in device.roles:
            return "role-upgrade"
        return None if covers(device.scopes, wish.scopes) else "scope-upgrade"

    def ask(self, wish: Wish, request_id: str, now_ms: int) -> tuple[PairingRequest, bool]:
        """The request of that device, and whether it is new; one that waits is left as it is."""
        self.expire(now_ms)
        waiting = (one for one in self.requests.values() if one.device_id == wish.device_id)
        known = next(waiting, None)
        if known is not None:
            return known, False
        is_repair = wish.device_id in self.devices
        if not is_repair and len(self.devices) >= MAX_DEVICES:
            raise unavailable("too many paired devices: no more can be paired", None)
        while len(self.requests) >= MAX_REQUESTS:
            oldest = min(self.requests.values(), key=lambda one: one.ts)
            self._set("request", oldest.request_id, None)
        request = PairingRequest(
            request_id, wish.device_id, wish.public_key, wish.role, (wish.role,), wish.scopes,
            silent=wish.remote_ip is None, is_repair=is_repair, ts=now_ms,
            **_description(wish),
        )  # fmt: skip
        self._set("request", request_id, request)
        return request, True

    def admit(self, wish: Wish, fresh: str, used: str, now_ms: int) -> Token:
        """The token a paired device gets at connect; `used` is the secret it came with."""
        device = self.devices[wish.device_id]
        token = device.token_for(wish.role)
        if token is None or token.revoked_at_ms is not None:
            token = Token(wish.role, fresh, wish.scopes, now_ms)
        elif not covers(token.scopes, wish.scopes):
            token = _successor(token, wish.role, tuple(sorted(wish.scopes)), fresh, now_ms)
        elif token.previous and same(used, token.token):
            token = replace(token, previous="", previous_until_ms=0)
        if now_ms - (token.last_used_at_ms or 0) > USE_NOTED_MS:
            token = replace(token, last_used_at_ms=now_ms)
        news = {n: v for n, v in _description(wish).items() if v != getattr(device, n)}
        if news or token is not device.token_for(wish.role):
            self._set("device", wish.device_id, replace(device.with_token(token), **news))
        return token

    def is_live(self, device_id: str, token: Token) -> bool:
        """Whether the token was neither revoked nor replaced since it was looked up."""
        device = self.devices.get(device_id)
        known = device.token_for(token.role) if device is not None else None
        return known is not None and known.revoked_at_ms is None and known.token == token.token

    # Decisions of operators

    def approve(
        self, request_id: str, held: tuple[str, ...], fresh: str, now_ms: int
    ) -> tuple[PairingRequest, Device]:
        """Pairs the device of a request; nobody gives more than `held`, their own scopes."""
        request = self._request(request_id, now_ms)
        refuse_beyond(held, request.scopes)
        known = self.devices.get(request.device_id)
        former = known.token_for(request.role) if known is not None else None
        scopes = request.scopes or (former.scopes if former is not None else ())
        refuse_beyond(held, scopes)
        token = _successor(former, request.role, scopes, fresh, now_ms)
        device = Device(
            request.device_id, request.public_key, request.role,
            _union(known.roles if known else (), request.roles),
            _union(known.scopes if known else (), request.scopes),
            known.created_at_ms if known else now_ms, now_ms, known.tokens if known else (),
            request.display_name, request.platform, request.client_id, request.client_mode,
            request.remote_ip,
        ).with_token(token)  # fmt: skip
        self._set("device", device.device_id, device)
        self._set("request", request_id, None)
        return request, device

    def reject(self, request_id: str, now_ms: int) -> PairingRequest:
        """Forgets a request."""
        request = self._request(request_id, now_ms)
        self._set("request", request_id, None)
        return request

    def rotate(
        self, of: tuple[str, str], scopes: tuple[str, ...] | None, held: tuple[str, ...],
        fresh: str, now_ms: int,
    ) -> Token:  # fmt: skip
        """A new token for a device and role; the old one works until the new one is used."""
        device, role = self._device(*of)
        former = device.token_for(role)
        if scopes is None:
            scopes = former.scopes if former else () if role == "node" else device.scopes
        refuse_beyond(held, scopes)
        if not covers(device.scopes, scopes):
            missing = ", ".join(scope for scope in scopes if not covers(device.scopes, (scope,)))
            raise invalid(
                f"scopes not approved for this device: {missing}; "
                "approve its request when it connects asking for them"
            )
        token = _successor(former, role, tuple(dict.fromkeys(scopes)), fresh, now_ms)
        token = replace(token, rotated_at_ms=now_ms)
        self._set("device", device.device_id, device.with_token(token))
        return token

    def revoke(self, device_id: str, role: str, now_ms: int) -> Token:
        """Ends a device's token; the device stays paired."""
        device, role = self._device(device_id, role)
        former = device.token_for(role)
        if former is None:
            raise invalid("unknown deviceId/role")
        token = replace(former, revoked_at_ms=now_ms, previous="", previous_until_ms=0)
        self._set("device", device_id, device.with_token(token))
        return token

    def expire(self, now_ms: int) -> None:
        """Drops requests that nobody answered in time."""
        for request in list(self.requests.values()):
            if request.is_over(now_ms):
                self._set("request", request.request_id, None)

    def _request(self, request_id: str, now_ms: int) -> PairingRequest:
        self.expire(now_ms)
        request = self.requests.get(request_id)
        if request is None:
            raise invalid("unknown requestId")
        return request

    def _device(self, device_id: str, role: str) -> tuple[Device, str]:
        device = self.devices.get(device_id)
        if device is None or role.strip() not in device.roles:
            raise invalid("unknown deviceId/role")
        return device, role.strip()

    def _records(self, kind: str) -> dict[str, Any]:
        return self.devices if kind == "device" else self.requests

    def _set(self, kind: str, key: str, after: Record | None) -> None:
        records = self._records(kind)
        self._changes.append(Change(kind, key, records.get(key), after))
        if after is None:
            records.pop(key, None)
        else:
            records[key] = after


def covers(held: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether `held` scopes include all of `wanted`: admin holds every one, write holds read."""
    if _ADMIN in held:
        return True
    return all(one in held or (one == _READ and _WRITE in held) for one in wanted)


def refuse_beyond(held: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Raises the error for giving away scopes that one does not hold."""
    for scope in wanted:
        if not covers(held, (scope,)):
            raise invalid(f"missing scope: {scope}")


def same(given: str, known: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of where they differ."""
    return bool(known) and hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), known.encode("utf-8", "surrogatepass")
    )


def _successor(
    former: Token | None, role: str, scopes: tuple[str, ...], fresh: str, now_ms: int
) -> Token:
    """A token after `former`, whose value its device may use until it has got the new one."""
    if former is None:
        return Token(role, fresh, scopes, now_ms)
    token = Token(role, fresh, scopes, former.created_at_ms, rotated_at_ms=now_ms)
    if former.revoked_at_ms is not None:
        return token
    return replace(token, previous=former.token, previous_until_ms=now_ms + PREVIOUS_TTL_MS)


def _description(wish: Wish) -> dict[str, Any]:
    client, longest = wish.client, LONGEST_NAME_CHARS
    return {
        "display_name": client.display_name and client.display_name[:longest],
        "platform": client.platform[:longest],
        "client_id": client.id, "client_mode": client.mode, "remote_ip": wish.remote_ip,
    }  # fmt: skip


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
