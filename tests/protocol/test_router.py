"""Routing: which worker gets a call, and what becomes of calls when it does not answer."""

from typing import Any

import msgspec
import pytest

from bus.capabilities import token
from bus.errors import RpcError
from bus.liveness import LOST_AFTER_S, SILENT_AFTER_S
from bus.messages import Method, Ready, Request
from gatewayd.protocol.router import MAX_OPEN_PER_WORKER, ClientOrigin, Router

KEY = b"k" * 32
ECHO = Method("agent.echo", "read", 30_000)
ORIGIN = ClientOrigin("c1", '"1"')


def ready(
    started_ms: int = 1, name: str = "agent", methods: tuple[Method, ...] = (ECHO,), **changes: Any
) -> Ready:
    given = {"token": token(KEY, name), "is_draining": False, **changes}
    return Ready(name, 1, started_ms, given["token"], given["is_draining"], 0, methods, (), {})


def router() -> Router:
    return Router(7, ("agent", "web"), KEY)


def call(to: Router, now: float = 0.0, method: Method = ECHO) -> tuple[bytes, Request]:
    return to.open(method, '"1"', msgspec.Raw(b"\x90"), ORIGIN, now)


def test_a_method_is_known_once_its_worker_announced_it():
    to = router()
    assert to.unknown("agent.echo", 0.0).retry_after_ms
    assert to.unknown("other.thing", 0.0).message == "unknown method: other.thing"
    announced = to.announce(b"a1", ready(), 0.0)
    assert (announced.refusal, announced.is_new, announced.changed_state) == (None, True, True)
    assert call(to)[0] == b"a1"
    assert to.unknown("agent.more", 0.0).message == "unknown method: agent.more"


def test_a_beat_is_no_news():
    to = router()
    to.announce(b"a1", ready(), 0.0)
    again = to.announce(b"a1", ready(), 1.0)
    assert (again.is_new, again.changed_state, again.lost) == (False, False, ())


def test_a_newer_process_takes_over_and_the_calls_of_the_older_are_lost():
    to = router()
    to.announce(b"a1", ready(1), 0.0)
    _, request = call(to)
    announced = to.announce(b"a2", ready(2), 0.0)
    assert [lost.origin for lost in announced.lost] == [ORIGIN]
    assert to.reply(b"a1", request.call_id) is None
    assert call(to)[0] == b"a2"
    assert to.announce(b"a1", ready(1), 0.0).refusal == "a newer process of this name is there"
    assert call(to)[0] == b"a2"


def test_only_the_callee_answers_and_only_once():
    to = router()
    to.announce(b"a1", ready(), 0.0)
    _, request = call(to)
    assert to.reply(b"other", request.call_id) is None
    assert to.partial(b"other", request.call_id) is None
    assert to.partial(b"a1", request.call_id) == ORIGIN
    assert to.reply(b"a1", request.call_id) == ORIGIN
    assert to.reply(b"a1", request.call_id) is None
    assert to.reply(b"a1", 0) is None


def test_ids_do_not_repeat_across_fronts():
    first, second = Router(1, ("agent",), KEY), Router(2, ("agent",), KEY)
    for to in (first, second):
        to.announce(b"a1", ready(), 0.0)
    _, request = call(first)
    call(second)
    assert second.reply(b"a1", request.call_id) is None


def test_a_call_past_its_deadline_is_cancelled_and_told():
    to = router()
    to.announce(b"a1", ready(), 0.0)
    _, request = call(to)
    assert to.expire(1.0) == ([], [])
    to.announce(b"a1", ready(), 29.0)
    cancels, lost = to.expire(30.0)
    assert cancels == [(b"a1", request.call_id)]
    assert lost[0].error.code == "UNAVAILABLE"
    assert to.open_count() == 0


def test_a_silent_worker_gets_no_calls_and_in_the_end_loses_its_own():
    to = router()
    to.announce(b"a1", ready(methods=(Method("agent.echo", "read", 0),)), 0.0)
    call(to)
    to.expire(SILENT_AFTER_S + 0.1)
    with pytest.raises(RpcError, match="is silent") as refused:
        call(to, SILENT_AFTER_S + 0.1)
    assert refused.value.retry_after_ms
    _, lost = to.expire(LOST_AFTER_S + 0.1)
    assert [call.origin for call in lost] == [ORIGIN]
    assert to.announce(b"a1", ready(methods=(Method("agent.echo", "read", 0),)), 20.0).is_new
    assert call(to, 20.0)[0] == b"a1"


def test_what_a_worker_owes_is_bounded():
    to = router()
    to.announce(b"a1", ready(), 0.0)
    for _ in range(MAX_OPEN_PER_WORKER):
        call(to)
    with pytest.raises(RpcError, match="too many open calls"):
        call(to)
    name, lost = to.gone(b"a1")
    assert (name, len(lost)) == ("agent", MAX_OPEN_PER_WORKER)
    assert to.open_count() == 0


@pytest.mark.parametrize(
    ("announcement", "reason"),
    [
        (ready(token="x"), "wrong bus token"),
        (ready(token=token(KEY, "web")), "wrong bus token"),
        (ready(name="stranger"), "no worker is called 'stranger'"),
        (ready(methods=(Method("web.login", "read", 0),)), "may not serve web.login"),
        (ready(methods=(Method("health", "read", 0),)), "may not serve health"),
    ],
)
def test_announcements_beyond_a_workers_rights_are_refused(announcement: Ready, reason: str):
    assert router().announce(b"a1", announcement, 0.0).refusal == reason


def test_a_process_is_one_worker():
    to = router()
    to.announce(b"a1", ready(methods=()), 0.0)
    to.announce(b"w1", ready(name="web", methods=()), 0.0)
    assert to.announce(b"a1", ready(name="web", methods=()), 0.0).refusal == "this process is agent"


def test_a_changed_table_replaces_the_old_one():
    to = router()
    to.announce(b"a1", ready(), 0.0)
    to.announce(b"a2", ready(2, methods=(Method("agent.more", "read", 0),)), 0.0)
    assert set(to.methods) == {"agent.more"}
