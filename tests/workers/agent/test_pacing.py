"""How much the events of a growing text may cost."""

from hypothesis import given
from hypothesis import strategies as st

from workers.agent.pacing import FREE_BYTES, LARGEST_RATIO, Pace


def test_the_first_text_leaves_at_once_and_the_next_after_the_interval() -> None:
    pace = Pace(40)
    assert pace.wait_ms(1_000, 1) == 0
    pace.sent(1_000, 1)
    assert pace.wait_ms(1_010, 2) == 30
    assert pace.wait_ms(1_040, 2) == 0


def test_a_usual_reply_is_never_held_back_for_its_length() -> None:
    pace = Pace(40)
    for step in range(1, 60):
        assert pace.wait_ms(step * 40, step * 20) == 0
        pace.sent(step * 40, step * 20)


@given(st.integers(200_000, 1_000_000), st.integers(1, 400))
def test_all_events_of_a_long_reply_cost_a_bounded_multiple_of_it(length: int, piece: int) -> None:
    pace = Pace(40)
    spent = sent_count = 0
    for step, size in enumerate(range(piece, length, max(piece, length // 3_000))):
        if pace.wait_ms(step * 40, size) == 0:
            pace.sent(step * 40, size)
            spent += size
            sent_count += 1
    assert spent <= LARGEST_RATIO * length + FREE_BYTES
    assert sent_count > 20
