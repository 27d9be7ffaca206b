"""The answer to a successful `connect`: what is here, what can be called, what holds. Pure."""

from collections.abc import Iterable

import msgspec

from gatewayd.protocol.devices import Pass
from gatewayd.protocol.frames import PROTOCOL_VERSION
from gatewayd.protocol.outbox import MAX_BUFFERED_BYTES

MAX_PAYLOAD_BYTES = 524_288
"""Largest frame of a client: `policy.maxPayload` of protocol 3."""
TICK_INTERVAL_S = 30
EVENTS = (
    "connect.challenge", "agent", "chat", "presence", "tick", "talk.mode", "shutdown", "health",
    "device.pair.requested", "device.pair.resolved", "voicewake.changed",
    "exec.approval.requested", "exec.approval.resolved",
)  # fmt: skip

_encode = msgspec.json.Encoder().encode


class Hello:
    """Builds `hello-ok` payloads; what rarely changes is encoded once."""

    def __init__(self, version: str, host: str, config_path: str, state_dir: str) -> None:
        self._server = b'"version":%b,"host":%b' % (_encode(version), _encode(host))
        self._paths = b'"configPath":%b,"stateDir":%b' % (_encode(config_path), _encode(state_dir))
        self._policy = _encode(
            {
                "maxPayload": MAX_PAYLOAD_BYTES,
                "maxBufferedBytes": MAX_BUFFERED_BYTES,
                "tickIntervalMs": TICK_INTERVAL_S * 1000,
            }
        )
        self._features = b""

    def set_methods(self, names: Iterable[str]) -> None:
        """What can be called now; tells nothing else, so nothing else is kept in step."""
        self._features = _encode({"methods": list(names), "events": EVENTS})

    def payload(
        self,
        connection_id: str,
        presence: bytes,
        health: bytes,
        versions: tuple[int, int],
        uptime_ms: int,
        session_defaults: bytes,
    ) -> bytes:
        """The whole payload for one connection."""
        return (
            b'{"type":"hello-ok","protocol":%d,"server":{%b,"connId":"%b"},"features":%b,'
            b'"snapshot":{"presence":%b,"health":%b,"stateVersion":{"presence":%d,"health":%d},'
            b'"uptimeMs":%d,%b,"sessionDefaults":%b},"policy":%b}'
        ) % (
            PROTOCOL_VERSION,
            self._server,
            connection_id.encode(),
            self._features,
            presence,
            health,
            *versions,
            uptime_ms,
            self._paths,
            session_defaults,
            self._policy,
        )


def with_auth(payload: bytes, device: Pass) -> bytes:
    """The payload for a paired device: it is told its token."""
    return b'%b,"auth":%b}' % (payload[:-1], _encode(device.shape()))
