"""A device of the protocol: its key, and connects that it signs."""

import base64
import hashlib
import time
from typing import Any

from nacl.signing import SigningKey

from tests.kit.wire import Wire, connect_request


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Device:
    """A key, and what is signed with it."""

    def __init__(self, seed: bytes | None = None) -> None:
        self.key = SigningKey(seed) if seed else SigningKey.generate()
        self.public_key = base64url(bytes(self.key.verify_key))
        self.id = hashlib.sha256(bytes(self.key.verify_key)).hexdigest()

    def block(
        self, params: dict[str, Any], nonce: str, *, version: str = "v2", signed_at: int = 0
    ) -> dict[str, Any]:
        """`device` of a connect with these params; without a nonce it is named in none."""
        at = signed_at or int(time.time() * 1000)
        client = params["client"]
        members = [
            version, self.id, client["id"], client["mode"], params.get("role", "operator"),
            ",".join(params.get("scopes", ())), str(at), params.get("auth", {}).get("token", ""),
        ]  # fmt: skip
        if version != "v1":
            members.append(nonce)
        if version == "v3":
            members += [client["platform"].strip().lower(), client.get("deviceFamily", "")]
        signature = self.key.sign("|".join(members).encode()).signature
        block = {"id": self.id, "publicKey": self.public_key, "signature": base64url(signature),
                 "signedAt": at}  # fmt: skip
        return {**block, "nonce": nonce} if nonce else block

    def request(self, token: str, nonce: str, *, version: str = "v2", **params: Any) -> Any:
        """A signed `connect` request."""
        request = connect_request(token, **params)
        request["params"]["device"] = self.block(request["params"], nonce, version=version)
        return request

    def knock(
        self, port: int, token: str, *, remote: bool = False, version: str = "v2",
        header: str = "X-Forwarded-For: 203.0.113.5", **params: Any,
    ) -> tuple[Wire, dict[str, Any]]:  # fmt: skip
        """A connection and the answer to its connect; `remote` comes through a proxy."""
        wire = Wire.upgraded(port, f"{header}\r\n" if remote else "")
        nonce = wire.receive()["payload"]["nonce"]
        wire.send(self.request(token, nonce, version=version, **params))
        return wire, wire.receive()
