"""The events of one run."""

from typing import Any

from msgspec.structs import replace

from workers.agent.ledger import RunState
from workers.agent.records import Run, RunParams
from workers.agent.streams import RunStream

RUN = Run(
    run_id="r",
    kind="chat",
    session_key="agent:main:x",
    session_id="s",
    agent_id="main",
    params=RunParams("hi", chat_key="x"),
    state=RunState.RUNNING,
    accepted_at=0,
    started_at=1_000,
)


class Told:
    """Collects what is published."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any], bool]] = []

    def __call__(self, topic: str, payload: Any, *, drop_if_slow: bool = False) -> None:
        self.events.append((topic, payload, drop_if_slow))

    def names(self) -> list[str]:
        return [
            f"chat {body['state']}" if topic == "chat" else f"{body['stream']} {body['seq']}"
            for topic, body, _ in self.events
        ]


def begun(run: Run = RUN) -> tuple[Told, RunStream]:
    told = Told()
    stream = RunStream(told, run)
    stream.start(1_000)
    return told, stream


def ended(state: RunState, **values: Any) -> Run:
    return replace(RUN, state=state, ended_at=3_000, **values)


def test_texts_are_joined_while_they_come_fast_and_the_last_leaves_before_the_end() -> None:
    told, stream = begun()
    assert stream.add("a", 1_001) is None
    assert stream.add("b", 1_011) == 30
    assert stream.add("c", 1_021) == 20
    stream.end(ended(RunState.OK), "abc")
    assert told.names() == [
        "lifecycle 1",
        "assistant 2",
        "chat delta",
        "assistant 3",
        "chat delta",
        "lifecycle 4",
        "chat final",
    ]
    assert told.events[3][1]["data"] == {"text": "abc", "delta": "bc"}
    assert told.events[-1][1]["message"].content[0].text == "abc"


def test_chat_deltas_carry_the_whole_text_at_most_every_150_ms_and_may_be_dropped() -> None:
    told, stream = begun()
    for step in range(20):
        stream.add(str(step % 10), 1_000 + step * 50)
    deltas = [event for event in told.events if event[0] == "chat"]
    assert [body["message"].content[0].text for _, body, _ in deltas] == [
        "0123456789012345678"[: number * 3 + 1] for number in range(7)
    ]
    assert all(may_drop for *_, may_drop in deltas)


def test_after_an_abort_chat_is_silent_but_agent_events_flow() -> None:
    told, stream = begun()
    stream.abort("rpc")
    assert told.events[-1][1] == {
        "runId": "r",
        "sessionKey": "x",
        "seq": 2,
        "state": "aborted",
        "stopReason": "rpc",
    }
    stream.add("late", 2_000)
    stream.end(ended(RunState.ABORTED), "late")
    assert told.names()[2:] == ["assistant 2", "lifecycle 3"]
    assert told.events[-1][1]["data"]["aborted"] is True


def test_an_abort_is_told_to_chat_pages_even_for_a_run_without_chat_events() -> None:
    told, stream = begun(replace(RUN, params=RunParams("hi")))
    stream.add("a", 1_500)
    stream.abort("rpc")
    assert told.names() == ["lifecycle 1", "assistant 2", "chat aborted"]
    assert told.events[-1][1]["sessionKey"] == "agent:main:x"


def test_an_answer_that_never_came_in_pieces_is_still_streamed_and_trimmed_for_chat() -> None:
    told, stream = begun()
    stream.end(ended(RunState.OK), " whole \n")
    assert told.events[1][1]["data"]["delta"] == " whole \n"
    assert told.events[-1][1]["message"].content[0].text == "whole"


def test_a_silent_answer_has_a_final_without_message() -> None:
    told, stream = begun()
    stream.end(ended(RunState.OK), "")
    assert told.names() == ["lifecycle 1", "lifecycle 2", "chat final"]
    assert "message" not in told.events[-1][1]


def test_an_error_is_one_terminal_event_with_its_text() -> None:
    told, stream = begun()
    stream.end(ended(RunState.ERROR, error="no credit"), "")
    assert told.events[-2][1]["data"] == {
        "phase": "error",
        "endedAt": 3_000,
        "startedAt": 1_000,
        "error": "no credit",
    }
    assert told.events[-1][1]["errorMessage"] == "no credit"
