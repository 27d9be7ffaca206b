"""Conversations as messages of a run."""

import pytest

from workers.web.prompt import Part, Prompt, PromptError, Said, build, text_of


def test_one_question_stays_as_it_is() -> None:
    assert build([Said("user", "hi")], "messages") == Prompt("hi")


def test_rules_of_every_kind_become_the_system_text() -> None:
    said = [Said("system", "a"), Said("user", "hi"), Said("developer", "b")]
    assert build(said, "messages", "first") == Prompt("hi", "first\n\na\n\nb")


def test_what_was_said_before_stands_above_the_question() -> None:
    said = [
        Said("user", "one", "Ada"),
        Said("assistant", "two"),
        Said("user", "  "),
        Said("tool", "three", "clock"),
        Said("assistant", "cut off"),
    ]
    assert build(said, "messages").message == (
        "The conversation so far:\nUser Ada: one\nAssistant: two\n\n"
        "The message to answer:\nTool clock: three"
    )


@pytest.mark.parametrize("roles", [(), ("system",), ("assistant",), ("system", "assistant")])
def test_nobody_asking_anything_is_an_error(roles: tuple[str, ...]) -> None:
    with pytest.raises(PromptError, match="Missing user message in `input`"):
        build([Said(role, "text") for role in roles], "input")


def test_parts_of_text_are_joined_and_others_refused() -> None:
    parts = (Part("text", "a"), Part("input_text", "b"), Part("text", None))
    assert text_of(parts, "content") == "a\nb"
    assert text_of(None, "content") == ""
    with pytest.raises(PromptError, match=r"content\[0\]: input_image is not supported"):
        text_of((Part("input_image"),), "content")
