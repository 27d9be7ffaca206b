"""Methods `sessions.usage*` and `usage.*`: tokens that runs have used, from what was recorded."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from msgspec import Meta

from bus.errors import invalid
from bus.rpc import Call, LooseParams, Methods, NoParams, Params, Result, Scope
from conf.schema import Settings
from workers.agent import keys, spending, tables
from workers.agent.clock import now_ms
from workers.agent.records import Session
from workers.agent.sessions import NonEmpty, Sessions
from workers.agent.spending import Group
from workers.agent.usage_days import days_param, span
from workers.store import Store

POINTS_COUNT = 200
LOGS_LIMIT = 200
MOST_LOGS = 1_000
LOG_CHARS = 2_000
CACHED_MS = 30_000
CACHED_COUNT = 32


class UsageParams(Params, frozen=True):
    """Params of sessions.usage."""

    key: NonEmpty | None = None
    start_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    end_date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    limit: Annotated[int, Meta(ge=1)] = 50
    include_context_weight: bool = False


class SeriesParams(LooseParams, frozen=True):
    """Params of sessions.usage.timeseries."""

    key: Any = None


class LogsParams(LooseParams, frozen=True):
    """Params of sessions.usage.logs."""

    key: Any = None
    limit: Any = None


class CostParams(LooseParams, frozen=True):
    """Params of usage.cost: both dates, or a number of days."""

    start_date: Any = None
    end_date: Any = None
    days: Any = None


class Log(Result, frozen=True):
    """One message of a session."""

    timestamp: int
    role: str
    content: str
    tokens: int | None = None


class Logs(Result, frozen=True):
    """Result of sessions.usage.logs."""

    logs: tuple[Log, ...]


class UsageMethods:
    """What was used, by session and by day."""

    methods = Methods()

    def __init__(self, settings: Settings, store: Store, sessions: Sessions) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions
        self._costs: dict[tuple[int, int], dict[str, Any]] = {}

    @methods.method("sessions.usage", scope=Scope.ADMIN)
    async def usage(self, _call: Call, params: UsageParams) -> dict[str, Any]:
        """Tokens, messages and durations of sessions, and their sums."""
        now = now_ms()
        days = span(params.start_date, params.end_date, None, now)
        key = None if params.key is None else keys.canonical(self._settings, params.key)
        if key is not None and self._sessions.get(key) is None:
            raise invalid(f"Invalid session reference: {params.key}")
        found, slowest = await self._store.read_aside(
            lambda db: (
                spending.groups(db, days.since, days.until, key),
                spending.slowest(db, days.since, days.until, key),
            )
        )
        by_session = _split(found, lambda one: one.session_key)
        newest = sorted(
            by_session, key=lambda name: max(g.last_ts for g in by_session[name]), reverse=True
        )
        rows = [self._row(name, by_session[name]) for name in newest[: params.limit]]
        return {
            "updatedAt": now,
            "startDate": days.first,
            "endDate": days.last,
            "sessions": rows,
            "totals": spending.totals(found),
            "aggregates": _aggregates(found, slowest),
        }

    @methods.method("sessions.usage.timeseries", scope=Scope.ADMIN)
    async def timeseries(self, _call: Call, params: SeriesParams) -> dict[str, Any]:
        """Tokens of a session's runs over time."""
        session = self._session(params.key, "timeseries")
        if session is None:
            raise invalid(f"No transcript found for session: {params.key}")
        session_id = session.session_id
        spent, (_, grown_at) = await self._store.read_aside(
            lambda db: (spending.of_transcript(db, session_id), tables.outline(db, session_id))
        )
        if grown_at is None:
            raise invalid(f"No transcript found for session: {params.key}")
        return {"sessionId": session_id, "points": _points(spent)}

    @methods.method("sessions.usage.logs", scope=Scope.ADMIN)
    async def logs(self, _call: Call, params: LogsParams) -> Logs:
        """Messages of a session with the tokens they took."""
        session = self._session(params.key, "logs")
        if session is None:
            return Logs(())
        is_number = isinstance(params.limit, int | float) and not isinstance(params.limit, bool)
        limit = min(max(1, int(params.limit)), MOST_LOGS) if is_number else LOGS_LIMIT
        session_id = session.session_id
        texts = await self._store.read_aside(
            lambda db: tables.newest_texts(db, session_id, limit, LOG_CHARS)
        )
        return Logs(tuple(Log(one.ts, one.role, one.text, one.tokens) for one in reversed(texts)))

    @methods.method("usage.status", scope=Scope.READ)
    def status(self, _call: Call, _params: NoParams) -> dict[str, Any]:
        """Quota windows of model services; none of ours publishes any."""
        return {"updatedAt": now_ms(), "providers": []}

    @methods.method("usage.cost", scope=Scope.READ)
    async def cost(self, _call: Call, params: CostParams) -> dict[str, Any]:
        """Tokens by day and in all."""
        now = now_ms()
        days = span(params.start_date, params.end_date, days_param(params.days), now)
        cached = self._costs.get((days.since, days.until))
        if cached is not None and now - cached["updatedAt"] < CACHED_MS:
            return cached
        found = await self._store.read_aside(lambda db: spending.groups(db, days.since, days.until))
        by_day = _split(found, lambda one: one.day)
        answer = {
            "updatedAt": now,
            "days": days.count,
            "daily": [{"date": day, **spending.totals(by_day[day])} for day in sorted(by_day)],
            "totals": spending.totals(found),
        }
        if len(self._costs) >= CACHED_COUNT:
            self._costs.clear()
        self._costs[days.since, days.until] = answer
        return answer

    def _session(self, key: Any, noun: str) -> Session | None:
        if not isinstance(key, str) or not key.strip():
            raise invalid(f"key is required for {noun}")
        return self._sessions.get(keys.canonical(self._settings, key))

    def _row(self, key: str, found: list[Group]) -> dict[str, Any]:
        session = self._sessions.get(key)
        last = max(found, key=lambda one: one.last_ts)
        row: dict[str, Any] = {
            "key": key,
            "agentId": last.agent_id,
            "updatedAt": session.updated_at if session else last.last_ts,
            "modelProvider": last.provider,
            "model": last.model,
            "usage": _summary(found),
        }
        if session is not None:
            entry = session.entry
            row["sessionId"] = session.session_id
            members = {"label": entry.label, "channel": entry.channel or entry.last_channel}
            row |= {name: value for name, value in members.items() if value is not None}
        return row


def _split(found: Iterable[Group], by: Callable[[Group], Any]) -> dict[Any, list[Group]]:
    parts: dict[Any, list[Group]] = {}
    for one in found:
        parts.setdefault(by(one), []).append(one)
    return parts


def _summary(found: list[Group]) -> dict[str, Any]:
    """One session's part of sessions.usage."""
    first, last = min(one.first_ts for one in found), max(one.last_ts for one in found)
    by_day = _split(found, lambda one: one.day)
    summary = {
        **spending.totals(found),
        "firstActivity": first,
        "lastActivity": last,
        "durationMs": last - first,
        "activityDates": sorted(by_day),
        "dailyBreakdown": [
            {"date": day, "tokens": sum(one.total for one in by_day[day]), "cost": 0}
            for day in sorted(by_day)
        ],
        "messageCounts": spending.messages(found),
        "toolUsage": {"totalCalls": 0, "uniqueTools": 0, "tools": []},
        "modelUsage": _by_model(found),
    }
    latency = spending.latency(found)
    return summary if latency is None else {**summary, "latency": latency}


def _aggregates(found: list[Group], slowest: dict[str, int]) -> dict[str, Any]:
    by_day = _split(found, lambda one: one.day)
    daily_latency = []
    for day in sorted(by_day):
        latency = spending.latency(by_day[day])
        if latency is not None:
            p95 = {"p95Ms": slowest[day]} if day in slowest else {}
            daily_latency.append({"date": day, **latency, **p95})
    aggregates = {
        "messages": spending.messages(found),
        "tools": {"totalCalls": 0, "uniqueTools": 0, "tools": []},
        "byModel": _by_model(found),
        "byProvider": [
            {
                "provider": provider,
                "count": sum(g.runs for g in part),
                "totals": spending.totals(part),
            }
            for provider, part in _split(found, lambda one: one.provider).items()
        ],
        "byAgent": [
            {"agentId": agent_id, "totals": spending.totals(part)}
            for agent_id, part in _split(found, lambda one: one.agent_id).items()
        ],
        "byChannel": [
            {"channel": channel, "totals": spending.totals(part)}
            for channel, part in _split(found, lambda one: one.channel).items()
            if channel
        ],
        "dailyLatency": daily_latency,
        "modelDaily": _model_daily(found),
        "daily": [_day(day, by_day[day]) for day in sorted(by_day)],
    }
    latency = spending.latency(found)
    return aggregates if latency is None else {**aggregates, "latency": latency}


def _by_model(found: list[Group]) -> list[dict[str, Any]]:
    return [
        {
            "provider": provider,
            "model": model,
            "count": sum(one.runs for one in part),
            "totals": spending.totals(part),
        }
        for (provider, model), part in _split(found, lambda g: (g.provider, g.model)).items()
    ]


def _model_daily(found: list[Group]) -> list[dict[str, Any]]:
    parts = _split(found, lambda one: (one.day, one.provider, one.model))
    return [
        {
            "date": day,
            "provider": provider,
            "model": model,
            "tokens": sum(one.total for one in parts[day, provider, model]),
            "cost": 0,
            "count": sum(one.runs for one in parts[day, provider, model]),
        }
        for day, provider, model in sorted(parts)
    ]


def _day(day: str, found: list[Group]) -> dict[str, Any]:
    counted = spending.messages(found)
    return {
        "date": day,
        "tokens": sum(one.total for one in found),
        "cost": 0,
        "messages": counted["total"],
        "toolCalls": 0,
        "errors": counted["errors"],
    }


def _points(spent: list[tuple[int, int, int, int]]) -> list[dict[str, Any]]:
    """The runs as at most POINTS_COUNT points; neighbours are put together beyond that."""
    step = -(-len(spent) // POINTS_COUNT) or 1
    points, cumulative = [], 0
    for start in range(0, len(spent), step):
        part = spent[start : start + step]
        total = sum(row[3] for row in part)
        cumulative += total
        points.append(
            {
                "timestamp": part[-1][0],
                "input": sum(row[1] for row in part),
                "output": sum(row[2] for row in part),
                "cacheRead": 0,
                "cacheWrite": 0,
                "totalTokens": total,
                "cost": 0,
                "cumulativeTokens": cumulative,
                "cumulativeCost": 0,
            }
        )
    return points
