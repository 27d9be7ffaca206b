"""The methods the front answers by itself: they work when every worker is dead."""

import resource
import time
from typing import Any

import msgspec

from bus.errors import invalid
from bus.liveness import Liveness
from bus.messages import Event
from bus.rpc import Bound, Call, Declaration, LooseParams, Methods, NoParams, Scope
from gatewayd.front.audience import Audience
from gatewayd.front.devices import Devices
from gatewayd.front.facts import Facts
from gatewayd.protocol.presence import Presence
from gatewayd.protocol.report import process_rows
from gatewayd.protocol.snapshot import Snapshots

HEALTH_HOLDS_S = 0.25
"""How long an encoded answer about health may be given again."""
LONGEST_NOTE_CHARS = 4_000


class SystemEventParams(LooseParams, frozen=True):
    """A note about a system: text, and members that are ignored when of the wrong type."""

    text: Any = None
    device_id: Any = None
    instance_id: Any = None
    host: Any = None
    ip: Any = None
    mode: Any = None
    version: Any = None
    platform: Any = None
    device_family: Any = None
    model_identifier: Any = None
    reason: Any = None
    last_input_seconds: Any = None
    roles: Any = None
    scopes: Any = None


class Ok(msgspec.Struct, frozen=True):
    """Done."""

    ok: bool = True


class FrontMethods:
    """health, status, presence: from the front's own state and the workers' snapshots."""

    methods = Methods()

    def __init__(
        self, facts: Facts, liveness: Liveness, snapshots: Snapshots, audience: Audience
    ) -> None:
        self.facts = facts
        self.liveness = liveness
        self.snapshots = snapshots
        self.audience = audience
        self.presence: Presence
        self.devices: Devices
        self.notices: list[tuple[Event, bytes]] = []
        """System events for the workers that asked for them; taken by the forwarder."""
        self.lag_ms = 0.0
        self._health: tuple[float, int, bytes] = (0.0, -1, b"")

    @methods.method("health", scope=Scope.READ)
    def health(self, call: Call, params: NoParams) -> bytes:
        """The whole gateway's health; `ok` only while every worker was heard from lately."""
        return self.health_payload()

    @methods.method("status", scope=Scope.READ)
    def status(self, call: Call, params: NoParams) -> bytes:
        """Summary for people: processes, sessions, channels, what is wrong."""
        now, now_ms = time.monotonic(), int(time.time() * 1000)
        own = {
            "gateway": self._gateway_row(now),
            "processes": [*self._own_rows(now, now_ms), *process_rows(self.liveness, now, now_ms)],
            "problems": self.problems(now),
        }
        return self.snapshots.status(own)

    @methods.method("system-presence", scope=Scope.READ)
    def system_presence(self, call: Call, params: NoParams) -> bytes:
        """Who is there: clients, nodes, this machine."""
        return self.presence.encoded(time.monotonic(), int(time.time() * 1000))

    @methods.method("system-event", scope=Scope.ADMIN)
    def system_event(self, call: Call, params: SystemEventParams) -> Ok:
        """Notes something about a system; the next prompt of the main session hears of it."""
        if not isinstance(params.text, str) or not params.text.strip():
            raise invalid("text required")
        text = params.text.strip()[:LONGEST_NOTE_CHARS]
        members = msgspec.to_builtins(params)
        self.presence.note(text, members, time.monotonic(), int(time.time() * 1000))
        self.publish_presence()
        self.notices.append((Event("system-event"), msgspec.json.encode({"text": text})))
        return Ok()

    @classmethod
    def declared(cls) -> list[Declaration]:
        """Every method clients may ask of the front, as declared."""
        return [*cls.methods.declarations.values(), *Devices.methods.declarations.values()]

    def bound(self) -> dict[str, Bound]:
        """All methods the front answers, by name."""
        return {**self.methods.bind(self), **self.devices.methods.bind(self.devices)}

    def health_payload(self) -> bytes:
        """The `health` answer, encoded at most four times a second."""
        now = time.monotonic()
        made_at, revision, payload = self._health
        if now - made_at < HEALTH_HOLDS_S and revision == self.snapshots.revision:
            return payload
        problems = self.liveness.troubles(now)
        own: dict[str, Any] = {"ok": not problems, "ts": int(time.time() * 1000), "durationMs": 0}
        if problems:
            own["problems"] = problems
        payload = self.snapshots.health(own)
        self._health = (now, self.snapshots.revision, payload)
        return payload

    def problems(self, now: float) -> list[str]:
        """Everything known to be wrong now, as sentences."""
        return self.liveness.troubles(now) + self.snapshots.problems()

    def versions(self) -> tuple[int, int]:
        """State versions of presence and health."""
        return self.presence.version, self.snapshots.version

    def publish_presence(self) -> None:
        """The presence list to everyone."""
        rows = self.presence.encoded(time.monotonic(), int(time.time() * 1000))
        self.audience.publish(
            "presence", b'{"presence":%b}' % rows, drop_if_slow=True, versions=self.versions()
        )

    def publish_health(self) -> None:
        """The health to everyone."""
        self.snapshots.version += 1
        self.audience.publish("health", self.health_payload(), versions=self.versions())

    def _gateway_row(self, now: float) -> dict[str, Any]:
        facts = self.facts
        return {
            "version": facts.version,
            "pid": facts.pid,
            "host": facts.host,
            "profile": facts.paths.profile,
            "stateDir": str(facts.paths.state_dir),
            "configPath": str(facts.paths.config),
            "startedAtMs": facts.started_ms,
            "uptimeMs": int((now - facts.started) * 1000),
            "listening": list(facts.listening),
            "clients": len(self.audience),
        }

    def _own_rows(self, now: float, now_ms: int) -> list[dict[str, Any]]:
        facts = self.facts
        usage = resource.getrusage(resource.RUSAGE_SELF)
        front = {
            "name": "front",
            "state": "running",
            "pid": facts.pid,
            "restarts": facts.restart_count,
            "uptimeMs": int((now - facts.started) * 1000),
            "heardMsAgo": 0,
            "lagMs": round(self.lag_ms, 1),
            "peakRssBytes": usage.ru_maxrss * 1024,
            "cpuS": round(usage.ru_utime + usage.ru_stime, 2),
        }
        if facts.supervisor_pid is None:
            return [front]
        uptime_ms = max(0, now_ms - facts.supervisor_started_ms)
        supervisor = {"name": "supervisor", "state": "running", "pid": facts.supervisor_pid,
                      "restarts": 0, "uptimeMs": uptime_ms}  # fmt: skip
        return [supervisor, front]
