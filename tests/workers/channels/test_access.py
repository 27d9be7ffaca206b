"""Who is let in: exact ids, never names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.channels.access import Verdict, decide
from workers.channels.base import Inbound

ALLOWED = frozenset({"12345", "-100777"})


def message(
    sender: str = "9",
    *,
    kind: str = "dm",
    chat: str | None = None,
    name: str = "",
    addressed: bool = True,
):
    return Inbound("u1", chat or sender, kind, sender, name, "hi", 0, is_addressed=addressed)


@pytest.mark.parametrize(
    "sender", ["1234", "2345", "012345", "+12345", " 12345", "12345 ", "１２３４５", "", "*", "ada"]  # noqa: RUF001 - homoglyphs
)  # fmt: skip
@pytest.mark.parametrize("policy", ["pairing", "allowlist"])
def test_only_the_exact_id_matches(policy: str, sender: str):
    assert decide(message("12345"), policy, ALLOWED, ()) is Verdict.ALLOW
    assert decide(message(sender, name="12345"), policy, ALLOWED, ()) is not Verdict.ALLOW


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_name_never_lets_anyone_in(sender: str, name: str):
    verdict = decide(message(sender, name=name), "allowlist", {name} - {sender}, {name} - {sender})
    assert verdict is Verdict.REFUSE


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ("pairing", Verdict.PAIR),
        ("allowlist", Verdict.REFUSE),
        ("disabled", Verdict.REFUSE),
        ("open", Verdict.REFUSE),  # without "*" it opens nothing
        ("no such policy", Verdict.REFUSE),
    ],
)
def test_a_stranger_by_policy(policy: str, verdict: Verdict):
    assert decide(message("9"), policy, ALLOWED, ()) is verdict


def test_open_lets_everyone_in_and_disabled_nobody():
    assert decide(message("9"), "open", {"*"}, ()) is Verdict.ALLOW
    assert decide(message("12345"), "disabled", ALLOWED, {"12345"}) is Verdict.REFUSE


def test_star_opens_nothing_under_another_policy():
    assert decide(message("9"), "pairing", {"*"}, ()) is Verdict.PAIR


def test_who_was_approved_is_let_in():
    assert decide(message("9"), "pairing", (), {"9"}) is Verdict.ALLOW


@pytest.mark.parametrize("policy", ["pairing", "open", "allowlist", "disabled"])
def test_a_group_is_answered_only_when_listed_and_addressed(policy: str):
    everyone = ALLOWED | {"*", "9"}
    listed = message("9", kind="group", chat="-100777")
    silent = message("9", kind="group", chat="-100777", addressed=False)
    other = message("9", kind="group", chat="-100778")
    assert decide(listed, policy, everyone, ()) is Verdict.ALLOW
    assert decide(silent, policy, everyone, ()) is Verdict.REFUSE
    assert decide(other, policy, everyone, {"9"}) is Verdict.REFUSE
