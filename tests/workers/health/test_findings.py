"""Measurements become problems at the documented limits."""

from workers.health.findings import (
    CLOCK_NOTE_S,
    LARGEST_LOGS_BYTES,
    Child,
    Clocks,
    Disk,
    Tree,
    disk_problems,
    log_problems,
)
from workers.health.recovery import Identity

GB = 1_000_000_000
SUPERVISOR = 10


def child(pid: int, parent_pid: int, *, is_zombie: bool = False) -> Child:
    return Child(Identity(pid, pid * 10), parent_pid, "python", is_zombie)


def test_a_disk_with_room_is_no_problem() -> None:
    assert disk_problems(Disk(100 * GB, 5 * GB), "/state") == []


def test_a_disk_below_five_percent_is_a_problem() -> None:
    (problem,) = disk_problems(Disk(100 * GB, 5 * GB - 1), "/state")
    assert (problem.id, problem.severity) == ("disk-full", "error")
    assert "/state" in problem.text


def test_a_small_disk_needs_200_megabytes() -> None:
    assert disk_problems(Disk(GB, 199_999_999), "/state") != []
    assert disk_problems(Disk(GB, 200_000_000), "/state") == []


def test_free_space_is_told_coarsely_so_that_it_seldom_changes() -> None:
    assert Disk(GB, 234_567_890).told() == {"totalBytes": GB, "freeBytes": 200_000_000}


def test_logs_beyond_the_cap_are_a_problem() -> None:
    assert log_problems(LARGEST_LOGS_BYTES, "/logs") == []
    assert [one.id for one in log_problems(LARGEST_LOGS_BYTES + 1, "/logs")] == ["logs-large"]


def test_a_clock_that_keeps_step_is_no_problem() -> None:
    clocks = Clocks()
    assert clocks.compare(1000.0, 5.0) is None
    assert clocks.compare(1006.0, 10.0) is None
    assert clocks.problems(10.0) == []


def test_a_clock_jump_is_told_for_a_while() -> None:
    clocks = Clocks()
    clocks.compare(1000.0, 5.0)
    assert clocks.compare(1000.0 + 3605.0, 10.0) == 3600.0
    (problem,) = clocks.problems(11.0)
    assert "+3600 s" in problem.text
    assert clocks.problems(10.0 + CLOCK_NOTE_S + 1) == []


def test_a_zombie_is_reported_after_five_seconds_and_not_before() -> None:
    tree = Tree(SUPERVISOR)
    zombie = child(30, 20, is_zombie=True)
    assert tree.problems([zombie], 0.0) == []
    assert tree.problems([zombie], 4.9) == []
    assert [one.id for one in tree.problems([zombie], 5.0)] == ["zombie:30"]
    assert tree.problems([], 6.0) == []


def test_a_process_the_supervisor_inherited_is_an_orphan() -> None:
    tree = Tree(SUPERVISOR)
    assert tree.problems([child(20, SUPERVISOR), child(30, 20)], 0.0) == []
    assert tree.problems([child(30, SUPERVISOR)], 5.0) == []
    assert [one.id for one in tree.problems([child(30, SUPERVISOR)], 10.0)] == ["orphan:30"]


def test_a_program_of_the_supervisor_is_no_orphan() -> None:
    tree = Tree(SUPERVISOR)
    for now in (0.0, 10.0, 20.0):
        assert tree.problems([child(20, SUPERVISOR)], now) == []


def test_a_later_process_with_the_same_pid_is_another() -> None:
    tree = Tree(SUPERVISOR)
    tree.problems([child(30, 20)], 0.0)
    again = Child(Identity(30, 999), SUPERVISOR, "python", is_zombie=False)
    assert tree.problems([again], 5.0) == []
    assert tree.problems([again], 15.0) == []
