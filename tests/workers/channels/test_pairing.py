"""Pairing requests, in the database they live in."""

import random
import sqlite3

import pytest

from workers.channels import acquaintances, ledger, pairing
from workers.channels.acquaintances import Stranger
from workers.channels.base import Inbound

HOUR_MS = 3_600_000


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    for script in ledger.MIGRATIONS:
        connection.executescript(script)
    yield connection
    connection.close()


def ask(database: sqlite3.Connection, sender: str, now_ms: int = 0, channel: str = "telegram"):
    message = Inbound("1", sender, "dm", sender, "Eve", "hi", now_ms)
    pick = random.Random(sender + channel).randrange
    return acquaintances.ask(database, Stranger(channel, message, now_ms, pick))


def test_a_code_has_eight_symbols_nobody_mixes_up():
    assert len(set(pairing.ALPHABET)) == 32
    code = pairing.new_code(random.Random(1).randrange)
    assert len(code) == 8
    assert set(code) <= set(pairing.ALPHABET)
    assert not set(pairing.ALPHABET) & set("O0I1")
    again = pairing.new_code(random.Random(1).randrange, [code])
    assert again != code


def test_a_stranger_who_writes_again_keeps_the_code_and_is_not_told_again(
    database: sqlite3.Connection,
):
    request = ask(database, "9")
    assert request is not None
    assert ask(database, "9", now_ms=5) is None
    (waiting,) = acquaintances.pending(6)(database)
    assert (waiting.code, waiting.created_ms, waiting.last_seen_ms) == (request.code, 0, 5)


def test_the_fourth_stranger_of_a_channel_gets_no_code(database: sqlite3.Connection):
    assert all(ask(database, sender) for sender in ("1", "2", "3"))
    assert ask(database, "4") is None
    assert ask(database, "4", channel="other") is not None


def test_a_code_is_dead_at_exactly_sixty_minutes_and_a_new_one_is_told(
    database: sqlite3.Connection,
):
    first = ask(database, "9")
    assert acquaintances.pending(HOUR_MS - 1)(database) == [first]
    assert acquaintances.pending(HOUR_MS)(database) == []
    assert ask(database, "9", now_ms=HOUR_MS) is not None


def test_an_approved_stranger_is_known_and_the_code_is_spent(database: sqlite3.Connection):
    request = ask(database, "9")
    assert acquaintances.approve(database, request, 1)
    assert acquaintances.approved("telegram")(database) == {"9"}
    assert acquaintances.approved("other")(database) == frozenset()
    assert not acquaintances.approve(database, request, 2)


def test_a_rejected_stranger_stays_unknown(database: sqlite3.Connection):
    request = ask(database, "9")
    assert acquaintances.reject(database, request)
    assert acquaintances.approved("telegram")(database) == frozenset()
    assert acquaintances.pending(1)(database) == []


def test_a_code_is_found_however_it_is_typed(database: sqlite3.Connection):
    request = ask(database, "9")
    typed = f" {request.code[:4].lower()} {request.code[4:]} "
    assert pairing.find([request], typed) == request
    assert pairing.find([request], request.code[:-1]) is None


def test_the_invitation_names_the_id_and_the_code_and_what_to_do(database: sqlite3.Connection):
    request = ask(database, "9")
    text = pairing.invitation("Telegram", request)
    assert "Telegram id: 9" in text
    assert request.code in text
    assert f"gatewayctl pairing approve telegram {request.code}" in text
