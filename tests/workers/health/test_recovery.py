"""A worker that hangs is ended once, a worker that does not is never touched."""

from workers.health.recovery import (
    BUDGET,
    BUDGET_S,
    SILENT_S,
    TERM_S,
    Action,
    Identity,
    Observation,
    Recovery,
    Signal,
)

ME = Observation("health", "ready", Identity(9, 90))
AGENT = Identity(7, 70)
STEP_S = 5.0


def agent(state: str, process: Identity | None = AGENT) -> Observation:
    return Observation("agent", state, process)


def observe_for(recovery: Recovery, row: Observation, start: float, seconds: float) -> list[Action]:
    """All actions while the front reports `row` every few seconds."""
    actions: list[Action] = []
    now = start
    while now <= start + seconds:
        actions += recovery.observe([ME, row], now)
        now += STEP_S
    return actions


def test_a_worker_silent_for_long_gets_sigterm_then_sigkill() -> None:
    recovery = Recovery("health")
    assert observe_for(recovery, agent("silent"), 0, SILENT_S - 1) == []
    assert recovery.observe([ME, agent("down")], SILENT_S) == [Action("agent", AGENT, Signal.TERM)]
    assert recovery.observe([ME, agent("down")], SILENT_S + TERM_S - 0.1) == []
    later = SILENT_S + TERM_S
    assert recovery.observe([ME, agent("down")], later) == [Action("agent", AGENT, Signal.KILL)]


def test_an_action_that_changed_nothing_is_not_repeated_but_reported() -> None:
    recovery = Recovery("health")
    actions = observe_for(recovery, agent("silent"), 0, 600)
    assert [action.signal for action in actions] == [Signal.TERM, Signal.KILL]
    (problem,) = recovery.problems()
    assert problem.id == "worker-stuck:agent"
    assert "did not end on SIGKILL" in problem.text


def test_a_worker_that_answers_again_is_left_alone() -> None:
    recovery = Recovery("health")
    assert observe_for(recovery, agent("silent"), 0, 10) == []
    assert recovery.observe([ME, agent("ready")], 12) == []
    assert observe_for(recovery, agent("silent"), 14, 10) == []
    assert recovery.problems() == []


def test_a_new_process_of_the_name_starts_its_own_count() -> None:
    recovery = Recovery("health")
    observe_for(recovery, agent("silent"), 0, 10)
    assert recovery.observe([ME, agent("silent", Identity(7, 71))], 16) == []
    assert recovery.observe([ME, agent("silent", Identity(7, 71))], 20) == []


def test_a_process_that_is_gone_or_not_ours_is_never_signalled() -> None:
    assert observe_for(Recovery("health"), agent("down", None), 0, 300) == []


def test_starting_and_draining_workers_are_not_hung() -> None:
    for state in ("starting", "draining", "ready"):
        assert observe_for(Recovery("health"), agent(state), 0, 300) == []


def test_we_do_not_end_ourselves() -> None:
    recovery = Recovery("agent")
    other = Observation("agent", "ready", AGENT)
    for now in range(0, 300, 5):
        assert recovery.observe([other], float(now)) == []


def test_nothing_is_done_when_the_front_does_not_hear_us_either() -> None:
    recovery = Recovery("health")
    deaf = Observation("health", "silent", ME.process)
    for now in range(0, 300, 5):
        assert recovery.observe([deaf, agent("silent")], float(now)) == []


def test_nothing_is_done_when_we_are_missing_from_the_report() -> None:
    recovery = Recovery("health")
    for now in range(0, 300, 5):
        assert recovery.observe([agent("silent")], float(now)) == []


def test_silence_while_we_were_stopped_ourselves_does_not_count() -> None:
    recovery = Recovery("health")
    recovery.observe([ME, agent("silent")], 0)
    recovery.observe([ME, agent("silent")], 5)
    assert recovery.observe([ME, agent("silent")], 500) == []
    assert recovery.observe([ME, agent("silent")], 505) == []


def test_a_worker_that_hangs_too_often_is_left_and_reported() -> None:
    recovery = Recovery("health")
    signals: list[Signal] = []
    for turn in range(BUDGET + 1):
        row = agent("silent", Identity(100 + turn, 1000 + turn))
        signals += [action.signal for action in observe_for(recovery, row, turn * 40, 30)]
    assert signals.count(Signal.TERM) == BUDGET
    (problem,) = recovery.problems()
    assert problem.id == "worker-hangs:agent"


def test_the_budget_comes_back_with_time() -> None:
    recovery = Recovery("health")
    for turn in range(BUDGET):
        observe_for(recovery, agent("silent", Identity(100 + turn, turn)), turn * 40, 30)
    late = BUDGET_S + BUDGET * 40
    actions = observe_for(recovery, agent("silent", Identity(200, 200)), late, 16)
    # The first look after the long gap proves nothing, so the count begins with the second.
    actions += observe_for(recovery, agent("silent", Identity(200, 200)), late + 20, 16)
    assert [action.signal for action in actions][:1] == [Signal.TERM]


def test_one_hung_worker_does_not_cost_another_its_life() -> None:
    recovery = Recovery("health")
    actions: list[Action] = []
    for now in range(0, 60, 5):
        web = Observation("web", "ready", Identity(8, 80))
        actions += recovery.observe([ME, agent("silent"), web], float(now))
    assert {action.name for action in actions} == {"agent"}
