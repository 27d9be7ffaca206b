"""The two state machines: every step is in the table or raises, and every row comes to an end."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.channels import inbox, outbox
from workers.channels.backoff import ADAPTER_RESTART, AGENT, SERVICE
from workers.channels.base import Inbound, Outbound
from workers.channels.inbox import InboxState, InboxStep
from workers.channels.outbox import OutboxRow, OutboxState, OutboxStep
from workers.channels.routing import session_key


@pytest.mark.parametrize(
    ("module", "states", "steps"),
    [(inbox, InboxState, InboxStep), (outbox, OutboxState, OutboxStep)],
    ids=["inbox", "outbox"],
)
def test_a_step_that_is_not_in_the_table_raises(module: Any, states: Any, steps: Any):
    for state, step in itertools.product(states, steps):
        if (state, step) in module.TRANSITIONS:
            assert module.step(state, step) is module.TRANSITIONS[state, step]
        else:
            with pytest.raises(module.IllegalStepError):
                module.step(state, step)


def test_what_is_finished_stays_finished():
    ends = {InboxState.ANSWERED, InboxState.REFUSED, InboxState.DEAD}
    assert not any(state in ends for state, _ in inbox.TRANSITIONS)
    ends = {OutboxState.SENT, OutboxState.FAILED, OutboxState.EXPIRED}
    assert not any(state in ends for state, _ in outbox.TRANSITIONS)
    assert set(inbox.UNFINISHED) | {
        InboxState.ANSWERED,
        InboxState.REFUSED,
        InboxState.DEAD,
    } == set(InboxState)


def test_nothing_is_sent_more_than_twice_when_every_outcome_is_lost():
    state, attempts = OutboxState.NEW, 0
    while state in outbox.UNFINISHED:
        state = outbox.step(state, OutboxStep.ATTEMPT)
        attempts += 1
        state = outbox.step(state, OutboxStep.LOSE)
    assert (attempts, state) == (2, OutboxState.RECONCILED)


def row(origin_ms: int = 0):
    return OutboxRow(1, "c", "a", Outbound("7", "text"), OutboxState.NEW, 0, 0, origin_ms)


def test_what_is_a_quarter_of_an_hour_old_is_marked():
    assert outbox.as_sent(row(), 899_999).text == "text"
    assert outbox.as_sent(row(), 900_000).text == "(delayed) text"


def test_what_is_a_day_old_is_not_sent():
    assert not outbox.is_expired(row(), 86_399_999)
    assert outbox.is_expired(row(), 86_400_000)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_grow_to_their_cap_and_never_beyond(count: int, chance: float):
    for backoff in (ADAPTER_RESTART, AGENT, SERVICE):
        delay_s = backoff.delay_s(count, chance)
        assert backoff.first_s * (1 - backoff.jitter) <= delay_s <= backoff.cap_s


def test_the_first_delays_are_those_promised():
    assert [round(ADAPTER_RESTART.delay_s(n, 0.5), 2) for n in (1, 2, 3)] == [2.0, 3.6, 6.48]
    assert [SERVICE.delay_s(n, 0.5) for n in (1, 2, 3)] == [0.4, 0.8, 1.6]
    assert SERVICE.delay_s(1, 0.0) == pytest.approx(0.36)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("main", "agent:ops:home"),
        ("per-peer", "agent:ops:dm:42"),
        ("per-channel-peer", "agent:ops:telegram:dm:42"),
        ("per-account-channel-peer", "agent:ops:telegram:default:dm:42"),
    ],
)
def test_a_private_chat_has_the_session_its_scope_says(scope: str, key: str):
    message = Inbound("1", "42", "dm", "42", "Ada", "hi", 0)
    assert session_key("ops", "home", scope, ("telegram", "default"), message) == key


def test_a_group_has_a_session_of_its_own_whatever_the_scope():
    message = Inbound("1", "-100", "group", "42", "Ada", "hi", 0)
    topic = Inbound("1", "-100", "group", "42", "Ada", "hi", 0, thread="5")
    for scope in ("main", "per-peer"):
        place = ("telegram", "default")
        assert (
            session_key("main", "main", scope, place, message) == "agent:main:telegram:group:-100"
        )
        assert session_key("main", "main", scope, place, topic).endswith("group:-100:topic:5")
