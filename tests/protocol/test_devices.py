"""The book of devices: who is paired for what, whose token is live, what may be given away."""

from typing import Any

import msgspec
import pytest

from bus.errors import RpcError
from gatewayd.protocol.connect import Client
from gatewayd.protocol.devices import (
    MAX_REQUESTS,
    PREVIOUS_TTL_MS,
    REQUEST_TTL_MS,
    USE_NOTED_MS,
    Book,
    Token,
    Wish,
    covers,
)

ADMIN, READ, WRITE, PAIRING = (
    f"operator.{name}" for name in ("admin", "read", "write", "pairing")
)  # fmt: skip
T = 1_000_000
OPERATOR = ("d1", "operator")


def wish(*scopes: str, role: str = "operator", device: str = "d1", **changes: Any) -> Wish:
    client = Client(id="cli", version="1", platform="linux", mode="cli")
    given: dict[str, Any] = {"remote_ip": "192.0.2.1", "client": client, **changes}
    return Wish(device_id=device, public_key=f"key of {device}", role=role, scopes=scopes, **given)


def paired(*scopes: str, token: str = "first", role: str = "operator") -> Book:
    book = Book()
    book.ask(wish(*scopes, role=role), "r", T)
    book.approve("r", (ADMIN,), token, T)
    return book


def token_of(book: Book, role: str = "operator") -> Token:
    token = book.devices["d1"].token_for(role)
    assert token is not None
    return token


def matches(book: Book, given: str, at: int = T) -> bool:
    return book.matching(wish(), given, at) is not None


def test_a_request_is_kept_as_it_was_first_made_until_its_time_is_over():
    book = Book()
    first, is_new = book.ask(wish(READ), "r1", T)
    again = book.ask(wish(ADMIN, role="node", remote_ip=None), "r2", T + REQUEST_TTL_MS - 1)
    assert (is_new, again) == (True, (first, False))
    assert book.ask(wish(ADMIN), "r3", T + REQUEST_TTL_MS)[1]
    assert list(book.requests) == ["r3"]
    with pytest.raises(RpcError, match="unknown requestId"):
        book.approve("r3", (ADMIN,), "x", T + 2 * REQUEST_TTL_MS)


def test_the_oldest_request_makes_room():
    book = Book()
    for number in range(MAX_REQUESTS + 1):
        book.ask(wish(device=f"d{number}"), f"r{number}", T + number)
    assert len(book.requests) == MAX_REQUESTS
    assert "r0" not in book.requests


def test_approval_adds_to_what_was_approved_before():
    book = paired(READ)
    book.ask(wish(role="node"), "r2", T)
    _, device = book.approve("r2", (PAIRING,), "second", T + 5)
    assert (device.roles, device.scopes) == (("operator", "node"), (READ,))
    assert (device.created_at_ms, device.approved_at_ms) == (T, T + 5)
    assert [(token.role, token.scopes) for token in device.tokens] == [
        ("operator", (READ,)), ("node", ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("role", "scopes", "reason"),
    [
        ("operator", (READ,), None), ("operator", (), None), ("node", (), "role-upgrade"),
        ("operator", (WRITE,), "scope-upgrade"), ("operator", (ADMIN,), "scope-upgrade"),
    ],
)  # fmt: skip
def test_what_was_not_approved_needs_approval(role: str, scopes: tuple, reason: str | None):
    assert paired(READ).lacks(wish(*scopes, role=role)) == reason
    assert Book().lacks(wish(*scopes, role=role)) == "not-paired"


@pytest.mark.parametrize(
    ("held", "wanted", "is_covered"),
    [
        ((ADMIN,), (READ, "operator.anything"), True), ((WRITE,), (READ,), True),
        ((READ,), (WRITE,), False), ((PAIRING,), (), True), ((PAIRING,), (PAIRING, READ), False),
        ((), (READ,), False), ((READ, WRITE, PAIRING, "operator.approvals"), (ADMIN,), False),
    ],
)  # fmt: skip
def test_admin_holds_every_scope_and_write_holds_read(held: tuple, wanted: tuple, is_covered: bool):
    assert covers(held, wanted) is is_covered


def test_nobody_approves_or_rotates_beyond_their_own_scopes():
    book = paired(ADMIN)
    book.ask(wish(WRITE, device="d2"), "r2", T)
    attempts = [
        lambda: book.approve("r2", (PAIRING,), "x", T),
        lambda: book.rotate(OPERATOR, None, (PAIRING,), "x", T),
        lambda: book.rotate(OPERATOR, (READ,), (PAIRING,), "x", T),
        lambda: book.rotate(OPERATOR, (ADMIN,), (WRITE, PAIRING), "x", T),
    ]
    book.take_changes()
    for attempt in attempts:
        with pytest.raises(RpcError, match="missing scope: operator"):
            attempt()
    assert book.take_changes() == []
    assert matches(book, "first")


def test_a_token_never_gets_scopes_its_device_was_not_approved_for():
    with pytest.raises(RpcError, match=r"not approved for this device: operator\.write"):
        paired(READ).rotate(OPERATOR, (READ, WRITE), (ADMIN,), "x", T)


@pytest.mark.parametrize("of", [("d2", "operator"), ("d1", "node"), ("d1", "god")])
def test_tokens_are_made_only_for_roles_that_were_approved(of: tuple[str, str]):
    for attempt in (
        lambda book: book.rotate(of, None, (ADMIN,), "x", T), lambda book: book.revoke(*of, T),
    ):  # fmt: skip
        with pytest.raises(RpcError, match="unknown deviceId/role"):
            attempt(paired(READ))


def test_a_token_is_known_by_device_role_and_value():
    book = paired(READ)
    assert matches(book, "first")
    for given in ("", "other", "FIRST"):
        assert not matches(book, given)
    assert book.matching(wish(role="node"), "first", T) is None
    assert book.matching(wish(device="d2"), "first", T) is None


def test_a_rotated_token_works_until_the_new_one_is_used_or_its_time_is_over():
    book = paired(READ)
    book.rotate(OPERATOR, None, (ADMIN,), "second", T)
    assert (token_of(book).scopes, token_of(book).rotated_at_ms) == ((READ,), T)
    assert matches(book, "first", T + PREVIOUS_TTL_MS - 1)
    assert not matches(book, "first", T + PREVIOUS_TTL_MS)
    assert book.admit(wish(READ), "unused", "first", T).token == "second"
    assert matches(book, "first")
    book.admit(wish(READ), "unused", "second", T)
    assert matches(book, "second")
    assert not matches(book, "first")


def test_a_revoked_token_and_the_one_before_it_are_worth_nothing():
    book = paired(READ)
    book.rotate(OPERATOR, None, (ADMIN,), "second", T)
    was = token_of(book)
    book.revoke(*OPERATOR, T + 1)
    assert not matches(book, "first")
    assert not matches(book, "second")
    assert not book.is_live("d1", was)
    book.rotate(OPERATOR, None, (ADMIN,), "third", T + 2)
    assert matches(book, "third")
    assert not matches(book, "second"), "a revoked token is not brought back by a rotation"


def test_a_connect_keeps_a_token_that_suffices_and_replaces_one_that_does_not():
    book = paired(READ, WRITE)
    assert book.admit(wish(READ), "unused", "", T).token == "first"
    book.rotate(OPERATOR, (READ,), (ADMIN,), "narrow", T)
    wide = book.admit(wish(WRITE, READ), "wide", "", T + 9)
    assert (wide.token, wide.scopes, wide.issued_at_ms) == ("wide", (READ, WRITE), T + 9)
    book.revoke(*OPERATOR, T)
    assert book.admit(wish(READ), "fresh", "", T).token == "fresh"


def test_the_use_of_a_token_is_noted_now_and_then_and_news_of_a_device_at_once():
    book = paired(READ)
    book.admit(wish(READ), "", "first", T)
    book.take_changes()
    book.admit(wish(READ), "", "first", T + USE_NOTED_MS)
    assert book.take_changes() == []
    book.admit(wish(READ), "", "first", T + USE_NOTED_MS + 1)
    assert token_of(book).last_used_at_ms == T + USE_NOTED_MS + 1
    book.admit(wish(READ, remote_ip="192.0.2.9"), "", "first", T + USE_NOTED_MS + 1)
    assert book.devices["d1"].remote_ip == "192.0.2.9"


def test_what_could_not_be_written_is_taken_back():
    book = paired(READ)
    book.ask(wish(WRITE, device="d2"), "r2", T)
    book.take_changes()
    before = (dict(book.devices), dict(book.requests))
    book.approve("r2", (ADMIN,), "x", T)
    book.revoke(*OPERATOR, T)
    book.undo(book.take_changes())
    assert (book.devices, book.requests) == before


def test_what_was_built_on_something_that_was_not_written_is_taken_back_to_what_was_there():
    book = Book()
    book.ask(wish(READ), "r", T)
    book.approve("r", (ADMIN,), "first", T)
    pairing = book.take_changes()
    book.admit(wish(READ), "", "first", T)
    use = book.take_changes()
    book.rotate(OPERATOR, None, (ADMIN,), "second", T)
    rotation = book.take_changes()
    for changes in (pairing, use, rotation):
        book.undo(changes)
    assert (book.devices, book.requests) == ({}, {})


def test_what_a_device_says_of_itself_is_kept_short():
    client = Client(id="cli", version="1", platform="p" * 999, mode="cli", display_name="n" * 999)
    request, _ = Book().ask(wish(client=client), "r", T)
    assert (request.platform, request.display_name) == ("p" * 256, "n" * 256)


def test_a_record_reads_back_as_it_was_written():
    book = paired(READ)
    book.rotate(OPERATOR, None, (ADMIN,), "second", T)
    for change in book.take_changes():
        if change.after is not None:
            kind = type(change.after)
            assert msgspec.json.decode(msgspec.json.encode(change.after), type=kind) == change.after
