"""Whether a device is who it says: key forms, signed texts, age and nonce of a signature. Pure.

An Ed25519 key is a device; its id is the SHA-256 of the key. What a device signs binds the
signature to one connection (its nonce), one role, one set of scopes and one token.
"""

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from bus.errors import RpcError, invalid
from gatewayd.protocol.connect import ConnectParams, Device

SKEW_MS = 600_000
"""Age of a signature, and how far a device's clock may be ahead."""
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_SEEN = 4096
"""Signatures without a nonce that are remembered; only proven ones are."""
_LONGEST_TEXT_CHARS = 1024
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
_LOWER_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class Proven:
    """A device that signed this very connect."""

    device_id: str
    public_key: str
    """The raw key as base64url without padding, whatever form it came in."""


class Seen:
    """Signatures that hold for any connection, so that each is taken once."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, int] = OrderedDict()

    def is_new(self, signature: bytes, now_ms: int) -> bool:
        """Takes a proven signature; False if it was taken before."""
        while self._until and next(iter(self._until.values())) < now_ms:
            self._until.popitem(last=False)
        if signature in self._until:
            return False
        self._until[signature] = now_ms + 2 * SKEW_MS
        if len(self._until) > MAX_SEEN:
            self._until.popitem(last=False)
        return True


def raw_key(text: str) -> bytes | None:
    """The key in base64url (padding and the other alphabet are taken too) or PEM, else None."""
    if len(text) > _LONGEST_TEXT_CHARS:
        return None
    pem = _PEM.search(text)
    if pem is None:
        return decode_base64url(text)
    der = decode_base64url("".join(pem[1].split()))
    if der is None or not der.startswith(_SPKI_PREFIX):
        return None
    return der[len(_SPKI_PREFIX) :]


def decode_base64url(text: str) -> bytes | None:
    """The bytes behind base64 text of either alphabet, or None."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def encode_base64url(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def device_id(key: bytes) -> str:
    """The id of the device that holds this key."""
    return hashlib.sha256(key).hexdigest()


def signed_texts(params: ConnectParams, device: Device) -> list[str]:
    """What the device may have signed, the newest form first; without a nonce only the oldest."""
    client, nonce = params.client, _nonce(device)
    members = [
        device.id, client.id, client.mode, params.role, ",".join(params.scopes),
        str(device.signed_at), params.auth.token or "",
    ]  # fmt: skip
    if not nonce:
        return ["|".join(["v1", *members])]
    members.append(nonce)
    extras = [_normal(client.platform), _normal(client.device_family)]
    return ["|".join(["v3", *members, *extras]), "|".join(["v2", *members])]


def verify(
    params: ConnectParams, device: Device, nonce: str, now_ms: int, *, is_local: bool
) -> Proven | RpcError:
    """The device, or the objection; the order is the protocol's (reference section 2.6)."""
    key = raw_key(device.public_key)
    if key is None or device_id(key) != device.id:
        return _fault("device identity mismatch", "DEVICE_ID_MISMATCH", "device-id-mismatch")
    problem = _untimely(device, nonce, now_ms, is_local=is_local)
    if problem is not None:
        return problem
    if len(key) != KEY_BYTES:
        return _fault("device public key invalid", "PUBLIC_KEY_INVALID", "device-public-key")
    signature = decode_base64url(device.signature[:_LONGEST_TEXT_CHARS]) or b""
    if not any(_is_signed(text, signature, key) for text in signed_texts(params, device)):
        return _fault("device signature invalid", "SIGNATURE_INVALID", "device-signature")
    return Proven(device.id, encode_base64url(key))


def _untimely(device: Device, nonce: str, now_ms: int, *, is_local: bool) -> RpcError | None:
    if abs(now_ms - device.signed_at) > SKEW_MS:
        return _fault("device signature expired", "SIGNATURE_EXPIRED", "device-signature-stale")
    given = _nonce(device)
    if not given and not is_local:
        return _fault("device nonce required", "NONCE_REQUIRED", "device-nonce-missing")
    if given and given != nonce:
        return _fault("device nonce mismatch", "NONCE_MISMATCH", "device-nonce-mismatch")
    return None


def replayed() -> RpcError:
    """What the second user of a signature without a nonce is told."""
    return _fault("device signature expired", "SIGNATURE_EXPIRED", "device-signature-replayed")


def has_nonce(device: Device) -> bool:
    """Whether the signature is bound to one connection."""
    return bool(_nonce(device))


def _nonce(device: Device) -> str:
    return (device.nonce or "").strip()


def _normal(text: str | None) -> str:
    return (text or "").strip().translate(_LOWER_ASCII)


def _is_signed(text: str, signature: bytes, key: bytes) -> bool:
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + text.encode("utf-8", "surrogatepass"), key)
    except BadSignatureError:
        return False
    return True


def _fault(message: str, code: str, reason: str) -> RpcError:
    return invalid(message, {"code": f"DEVICE_AUTH_{code}", "reason": reason})
