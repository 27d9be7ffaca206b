"""Which run starts when."""

from hypothesis import given
from hypothesis import strategies as st

from workers.agent.lanes import AGING_S, SESSION_CAP_COUNT, TOTAL_CAP_COUNT, Lanes


def add(lanes: Lanes, run: str, session: str, *, background: bool = False, now: float = 0) -> None:
    lanes.add(run, session, is_background=background, now_s=now)


def test_a_session_runs_one_at_a_time_in_order() -> None:
    lanes = Lanes(4)
    for run in ("a1", "a2", "a3"):
        add(lanes, run, "a")
    assert lanes.start(0) == ["a1"]
    assert lanes.start(0) == []
    lanes.leave("a1")
    assert lanes.start(0) == ["a2"]


def test_no_more_run_than_configured() -> None:
    lanes = Lanes(2)
    for number in range(5):
        add(lanes, f"r{number}", f"s{number}")
    assert lanes.start(0) == ["r0", "r1"]
    lanes.leave("r0")
    assert lanes.start(0) == ["r2"]
    assert (lanes.running_count, lanes.queued_count) == (2, 2)


def test_background_runs_leave_a_slot_for_a_person() -> None:
    lanes = Lanes(2)
    for number in range(50):
        add(lanes, f"b{number}", f"s{number}", background=True)
    assert lanes.start(0) == ["b0", "b1"]
    add(lanes, "person", "p")
    assert lanes.start(0) == ["person"]
    add(lanes, "second", "q")
    assert lanes.start(0) == []
    lanes.leave("b0")
    assert lanes.start(0) == ["second"]


def test_a_person_goes_before_older_background_runs() -> None:
    lanes = Lanes(1)
    add(lanes, "first", "x")
    assert lanes.start(0) == ["first"]
    add(lanes, "job", "a", background=True)
    add(lanes, "person", "b")
    lanes.leave("first")
    assert lanes.start(0) == ["person"]


def test_a_background_run_that_waited_long_counts_as_a_person_s() -> None:
    lanes = Lanes(1)
    add(lanes, "job", "a", background=True, now=0)
    add(lanes, "person", "b", now=1)
    assert lanes.start(AGING_S)[0] == "job"


def test_a_withdrawn_run_never_starts() -> None:
    lanes = Lanes(1)
    add(lanes, "a1", "a")
    add(lanes, "a2", "a")
    assert lanes.withdraw("a1", "a")
    assert not lanes.withdraw("a1", "a")
    assert lanes.start(0) == ["a2"]
    assert not lanes.withdraw("a2", "a")
    assert lanes.queued_count == 0


def test_queues_are_bounded_per_session_and_in_all() -> None:
    lanes = Lanes(1)
    for number in range(SESSION_CAP_COUNT):
        assert lanes.refusal("a") is None
        add(lanes, f"a{number}", "a")
    assert "session a has 50 runs waiting" in str(lanes.refusal("a"))
    assert lanes.refusal("b") is None
    for number in range(SESSION_CAP_COUNT, TOTAL_CAP_COUNT):
        add(lanes, f"r{number}", f"s{number}")
    assert "runs are waiting" in str(lanes.refusal("b"))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60),
    st.integers(1, 3),
)
def test_order_and_limits_hold_whatever_comes(
    steps: list[tuple[int, bool, bool]], concurrency: int
) -> None:
    lanes = Lanes(concurrency)
    running: list[tuple[str, int]] = []
    added: dict[int, list[str]] = {}
    started: dict[int, list[str]] = {}
    sessions: dict[str, int] = {}
    for number, (session, is_background, must_leave) in enumerate(steps):
        run = f"r{number}"
        sessions[run] = session
        add(lanes, run, str(session), background=is_background)
        added.setdefault(session, []).append(run)
        if must_leave and running:
            lanes.leave(running.pop(0)[0])
        for name in lanes.start(0):
            running.append((name, sessions[name]))
            started.setdefault(sessions[name], []).append(name)
        assert len(running) == lanes.running_count <= concurrency + 1
        assert len({one for _, one in running}) == len(running)
    while running:
        lanes.leave(running.pop(0)[0])
        for name in lanes.start(0):
            running.append((name, sessions[name]))
            started.setdefault(sessions[name], []).append(name)
    assert started == added
