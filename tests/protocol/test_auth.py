"""Guessing secrets: few are evaluated, whoever guesses, and nobody else is locked out."""

from gatewayd.protocol.auth import Authenticator, Secret
from gatewayd.protocol.limiter import MAX_ADDRESSES, MAX_FAILURES, WINDOW_S, Limiter


def authenticator() -> Authenticator:
    return Authenticator(Secret("token", "right"))


def codes(auth: Authenticator, guesses: list[str], address: str, now: float = 0.0) -> list[str]:
    """The error code of each guess; empty for one that came in."""
    errors = [auth.check_value(guess, None, address, now) for guess in guesses]
    return [error.details["code"] if error else "" for error in errors]


def test_of_ten_thousand_guesses_ten_are_evaluated():
    got = codes(authenticator(), [f"guess {n}" for n in range(10_000)], "127.0.0.1")
    assert got == ["AUTH_TOKEN_MISMATCH"] * 10 + ["AUTH_RATE_LIMITED"] * 9_990


def test_even_the_right_secret_waits_after_many_different_guesses():
    auth = authenticator()
    codes(auth, [f"guess {n}" for n in range(10)], "::1")
    assert codes(auth, ["right"], "::1") == ["AUTH_RATE_LIMITED"]
    assert codes(auth, ["right"], "::1", WINDOW_S + 1) == [""]


def test_who_waits_is_told_how_long():
    auth = authenticator()
    codes(auth, [f"guess {n}" for n in range(10)], "a", now=5.0)
    error = auth.check_value("one more", None, "a", 25.0)
    assert error is not None
    assert (error.code, error.retry_after_ms) == ("UNAVAILABLE", 40_001)


def test_a_forgotten_tab_stops_being_evaluated_and_locks_nobody_out():
    auth = authenticator()
    got = codes(auth, ["old token"] * 100, "127.0.0.1")
    assert got == ["AUTH_TOKEN_MISMATCH"] * 10 + ["AUTH_RATE_LIMITED"] * 90
    assert codes(auth, ["right"], "127.0.0.1") == [""]


def test_other_addresses_are_not_touched():
    auth = authenticator()
    codes(auth, [f"guess {n}" for n in range(50)], "192.0.2.1")
    assert codes(auth, ["right"], "192.0.2.2") == [""]


def test_success_does_not_reset_the_count():
    auth = authenticator()
    for number in range(9):
        codes(auth, [f"guess {number}", "right"], "a")
    assert codes(auth, ["guess 9", "guess 10"], "a") == ["AUTH_TOKEN_MISMATCH", "AUTH_RATE_LIMITED"]


def test_what_is_remembered_is_bounded():
    limiter = Limiter()
    for number in range(MAX_ADDRESSES + 500):
        limiter.failed(f"address {number}", b"guess", 0.0)
    assert limiter.wait_s("address 0", b"guess", 0.0) == 0
    assert len(limiter._failures) == MAX_ADDRESSES
    for number in range(1_000):
        limiter.failed("one", b"%d" % number, 0.0)
    assert len(limiter._failures["one"]) == MAX_FAILURES**2
