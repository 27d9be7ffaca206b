"""The verdict on a client that connects as a device: proof, secret or token, pairing. Pure.

Checks 7 to 14 of the protocol's order (reference section 2.6). Being on this machine spares a
device the approval, never the secret.
"""

from dataclasses import dataclass

from bus.errors import INVALID_REQUEST, NOT_PAIRED, RpcError
from gatewayd.protocol.auth import Authenticator, granted_scopes
from gatewayd.protocol.connect import ConnectParams
from gatewayd.protocol.devices import Book, Wish, covers
from gatewayd.protocol.handshake import Claim, Knock, Rejected, reject
from gatewayd.protocol.identity import Proven, Seen, decode_base64url, has_nonce, replayed, verify


@dataclass(frozen=True)
class Moment:
    """Now, on the monotonic clock (seconds) and on the wall clock (ms)."""

    now: float
    now_ms: int


@dataclass(frozen=True)
class Doors:
    """What a claim is compared with: the secret, the paired devices, used signatures."""

    auth: Authenticator
    book: Book
    seen: Seen


def judge_claim(claim: Claim, knock: Knock, doors: Doors, moment: Moment) -> Wish | Rejected:
    """What a proven device with a valid secret asks for, or why it may not."""
    proven = _prove(claim, knock, doors.seen, moment)
    if isinstance(proven, RpcError):
        return reject(claim.frame_id, proven)
    wish = _wish(claim.params, proven, knock)
    error = _check_secret(claim.params, wish, doors, knock.address, moment)
    return wish if error is None else reject(claim.frame_id, error)


def pairing_required(request_id: str, reason: str) -> RpcError:
    """What a device is told that has to wait for approval."""
    details = {"code": "PAIRING_REQUIRED", "requestId": request_id, "reason": reason}
    return RpcError(NOT_PAIRED, "pairing required", details=details)


def _prove(claim: Claim, knock: Knock, seen: Seen, moment: Moment) -> Proven | RpcError:
    """The device behind a connect; a signature that no nonce binds is taken once."""
    device, now_ms = claim.device, moment.now_ms
    proven = verify(claim.params, device, knock.nonce, now_ms, is_local=knock.is_local)
    if isinstance(proven, RpcError) or has_nonce(device):
        return proven
    signature = decode_base64url(device.signature) or b""
    return proven if seen.is_new(signature, now_ms) else replayed()


def _wish(params: ConnectParams, proven: Proven, knock: Knock) -> Wish:
    """What the device asks for; an operator that names no scope asks for all."""
    scopes = granted_scopes(params.scopes) if params.role == "operator" else ()
    where = None if knock.is_local else knock.address
    return Wish(proven.device_id, proven.public_key, params.client, params.role, scopes, where)


def _check_secret(
    params: ConnectParams, wish: Wish, doors: Doors, address: str, moment: Moment
) -> RpcError | None:
    """None for a client with its device's token or the shared secret.

    The device's token is looked at first, so that its right use never counts as a wrong guess.
    """
    token = doors.book.matching(wish, params.auth.token or "", moment.now_ms)
    if token is None:
        return doors.auth.check(params.auth, params.client, address, moment.now)
    if covers(token.scopes, wish.scopes):
        return None
    return RpcError(
        INVALID_REQUEST,
        "unauthorized: device token scope mismatch (ask for fewer scopes, or use the gateway's "
        "secret to ask for more)",
        details={"code": "AUTH_SCOPE_MISMATCH", "authReason": "scope_mismatch"},
    )
