"""What ended runs cost: the statements on table `spent` and the sums that clients are told."""

import sqlite3
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from workers.agent import answers
from workers.agent.ledger import Verdict
from workers.agent.records import Run, Session, Spent

_DAY = "strftime('%Y-%m-%d', ts / 1000, 'unixepoch')"
_GROUPED = f"""
    SELECT {_DAY} AS day, session_key, agent_id, channel, provider, model,
        count(*), sum(state = 'ok' OR state = 'aborted'), sum(has_answer),
        sum(input), sum(output), sum(total),
        count(duration_ms), coalesce(sum(duration_ms), 0), min(duration_ms), max(duration_ms),
        min(ts), max(ts)
    FROM spent WHERE ts >= ? AND ts < ? AND (? IS NULL OR session_key = ?)
    GROUP BY day, session_key, agent_id, channel, provider, model ORDER BY day
"""  # noqa: S608 - only our own text
_SLOWEST = f"""
    SELECT day, duration_ms FROM (
        SELECT {_DAY} AS day, duration_ms,
            row_number() OVER (PARTITION BY {_DAY} ORDER BY duration_ms) AS place,
            count(*) OVER (PARTITION BY {_DAY}) AS of
        FROM spent WHERE ts >= ? AND ts < ? AND (? IS NULL OR session_key = ?)
            AND duration_ms IS NOT NULL
    ) WHERE place = max(1, (of * 95 + 99) / 100)
"""  # noqa: S608 - only our own text


class Group(Struct, frozen=True, array_like=True):
    """The runs of one day, session and model, summed."""

    day: str
    session_key: str
    agent_id: str
    channel: str
    provider: str
    model: str
    runs: int
    good: int
    """Runs that did not fail."""
    answered: int
    input: int
    output: int
    total: int
    timed: int
    """Runs whose duration is known; the next three are of these, in ms."""
    duration_ms: int
    shortest_ms: int | None
    longest_ms: int | None
    first_ts: int
    last_ts: int


def of_run(
    run: Run, end: Verdict, model: tuple[str, str], session: Session | None, now: int
) -> Spent:
    """What a run cost that ends now (ms since the epoch)."""
    used = answers.usage(end.usage)
    channel = (session.entry.channel or session.entry.last_channel) if session else None
    return Spent(
        run_id=run.run_id,
        ts=now,
        session_key=run.session_key,
        session_id=run.session_id,
        agent_id=run.agent_id,
        channel=channel or "",
        provider=model[0],
        model=model[1],
        state=end.state.value,
        has_answer=bool(end.text),
        duration_ms=None if run.started_at is None else max(0, now - run.started_at),
        input=used["input"],
        output=used["output"],
        total=used["total"],
    )


def add(db: sqlite3.Connection, spent: Spent) -> None:
    """Enters what a run cost."""
    values = [getattr(spent, name) for name in spent.__struct_fields__]
    db.execute(f"INSERT INTO spent VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def groups(
    db: sqlite3.Connection, since: int, until: int, session_key: str | None = None
) -> list[Group]:
    """What was spent from `since` to before `until` (ms), by day, session and model."""
    rows = db.execute(_GROUPED, (since, until, session_key, session_key))
    return [Group(*row) for row in rows]


def slowest(
    db: sqlite3.Connection, since: int, until: int, session_key: str | None = None
) -> dict[str, int]:
    """By day, the duration (ms) within which 95 of 100 runs ended."""
    return dict(db.execute(_SLOWEST, (since, until, session_key, session_key)).fetchall())


def of_transcript(db: sqlite3.Connection, session_id: str) -> list[tuple[int, int, int, int]]:
    """Time (ms), input, output and total tokens of a session's runs, oldest first."""
    return db.execute(
        "SELECT ts, input, output, total FROM spent WHERE session_key IN"
        " (SELECT key FROM sessions WHERE session_id = ?1) AND session_id = ?1 ORDER BY ts",
        (session_id,),
    ).fetchall()


def totals(found: Iterable[Group]) -> dict[str, Any]:
    """Sums as clients know them. No prices are configured, so every run's cost is missing."""
    listed = list(found)
    return {
        "input": sum(one.input for one in listed),
        "output": sum(one.output for one in listed),
        "cacheRead": 0,
        "cacheWrite": 0,
        "totalTokens": sum(one.total for one in listed),
        "totalCost": 0,
        "inputCost": 0,
        "outputCost": 0,
        "cacheReadCost": 0,
        "cacheWriteCost": 0,
        "missingCostEntries": sum(one.runs for one in listed if one.total),
    }


def messages(found: Iterable[Group]) -> dict[str, int]:
    """How many messages the runs were about."""
    listed = list(found)
    asked, said = sum(one.runs for one in listed), sum(one.answered for one in listed)
    return {
        "total": asked + said,
        "user": asked,
        "assistant": said,
        "toolCalls": 0,
        "toolResults": 0,
        "errors": sum(one.runs - one.good for one in listed),
    }


def latency(found: Iterable[Group]) -> dict[str, Any] | None:
    """How long runs took, in ms; None if no duration is known."""
    timed = [one for one in found if one.timed]
    count = sum(one.timed for one in timed)
    if not count:
        return None
    return {
        "count": count,
        "avgMs": round(sum(one.duration_ms for one in timed) / count),
        "minMs": min(one.shortest_ms or 0 for one in timed),
        "maxMs": max(one.longest_ms or 0 for one in timed),
    }
