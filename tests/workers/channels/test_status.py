"""What clients are told: never connected on old evidence, and what is wrong by name."""

from msgspec import structs

from workers.channels.status import AccountView, channels_status, front_snapshot, summary

VIEW = AccountView(
    "telegram", "Telegram", "default", enabled=True, configured=True, dm_policy="pairing",
    is_running=True, last_ok_ms=1_000, account_name="@gate_bot",
)  # fmt: skip


def is_connected(view: AccountView, now_ms: int) -> bool:
    connected = channels_status([view], now_ms, {})["channels"]["telegram"]["connected"]
    assert (
        front_snapshot([view], now_ms)["health"]["channels"]["telegram"]["connected"] is connected
    )
    return bool(connected)


def test_connected_ends_ninety_seconds_after_the_last_answer():
    assert is_connected(VIEW, 90_999)
    assert not is_connected(VIEW, 91_000)


def test_who_never_heard_an_answer_or_does_not_run_is_not_connected():
    assert not is_connected(structs.replace(VIEW, last_ok_ms=None), 1_001)
    assert not is_connected(structs.replace(VIEW, is_running=False), 1_001)


def test_the_line_for_people_says_what_is_wrong():
    assert summary(VIEW, 1_001) == "Telegram: connected as @gate_bot"
    assert "not connected as @gate_bot" in summary(VIEW, 200_000)
    broken = structs.replace(VIEW, last_ok_ms=None, error="no such token")
    assert summary(broken, 1_001) == "Telegram: not connected as @gate_bot (no such token)"
    assert "no such token" in summary(structs.replace(VIEW, error="no such token"), 1_001)
    assert summary(structs.replace(VIEW, enabled=False), 1_001) == "Telegram: disabled"


def test_an_error_is_a_problem_of_the_gateway():
    assert front_snapshot([VIEW], 1_001)["problems"] == []
    (problem,) = front_snapshot([structs.replace(VIEW, error="deaf")], 1_001)["problems"]
    assert problem["id"] == "channel.telegram"
    assert "deaf" in problem["text"]


def test_a_poll_that_only_succeeds_changes_nothing_for_the_front():
    later = structs.replace(VIEW, last_ok_ms=2_000, last_inbound_ms=5, last_outbound_ms=6)
    assert front_snapshot([VIEW], 2_001) == front_snapshot([later], 2_002)


def test_every_map_is_there_without_a_channel():
    status = channels_status([], 5, {})
    assert status["ts"] == 5
    for name in ("channelLabels", "channels", "channelAccounts", "channelDefaultAccountId"):
        assert status[name] == {}
    assert status["channelOrder"] == []
