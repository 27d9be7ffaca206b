"""What the model is given."""

from workers.agent import prompt
from workers.agent.contract import Turn


def test_the_default_system_text_names_the_agent_and_can_be_replaced() -> None:
    assert prompt.system_text("Otto", None, None).startswith("You are Otto,")
    assert prompt.system_text("Otto", "Be brief.", None) == "Be brief."
    assert prompt.system_text("Otto", "", "Today: rain.") == "\n\nToday: rain."


def test_as_much_of_the_newest_conversation_as_fits_is_kept() -> None:
    said = [Turn("assistant", "4" * 10), Turn("user", "3" * 10), Turn("assistant", "2" * 10)]
    assert prompt.fit(said, "now", 100) == (
        Turn("user", "3" * 10),
        Turn("assistant", "4" * 10),
        Turn("user", "now"),
    )
    assert prompt.fit(said, "now", 15) == (Turn("user", "now"),)


def test_turns_of_one_side_are_joined_and_a_long_message_is_kept_whole() -> None:
    said = [Turn("user", "b"), Turn("user", "a")]
    assert prompt.fit(said, "c", 100) == (Turn("user", "a\n\nb\n\nc"),)
    assert prompt.fit(said, "c" * 50, 10) == (Turn("user", "c" * 50),)


def test_history_is_read_only_as_far_as_needed() -> None:
    read = []

    def newest_first():
        for number in range(1_000):
            read.append(number)
            yield Turn("user" if number % 2 else "assistant", "x" * 50)

    prompt.fit(newest_first(), "now", 500)
    assert len(read) == 10


def test_the_budget_leaves_room_for_the_answer() -> None:
    assert prompt.budget_chars(2_048, "s" * 144) == 1_536 * 4 - 144
    assert prompt.budget_chars(100, "s" * 5_000) == prompt.SMALLEST_BUDGET_CHARS
