"""Strangers at the port: a budget that floods cannot fill and crowds pass quickly."""

from gatewayd.protocol.admission import (
    CROWDED_DEADLINE_S,
    DEADLINE_S,
    MAX_ACTIVE,
    MAX_SILENT,
    MAX_WAITING,
    Admission,
)


def crowd(places: Admission[int], count: int, now: float = 0.0, start: int = 0) -> list[object]:
    """Connections that come and speak; the verdict on each."""
    verdicts: list[object] = []
    for number in range(start, start + count):
        assert places.arrive(number, now) is None
        verdicts.append(places.speak(number, now))
    return verdicts


def test_silent_sockets_take_no_place_from_those_who_speak():
    places: Admission[int] = Admission()
    for number in range(MAX_SILENT):
        assert places.arrive(number, 0.0) is None
    assert places.arrive(-1, 0.0) == 0, "the one silent for longest goes"
    assert places.speak(-1, 0.0) is True
    assert places.counts() == (MAX_SILENT, 0)


def test_more_than_the_budget_wait_and_come_in_order():
    places: Admission[int] = Admission()
    assert crowd(places, MAX_ACTIVE) == [True] * MAX_ACTIVE
    assert crowd(places, 3, start=1000) == [False] * 3
    assert places.next_admitted(0.0) is None
    for number in range(3):
        places.leave(number)
    assert [places.next_admitted(0.0) for _ in range(4)] == [1000, 1001, 1002, None]


def test_the_queue_is_bounded():
    places: Admission[int] = Admission()
    crowd(places, MAX_ACTIVE + MAX_WAITING)
    assert crowd(places, 1, start=99_999) == [None]


def test_who_leaves_the_queue_is_not_called():
    places: Admission[int] = Admission()
    crowd(places, MAX_ACTIVE + 2)
    places.leave(MAX_ACTIVE)
    places.leave(MAX_ACTIVE)
    places.leave(0)
    assert places.next_admitted(1.0) == MAX_ACTIVE + 1


def test_time_is_up_sooner_while_others_wait():
    places: Admission[int] = Admission()
    crowd(places, MAX_ACTIVE)
    assert places.overdue(DEADLINE_S - 0.1) == []
    assert places.overdue(DEADLINE_S) == list(range(MAX_ACTIVE))
    crowd(places, 1, start=1000)
    assert places.overdue(CROWDED_DEADLINE_S - 0.1) == []
    assert len(places.overdue(CROWDED_DEADLINE_S)) == MAX_ACTIVE


def test_silent_ones_are_given_ten_seconds():
    places: Admission[int] = Admission()
    places.arrive(1, 5.0)
    assert places.overdue(14.9) == []
    assert places.overdue(15.0) == [1]


def test_nothing_is_left_when_all_have_gone():
    places: Admission[int] = Admission()
    crowd(places, MAX_ACTIVE + 100)
    for number in range(MAX_ACTIVE + 100):
        places.leave(number)
    assert places.counts() == (0, 0)
    assert (len(places._active), len(places._silent), len(places._waiting)) == (0, 0, 0)
