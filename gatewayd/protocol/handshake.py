"""The phase before a connection exists: challenge out, `connect` in, a verdict. Pure.

The order of checks is the protocol's (reference section 2.6). A client without a device needs
the shared secret; what one with a device claims is judged in `claims.py`.
"""

from dataclasses import dataclass

import msgspec

from bus.errors import NOT_PAIRED, RpcError, invalid
from bus.rpc import Reader, error_frame
from bus.wording import validation_text
from gatewayd.protocol.auth import Authenticator, granted_scopes
from gatewayd.protocol.connect import CLIENT_IDS, ConnectParams, Device
from gatewayd.protocol.devices import Pass
from gatewayd.protocol.frames import (
    PROTOCOL_VERSION,
    BadFrame,
    RequestFrame,
    encode_id,
    read_request,
)

TIMEOUT_S = 10.0
"""From the accepted socket to hello-ok."""
MAX_PAYLOAD_BYTES = 65_536
"""Largest frame of a client that has not proved anything."""

POLICY_VIOLATION = 1008
PROTOCOL_ERROR = 1002
NORMAL = 1000

_decode_params = Reader(ConnectParams)


@dataclass(frozen=True)
class Knock:
    """What is known of a peer before it speaks."""

    address: str
    """Peer IP address."""
    is_local: bool
    """Loopback peer, local Host name, no proxy."""
    nonce: str = ""
    """Of the challenge it got."""


@dataclass(frozen=True)
class Admitted:
    """The client may come in."""

    frame_id: bytes
    params: ConnectParams
    scopes: tuple[str, ...]
    device: Pass | None = None


@dataclass(frozen=True)
class Claim:
    """The client says it is a device; whether it is has to be looked at."""

    frame_id: bytes
    params: ConnectParams
    device: Device


@dataclass(frozen=True)
class Rejected:
    """The client gets `answer` (if any) and is closed."""

    answer: bytes | None
    code: int
    reason: str


def challenge(nonce: str, now_ms: int) -> bytes:
    """The event every connection starts with."""
    payload = b'{"nonce":"%b","ts":%d}' % (nonce.encode(), now_ms)
    return b'{"type":"event","event":"connect.challenge","payload":%b}' % payload


def judge(
    message: bytes, knock: Knock, auth: Authenticator, now: float
) -> Admitted | Rejected | Claim:
    """The verdict on a connection's first message."""
    frame = read_request(message)
    if not isinstance(frame, RequestFrame):
        is_json = isinstance(frame, BadFrame)
        told = (POLICY_VIOLATION, "invalid request frame") if is_json else (NORMAL, "")
        return Rejected(None, *told)
    frame_id = encode_id(frame.id)
    params = _read_params(frame)
    if isinstance(params, RpcError):
        return reject(frame_id, params)
    error = _objection(params)
    if error is not None:
        is_version = error.message == "protocol mismatch"
        return reject(frame_id, error, PROTOCOL_ERROR if is_version else POLICY_VIOLATION)
    if params.device is not None:
        return Claim(frame_id, params, params.device)
    error = _nameless(params) or auth.check(params.auth, params.client, knock.address, now)
    if error is not None:
        return reject(frame_id, error)
    return Admitted(frame_id, params, granted_scopes(params.scopes))


def _read_params(frame: RequestFrame) -> ConnectParams | RpcError:
    if frame.method != "connect":
        return invalid("invalid handshake: first request must be connect")
    try:
        params = _decode_params(frame.params or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        return invalid(f"invalid connect params: {validation_text(str(error))}")
    if params.client.id not in CLIENT_IDS:
        problem = "at /client/id: must be equal to one of the allowed values"
        return invalid(f"invalid connect params: {problem}")
    return params


def _objection(params: ConnectParams) -> RpcError | None:
    if not params.min_protocol <= PROTOCOL_VERSION <= params.max_protocol:
        return invalid("protocol mismatch", {"expectedProtocol": PROTOCOL_VERSION})
    if params.role not in ("operator", "node"):
        return invalid("invalid role")
    return None


def _nameless(params: ConnectParams) -> RpcError | None:
    """Why a client without a device cannot come in, whatever its secret is worth."""
    if params.role == "operator" and (params.auth.token or params.auth.password):
        return None
    details = {"code": "DEVICE_IDENTITY_REQUIRED"}
    return RpcError(NOT_PAIRED, "device identity required", details=details)


def reject(frame_id: bytes, error: RpcError, code: int = POLICY_VIOLATION) -> Rejected:
    """The verdict that tells a client `error`."""
    return Rejected(error_frame(frame_id.decode(), error), code, error.message)
