"""Long texts cut where a reader would cut them, counted as Telegram counts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.channels.chunking import chunks, units

WORDS = st.text(alphabet="ab .!?\n\U0001f600\u0301\u200d\U0001f1e9\U0001f1ea`~", max_size=1500)


@given(WORDS, st.integers(100, 400))
def test_no_chunk_is_too_long_or_empty(text: str, limit: int):
    pieces = chunks(text, limit)
    assert all(units(piece) <= limit for piece in pieces)
    assert all(piece.strip() for piece in pieces)


@given(st.text(alphabet="ab .\n\U0001f600\u0301", max_size=1500), st.integers(100, 400))
def test_nothing_but_white_space_is_lost(text: str, limit: int):
    assert "".join("".join(chunks(text, limit)).split()) == "".join(text.split())


@given(st.text(max_size=800), st.integers(100, 200))
def test_units_are_utf_16(text: str, limit: int):
    assert units(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2
    assert all(units(piece) <= limit for piece in chunks(text, limit))


def test_a_short_text_stays_as_it_is():
    assert chunks("one\n\n  two ", 100) == ["one\n\n  two "]
    assert chunks(" \n ", 100) == []


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a" * 60 + "\n\n" + "b" * 30 + "\n" + "c" * 30, "a" * 60),
        ("a" * 60 + "\n" + "b. " * 30, "a" * 60),
        ("a" * 60 + ". " + "b" * 60, "a" * 60 + "."),
        ("a" * 60 + " " + "b" * 60, "a" * 60),
        ("a" * 150, "a" * 100),
    ],
    ids=["paragraph", "line", "sentence", "word", "hard"],
)
def test_the_best_end_is_taken(text: str, first: str):
    assert chunks(text, 100)[0] == first


def test_an_end_far_too_early_is_not_taken():
    assert chunks("a\n\n" + "b" * 150, 100)[0] == "a\n\n" + "b" * 97


def test_a_fence_is_closed_and_opened_again():
    code = "\n".join(f"line {number}" for number in range(40))
    pieces = chunks(f"```python\n{code}\n```\nafter", 100)
    assert len(pieces) > 3
    for piece in pieces[:-1]:
        assert piece.startswith("```python\n")
        assert piece.endswith("\n```")
    bodies = [piece.removeprefix("```python\n").removesuffix("\n```") for piece in pieces[:-1]]
    assert "\n".join(bodies) in code
    assert pieces[-1].endswith("after")


def test_a_fence_that_fits_is_not_cut():
    text = "a" * 60 + "\n```\n" + "b" * 50 + "\n```"
    assert chunks(text, 100) == ["a" * 60, "```\n" + "b" * 50 + "\n```"]


@pytest.mark.parametrize(
    "symbol",
    ["\U0001f600", "e\u0301", "\U0001f469\u200d\U0001f4bb", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f"],
    ids=["surrogate pair", "accent", "joined", "flag", "variation"],
)
def test_a_symbol_is_not_cut(symbol: str):
    for lead in range(4):
        pieces = chunks("a" * lead + symbol * 60, 100)
        assert all(piece.replace(symbol, "").strip("a") == "" for piece in pieces)


def test_the_indentation_of_a_line_survives_a_cut_before_it():
    text = "a" * 60 + "\n" + "  - item " + "b" * 60
    assert chunks(text, 100)[1].startswith("  - item")


def test_a_very_long_answer_does_not_hold_up_the_worker():
    began = time.process_time()
    assert len(chunks("word " * 200_000, 4000)) == 250
    assert time.process_time() - began < 3.0
