"""When a silent worker is ended so that its supervisor starts a new one. Pure.

An action names what it must change (the process is gone). One that changed nothing is never
repeated: it becomes a problem that people see.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

SILENT_S = 15.0
"""Silence after which a worker counts as hung; the bus gives up its calls after 10 s."""
TERM_S = 2.0
"""Time between SIGTERM and SIGKILL, and for the process to be gone after that."""
BUDGET = 5
BUDGET_S = 600.0
"""At most BUDGET workers of one name are ended in BUDGET_S."""
MOST_OBSERVATION_GAP_S = 12.0
"""After a longer gap between two observations we ourselves were stopped: nothing is proven."""
UNRESPONSIVE = frozenset(("silent", "down"))


@dataclass(frozen=True)
class Identity:
    """One process, never mistaken for another that got its pid later."""

    pid: int
    started_ticks: int
    """Clock ticks since boot."""


@dataclass(frozen=True)
class Observation:
    """One worker as the front reports it and as the kernel shows its process."""

    name: str
    state: str
    process: Identity | None
    """None: there is no such process, or it is not a child of our supervisor."""


class Signal(StrEnum):
    """What to send to a hung worker."""

    TERM = "SIGTERM"
    KILL = "SIGKILL"


@dataclass(frozen=True)
class Action:
    """A signal for one process."""

    name: str
    process: Identity
    signal: Signal


@dataclass(frozen=True)
class Problem:
    """Something a person should know."""

    id: str
    severity: str
    """`warning` or `error`."""
    text: str


class Step(StrEnum):
    """How far we went with one silent process."""

    WATCHED = "watched"
    TERMINATED = "terminated"
    KILLED = "killed"
    LEFT = "left"
    """Over budget: it stays as it is."""


@dataclass
class _Silence:
    """A process that does not answer."""

    process: Identity
    since: float
    step: Step = Step.WATCHED
    acted_at: float = 0.0


@dataclass
class Recovery:
    """Decides from observations; time is passed in, in seconds of a clock that never jumps."""

    own_name: str
    _silences: dict[str, _Silence] = field(default_factory=dict)
    _ended: dict[str, deque[float]] = field(default_factory=dict)
    _observed_at: float | None = None

    def observe(self, observations: Iterable[Observation], now: float) -> list[Action]:
        """The signals to send now."""
        rows = list(observations)
        was_away = (
            self._observed_at is not None and now - self._observed_at > MOST_OBSERVATION_GAP_S
        )
        self._observed_at = now
        if was_away or not self._is_credible(rows):
            self._silences.clear()
            return []
        actions = (self._judge(row, now) for row in rows if row.name != self.own_name)
        return [action for action in actions if action is not None]

    def problems(self) -> list[Problem]:
        """The workers that could not be helped."""
        found = []
        for name, silence in sorted(self._silences.items()):
            pid = silence.process.pid
            if silence.step is Step.LEFT:
                text = (
                    f"worker {name} (pid {pid}) hangs again after {BUDGET} restarts in "
                    f"{BUDGET_S / 60:.0f} minutes; it is left alone: see `gatewayctl logs`"
                )
                found.append(Problem(f"worker-hangs:{name}", "error", text))
            elif silence.step is Step.KILLED:
                text = f"worker {name} (pid {pid}) hangs and did not end on SIGKILL"
                found.append(Problem(f"worker-stuck:{name}", "error", text))
            elif silence.step is Step.TERMINATED:
                text = f"worker {name} (pid {pid}) hangs and is being replaced"
                found.append(Problem(f"worker-hung:{name}", "warning", text))
        return found

    def _is_credible(self, rows: list[Observation]) -> bool:
        """Whether the front hears us: if not, the silence of others may be its own deafness."""
        own = [row.state for row in rows if row.name == self.own_name]
        return bool(own) and own[0] not in UNRESPONSIVE

    def _judge(self, row: Observation, now: float) -> Action | None:
        if row.process is None or row.state not in UNRESPONSIVE:
            self._silences.pop(row.name, None)
            return None
        silence = self._silences.get(row.name)
        if silence is None or silence.process != row.process:
            self._silences[row.name] = _Silence(row.process, now)
            return None
        if silence.step is Step.WATCHED and now - silence.since >= SILENT_S:
            return self._begin(row.name, silence, now)
        if silence.step is Step.TERMINATED and now - silence.acted_at >= TERM_S:
            silence.step, silence.acted_at = Step.KILLED, now
            return Action(row.name, silence.process, Signal.KILL)
        return None

    def _begin(self, name: str, silence: _Silence, now: float) -> Action | None:
        ended = self._ended.setdefault(name, deque(maxlen=BUDGET))
        if len(ended) == BUDGET and now - ended[0] < BUDGET_S:
            silence.step = Step.LEFT
            return None
        ended.append(now)
        silence.step, silence.acted_at = Step.TERMINATED, now
        return Action(name, silence.process, Signal.TERM)
