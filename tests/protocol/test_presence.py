"""The presence list: rows of clients and machines, their merging, their end."""

import json
import time
from typing import Any

import msgspec
import pytest

from gatewayd.protocol.connect import ConnectParams, Device
from gatewayd.protocol.presence import LONGEST_CHARS, MAX_ROWS, TTL_S, Presence, parse_text


def presence() -> Presence:
    return Presence({"host": "box", "reason": "self", "text": "Gateway: box", "ts": 0}, 0)


def params(instance: str | None = None, mode: str = "ui") -> ConnectParams:
    client = {"id": "test", "version": "1", "platform": "linux", "mode": mode}
    if instance is not None:
        client["instanceId"] = instance
    return msgspec.convert({"minProtocol": 3, "maxProtocol": 3, "client": client}, ConnectParams)


def rows(store: Presence, now: float = 0.0) -> list[dict[str, Any]]:
    """The list without the gateway's own row."""
    listed = json.loads(store.encoded(now, int(now * 1000)))
    assert sum(row.get("reason") == "self" for row in listed) == 1
    return [row for row in listed if row.get("reason") != "self"]


def note(store: Presence, text: str, now: float = 0.0, **given: Any) -> None:
    store.note(text, given, now, int(now * 1000))


def test_connections_of_one_device_share_a_row_until_the_last_has_left():
    store, block = presence(), {"id": "ID", "publicKey": "k", "signature": "s", "signedAt": 1}
    device = msgspec.convert(block, Device)
    for number, role in enumerate(("operator", "node")):
        given = msgspec.structs.replace(params(f"i-{number}"), device=device, role=role)
        store.connected(f"c{number}", given, None, 0.0, 0, ())
    (row,) = rows(store)
    assert (row["deviceId"], row["instanceId"], row["roles"]) == ("ID", "ID", ["operator", "node"])
    store.disconnected("c0", "ID", "ui", 1.0, 1000)
    assert [row["reason"] for row in rows(store)] == ["connect"]
    store.disconnected("c1", "ID", "ui", 1.0, 1000)
    assert [row["reason"] for row in rows(store)] == ["disconnect"]


def test_a_client_has_a_row_from_connect_to_five_minutes_after_it_left():
    store = presence()
    store.connected("c1", params("A"), "192.0.2.1", 0.0, 0, ("operator.read",))
    (row,) = rows(store, 10 * TTL_S)
    assert (row["reason"], row["ip"], row["scopes"]) == ("connect", "192.0.2.1", ["operator.read"])
    store.disconnected("c1", "A", "ui", 10 * TTL_S, 0)
    assert rows(store, 10 * TTL_S + 1)[0]["reason"] == "disconnect"
    assert rows(store, 11 * TTL_S + 1) == []


def test_command_lines_are_not_listed():
    store = presence()
    store.connected("c1", params("A", "cli"), None, 0.0, 0, ())
    assert store.version == 1
    assert store.disconnected("c1", "A", "cli", 0.0, 0) is False
    assert rows(store) == []


def test_two_connections_of_one_instance_share_a_row():
    store = presence()
    store.connected("c1", params(" Mac "), None, 0.0, 0, ("operator.read",))
    store.connected("c2", params("mac"), None, 0.0, 0, ("operator.write",))
    (row,) = rows(store)
    assert row["scopes"] == ["operator.read", "operator.write"]
    store.disconnected("c1", " Mac ", "ui", 1.0, 1000)
    assert rows(store, 1.0)[0]["reason"] == "connect"


def test_a_late_disconnect_revives_nothing():
    store = presence()
    store.disconnected("c1", "gone", "ui", 0.0, 0)
    assert rows(store) == []


def test_the_list_is_capped_and_the_oldest_go_first():
    store = presence()
    for number in range(MAX_ROWS + 50):
        store.connected(f"c{number}", params(f"i{number}"), None, float(number), number, ())
    listed = rows(store, 250.0)
    assert len(listed) == MAX_ROWS - 1
    assert listed[0]["instanceId"] == f"i{MAX_ROWS + 49}"
    store.disconnected("c0", "i0", "ui", 300.0, 0)


def test_many_arrivals_at_one_moment_are_capped_too():
    store = presence()
    for number in range(MAX_ROWS + 50):
        store.connected(f"c{number}", params(), None, 0.0, 0, ())
    assert len(rows(store)) == MAX_ROWS - 1


def test_the_text_of_a_beacon_is_understood():
    text = "Node: Lab Mac (192.0.2.9) · app 1.2.3 · last input 42s ago · mode ui · reason launch"
    assert parse_text(text) == {
        "host": "Lab Mac", "ip": "192.0.2.9", "version": "1.2.3", "lastInputSeconds": 42,
        "mode": "ui", "reason": "launch",
    }  # fmt: skip
    assert parse_text("node: box · mode x") == {"host": "box", "mode": "x"}
    assert parse_text("something else") == {}


def test_members_of_a_note_win_over_its_text_and_wrong_types_are_ignored():
    store = presence()
    note(store, "Node: box · mode ui", host="other", mode=7, roles=["a", 1], lastInputSeconds=True)
    (row,) = rows(store)
    assert (row["host"], row["mode"]) == ("other", "ui")
    assert "roles" not in row
    assert "lastInputSeconds" not in row


@pytest.mark.parametrize("seconds", [1e300, -1e300, 10**30, 3.7])
def test_no_number_makes_the_list_unreadable(seconds: float):
    store = presence()
    note(store, "x", lastInputSeconds=seconds)
    assert isinstance(rows(store)[0]["lastInputSeconds"], int)
    note(store, "Node: a · last input " + "9" * 3_000 + "s ago")
    assert len(rows(store)) == 2


@pytest.mark.parametrize(
    "text", ["Node:" + " " * 3_990 + "x", "Node: a (" * 440, "Node: ·" + "app " * 990]
)
def test_no_text_takes_long_to_understand(text: str):
    started = time.perf_counter()
    parse_text(text)
    assert time.perf_counter() - started < 0.05


def test_rows_stay_small_whatever_is_written_into_them():
    store = presence()
    for number in range(300):
        note(store, "t" * 4_000, deviceId="d", host="h" * 500_000, scopes=[f"{number}" * 900])
    (row,) = rows(store)
    assert len(row["host"]) == len(row["text"]) == LONGEST_CHARS
    assert len(json.dumps(row)) < 40_000
