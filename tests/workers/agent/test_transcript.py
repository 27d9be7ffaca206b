"""Entries of a transcript and what is made of them; the tables under them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from workers.agent import tables, transcript
from workers.agent.contract import Turn
from workers.agent.ledger import RunState, Verdict
from workers.agent.records import Run, RunParams, Session, text_message

RUN = Run(
    run_id="r",
    kind="agent",
    session_key="agent:main:main",
    session_id="s",
    agent_id="main",
    params=RunParams("hi"),
    state=RunState.ACCEPTED,
    accepted_at=1,
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "agent.db", isolation_level=None)
    connection.row_factory = sqlite3.Row
    for script in tables.MIGRATIONS:
        connection.executescript(script)
    yield connection
    connection.close()


def say(db: sqlite3.Connection, role: str, text: str) -> None:
    tables.append(db, transcript.entry("s", text_message(role, text, 1)))


def test_history_keeps_the_newest_that_fit_and_at_least_one() -> None:
    big = b'"%b"' % (b"x" * 4_000_000)
    assert msgspec.json.decode(transcript.history(iter([b'"c"', b'"b"', b'"a"']))) == [*"abc"]
    assert transcript.history(iter([b'"new"', big, big])) == b"[%b,%b]" % (big, b'"new"')
    assert transcript.history(iter([big * 2, b'"old"'])) == b"[%b]" % (big * 2)


def test_the_model_gets_what_was_said_and_system_events_but_no_notes(
    db: sqlite3.Connection,
) -> None:
    for entry in transcript.user_entries(RUN, ["door open"], 1):
        tables.append(db, entry)
    say(db, "system", "No answer: broken")
    say(db, "assistant", "hello")
    types = (transcript.MESSAGE, transcript.EVENTS)
    turns = list(transcript.turns(tables.newest_entries(db, "s", types, 10)))
    assert turns == [
        Turn("assistant", "hello"),
        Turn("user", "hi"),
        Turn("user", "System: door open"),
    ]


def test_entries_form_a_chain_per_session(db: sqlite3.Connection) -> None:
    say(db, "user", "a")
    tables.append(db, transcript.entry("other", text_message("user", "x", 1)))
    say(db, "assistant", "b")
    chain = db.execute("SELECT id, parent_id FROM entries WHERE session_id = 's'").fetchall()
    assert chain[0]["parent_id"] is None
    assert chain[1]["parent_id"] == chain[0]["id"]


@pytest.mark.parametrize(
    ("end", "role", "text"),
    [
        (Verdict(RunState.OK, "done", stop_reason="stop"), "assistant", "done"),
        (Verdict(RunState.ERROR, "half", "broke"), "assistant", "half"),
        (Verdict(RunState.ERROR, "", "broke"), "system", "No answer: broke"),
    ],
)
def test_each_end_leaves_its_trace(end: Verdict, role: str, text: str) -> None:
    (entry,) = transcript.end_entries(RUN, end, ("p", "m"), 5)
    message = msgspec.json.decode(entry.body)
    assert (message["role"], message["content"][0]["text"]) == (role, text)
    assert (message["timestamp"], message["runId"]) == (5, "r")


def test_an_abort_before_the_first_word_leaves_only_the_question() -> None:
    assert transcript.end_entries(RUN, Verdict(RunState.ABORTED, "", "x"), ("p", "m"), 5) == []


def test_system_events_are_bounded_and_drained_up_to_what_was_taken(
    db: sqlite3.Connection,
) -> None:
    for number in range(25):
        for _ in range(2):
            tables.add_system_event(db, "k", f"e{number}", 1)
    waiting = tables.system_events(db, "k")
    assert [text for _, text in waiting] == [f"e{number}" for number in range(5, 25)]
    tables.drain_system_events(db, "k", waiting[-2][0])
    assert [text for _, text in tables.system_events(db, "k")] == ["e24"]


def test_the_ledger_gives_back_what_it_was_given_and_moves_a_run_once(
    db: sqlite3.Connection,
) -> None:
    tables.add_run(db, RUN)
    assert tables.find_run(db, "r") == RUN
    with pytest.raises(sqlite3.IntegrityError):
        tables.add_run(db, RUN)
    ended = replace(RUN, state=RunState.ERROR, ended_at=9, error="x", stop_reason="error")
    tables.update_run(db, ended, RunState.ACCEPTED)
    assert tables.find_run(db, "r") == ended
    assert tables.unfinished_runs(db) == []
    with pytest.raises(sqlite3.IntegrityError, match="not accepted"):
        tables.update_run(db, ended, RunState.ACCEPTED)
    assert tables.forget_runs(db, 10) == 1


def test_a_session_is_stored_as_it_is_now(db: sqlite3.Connection) -> None:
    session = Session("agent:main:main", "s", "main", 1)
    tables.put_session(db, session)
    tables.put_session(db, replace(session, updated_at=2))
    assert tables.load_sessions(db) == [replace(session, updated_at=2)]
