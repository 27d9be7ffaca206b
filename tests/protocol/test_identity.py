"""Proof of a device: published vectors, key forms, age, nonce, and what must not be taken."""

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from bus.errors import RpcError
from gatewayd.protocol.connect import ConnectParams
from gatewayd.protocol.connect import Device as DeviceBlock
from gatewayd.protocol.identity import MAX_SEEN, SKEW_MS, Proven, Seen, raw_key, verify
from tests.kit.device import Device, base64url

AT = 1_767_225_600_000
NONCE = "11111111-2222-4333-8444-555555555555"
KEY = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
ID = "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c"
SCOPES = ["operator.admin", "operator.approvals", "operator.pairing"]
V1 = "Dojf4huu2ZFpMj76SKaE7iHj0gZysL5NgbLfrStEkp5qLpPdCVlfo1bggRm58knFlYVLhug46LcBzza0ORWBDA"
V2 = "7xS6S33RebFpho-VIMRzkVTkYmoieRWrzPaJnjJPdRJbNSnDL-VFWdCUmcwmofftQ0WwPJH1PM_hP-Akl-V1BQ"
V2_NODE = "xsAQ1mPkMqnRXatzhx_0e8gquKpxbDuQQkTtNaEkg59fbXq_eXFrrQRzFym0uqBTktpgjeQVMxFPSJxdbM0oBA"
V3 = "1cV1OdpaJhp5HuFXlxFN_7aPELpS8afj6-DxbohqXTvd7qPyU6M6GG_xn_OaXgc4OlY2mNghmR4FjGqURquYCw"
CLI = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}


def outcome(
    signature: str, *, at: int = AT, nonce: str = NONCE, is_local: bool = False,
    device: dict[str, Any] | None = None, **changes: Any,
) -> str:  # fmt: skip
    """The device id, or the code of the objection."""
    block = {"id": ID, "publicKey": KEY, "signature": signature, "signedAt": AT, "nonce": NONCE}
    block.update(device or {})
    params = {
        "minProtocol": 3, "maxProtocol": 3, "client": CLI, "role": "operator", "scopes": SCOPES,
        "auth": {"token": "s3cret"}, **changes,
    }  # fmt: skip
    return verdict(params, block, nonce, at, is_local=is_local)


def verdict(
    params: dict[str, Any], block: dict[str, Any], nonce: str, at: int, *, is_local: bool = False
) -> str:
    given = {name: value for name, value in block.items() if value is not None}
    proven = verify(
        msgspec.convert(params, ConnectParams), msgspec.convert(given, DeviceBlock), nonce, at,
        is_local=is_local,
    )  # fmt: skip
    if isinstance(proven, Proven):
        return proven.device_id
    assert isinstance(proven, RpcError)
    return str(proven.details["code"]).removeprefix("DEVICE_AUTH_")


def test_the_published_vectors_are_proofs():
    node = {"client": {**CLI, "id": "opensoul-ios", "mode": "node"}, "role": "node",
            "scopes": [], "auth": {}}  # fmt: skip
    newest = {"client": {**CLI, "platform": "Linux", "deviceFamily": " Mac "},
              "scopes": ["operator.read"]}  # fmt: skip
    assert outcome(V1, device={"nonce": None}, is_local=True) == ID
    assert outcome(V2) == ID
    assert outcome(V2_NODE, **node) == ID
    assert outcome(V3, **newest) == ID


def test_a_key_may_come_in_other_forms():
    raw = raw_key(KEY)
    assert raw is not None
    assert len(raw) == 32
    der = bytes.fromhex("302a300506032b6570032100") + raw
    body = base64.b64encode(der).decode()
    pem = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
    for form in (pem, base64.b64encode(raw).decode(), KEY + "="):
        assert outcome(V2, device={"publicKey": form}) == ID
    assert raw_key(pem.replace("MCow", "MCox")) is None
    assert raw_key("no key!") is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"device": {"id": ID[::-1]}}, "DEVICE_ID_MISMATCH"),
        ({"device": {"publicKey": "!"}}, "DEVICE_ID_MISMATCH"),
        ({"at": AT + SKEW_MS + 1}, "SIGNATURE_EXPIRED"),
        ({"at": AT - SKEW_MS - 1}, "SIGNATURE_EXPIRED"),
        ({"device": {"nonce": None}}, "NONCE_REQUIRED"),
        ({"device": {"nonce": "  "}}, "NONCE_REQUIRED"),
        ({"nonce": "of another connection"}, "NONCE_MISMATCH"),
        ({"nonce": "of another connection", "is_local": True}, "NONCE_MISMATCH"),
        ({"role": "node"}, "SIGNATURE_INVALID"),
        ({"scopes": SCOPES[::-1]}, "SIGNATURE_INVALID"),
        ({"auth": {"token": "other"}}, "SIGNATURE_INVALID"),
        ({"client": {**CLI, "id": "test"}}, "SIGNATURE_INVALID"),
        ({"device": {"signedAt": AT + 1}}, "SIGNATURE_INVALID"),
        ({"device": {"signature": V1}}, "SIGNATURE_INVALID"),
        ({"device": {"signature": V1}, "is_local": True}, "SIGNATURE_INVALID"),
        ({"device": {"signature": "short"}}, "SIGNATURE_INVALID"),
        ({"device": {"signature": "ü"}}, "SIGNATURE_INVALID"),
        ({"device": {"signature": V2, "nonce": None}, "is_local": True}, "SIGNATURE_INVALID"),
    ],
)
def test_what_was_not_signed_is_refused_with_a_code_of_its_own(given: dict, code: str):
    signature = given.get("device", {}).get("signature", V2)
    assert outcome(signature, **given) == code


def test_the_limits_of_age_belong_to_it():
    assert outcome(V2, at=AT + SKEW_MS) == ID
    assert outcome(V2, at=AT - SKEW_MS) == ID


def test_a_key_of_the_wrong_length_is_told():
    short = b"x" * 31
    block = {"id": hashlib.sha256(short).hexdigest(), "publicKey": base64url(short)}
    assert outcome(V2, device=block) == "PUBLIC_KEY_INVALID"


def test_every_version_is_taken_from_a_device_that_names_the_nonce():
    device = Device()
    params: dict[str, Any] = {"minProtocol": 3, "maxProtocol": 3, "client": CLI, "auth": {}}
    for version, taken in (("v2", device.id), ("v3", device.id), ("v1", "SIGNATURE_INVALID")):
        block = device.block(params, NONCE, version=version, signed_at=AT)
        assert verdict(params, block, NONCE, AT, is_local=True) == taken


def test_a_signature_is_remembered_until_it_is_too_old_to_be_taken():
    seen = Seen()
    assert seen.is_new(b"one", AT)
    assert not seen.is_new(b"one", AT + 2 * SKEW_MS)
    assert seen.is_new(b"one", AT + 2 * SKEW_MS + 1)


def test_the_memory_of_signatures_is_bounded():
    seen = Seen()
    for number in range(MAX_SEEN + 1):
        assert seen.is_new(str(number).encode(), AT)
    assert len(seen._until) == MAX_SEEN
