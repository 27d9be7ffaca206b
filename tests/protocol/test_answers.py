"""Smaller decisions: hello, snapshots, quotas, slow readers."""

import json

from gatewayd.protocol.hello import Hello
from gatewayd.protocol.outbox import (
    MAX_BUFFERED_BYTES,
    SOFT_BUFFERED_BYTES,
    Verdict,
    verdict,
)
from gatewayd.protocol.quota import BURST, RATE_PER_S, Quota
from gatewayd.protocol.snapshot import SESSION_DEFAULTS, Snapshots


def test_hello_is_the_golden_frame():
    hello = Hello("0.1.0", "box", "/c/gatewayd.json", "/c")
    hello.set_methods(["health", "status"])
    payload = json.loads(hello.payload("id-1", b"[]", b"{}", (1, 2), 5123, SESSION_DEFAULTS))
    assert payload.pop("features")["methods"] == ["health", "status"]
    assert payload == {
        "type": "hello-ok", "protocol": 3,
        "server": {"version": "0.1.0", "host": "box", "connId": "id-1"},
        "snapshot": {
            "presence": [], "health": {}, "stateVersion": {"presence": 1, "health": 2},
            "uptimeMs": 5123, "configPath": "/c/gatewayd.json", "stateDir": "/c",
            "sessionDefaults": {"defaultAgentId": "main", "mainKey": "main",
                                "mainSessionKey": "agent:main:main", "scope": "per-sender"},
        },
        "policy": {"maxPayload": 524288, "maxBufferedBytes": 1572864, "tickIntervalMs": 30000},
    }  # fmt: skip


def test_parts_of_workers_are_joined_and_none_speaks_for_the_front():
    snapshots = Snapshots()
    assert snapshots.put("agent", b'{"health":{"ok":true,"agents":[1]},"status":{"processes":[]}}')
    assert snapshots.put("channels", b'{"health":{"channelOrder":["x"]},"problems":[{"text":"p"}]}')
    health = snapshots.health({"ok": False, "ts": 1})
    assert health.count(b'"ok"') == 1
    told = json.loads(health)
    assert (told["ok"], told["agents"], told["channelOrder"]) == (False, [1], ["x"])
    assert json.loads(snapshots.status({"processes": [1]}))["processes"] == [1]
    assert snapshots.problems() == ["p"]
    assert snapshots.revision == 2


def test_a_part_that_cannot_be_read_changes_nothing():
    snapshots = Snapshots()
    for body in (b"", b"{", b"[]", b'{"health":[]}', b'{"health":{"a":"\xff"}}', b"[" * 100_000,
                 b'{"health":{"a":' + b"[" * 100_000):  # fmt: skip
        assert not snapshots.put("agent", body)
    assert snapshots.revision == 0


def test_a_quota_allows_a_burst_and_then_a_rate():
    quota = Quota()
    assert sum(quota.take(0.0) for _ in range(50_000)) == BURST
    assert sum(quota.take(1.0) for _ in range(50_000)) == RATE_PER_S
    assert sum(quota.take(1_000.0) for _ in range(50_000)) == BURST
    assert not quota.take(999.0), "a clock that steps back gives nothing"


def test_who_reads_slowly_loses_what_may_be_dropped_first():
    assert verdict(SOFT_BUFFERED_BYTES, drop_if_slow=True) is Verdict.SEND
    assert verdict(SOFT_BUFFERED_BYTES + 1, drop_if_slow=True) is Verdict.SKIP
    assert verdict(MAX_BUFFERED_BYTES, drop_if_slow=False) is Verdict.SEND
    assert verdict(MAX_BUFFERED_BYTES + 1, drop_if_slow=False) is Verdict.CUT
    assert verdict(MAX_BUFFERED_BYTES + 1, drop_if_slow=True) is Verdict.SKIP
