"""Host and Origin: DNS rebinding, pages of others, and what counts as this machine."""

import pytest

from gatewayd.protocol.origin import HostRules, host_name, is_local_direct, is_loopback

PORT = ":18789"
RULES = HostRules(frozenset({"gateway.example"}), frozenset({"https://ui.example"}))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:18789", "LOCALHOST", "127.0.0.1:1", "[::1]", "[::1]:18789",
     "192.0.2.7:18789", "[fe80::1]:18789", "gateway.example", "Gateway.Example:443",
     "box.tailnet.ts.net"],
)  # fmt: skip
def test_our_own_names_are_taken(host: str):
    assert RULES.host_refusal(host) is None


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "localhost.", "localhost.evil.example", "127.0.0.1.evil.example",
     "evil.example:18789", "[::1]evil.example", "[::1", "localhost:18789:1", "localhost:port",
     "localhost@evil.example", "gateway.example.evil.example", "evilts.net", "local host",
     "\uff4cocalhost.evil", "x" * 10_000],
)  # fmt: skip
def test_other_names_are_refused_in_one_short_line(host: str | None):
    text = RULES.host_refusal(host)
    assert text is not None
    assert len(text) < 256
    assert "gateway.allowedHosts" in text


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "anything"),
        ("http://localhost:18789", "localhost:18789"),
        ("http://127.0.0.1:18789", "localhost:18789"),
        ("http://[::1]:18789", "127.0.0.1:18789"),
        ("HTTP://LocalHost:18789", "localhost:18789"),
        ("http://192.0.2.7:18789", "192.0.2.7:18789"),
        ("https://ui.example", "gateway.example"),
    ],
)
def test_our_own_pages_may_connect(origin: str | None, host: str):
    assert RULES.origin_refusal(origin, host) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://localhost.evil:18789", "http://127.0.0.1:8080",
     "http://localhost", "http://localhost:187890", "https://ui.example.evil.example",
     "https://ui.example:8443", "http://evil@localhost:18789", "http://localhost:18789@evil",
     "file://localhost:18789", "http://[::1]evil:18789", "http://[::1", "javascript:alert(1)",
     "http://localhost:18789 x", "http://localhost.:18789", "http://evil.example/localhost:18789"],
)  # fmt: skip
def test_other_pages_are_refused(origin: str):
    text = RULES.origin_refusal(origin, "localhost:18789")
    assert text is not None
    assert text.startswith("origin not allowed (")
    assert len(text) < 256


def test_what_an_attacker_writes_into_an_origin_stays_one_line():
    text = RULES.origin_refusal("http://x\r\n\x1b[31m" + "y" * 64_000, "localhost")
    assert text is not None
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize(
    ("address", "host", "forwarded", "local"),
    [
        ("127.0.0.1", "localhost:1", False, True),
        ("127.8.8.8", "127.0.0.1", False, True),
        ("::1", "[::1]:1", False, True),
        ("::ffff:127.0.0.1", "localhost", False, True),
        ("127.0.0.1", "localhost", True, False),
        ("127.0.0.1", "evil.example", False, False),
        ("127.0.0.1", "evil.ts.net", False, False),
        ("127.0.0.1", "localhost.", False, False),
        ("127.0.0.1", "[::ffff:127.0.0.1]", False, False),
        ("127.0.0.1", None, False, False),
        ("192.0.2.1", "localhost", False, False),
        ("::ffff:192.0.2.1", "localhost", False, False),
        ("unknown", "localhost", False, False),
    ],
)
def test_local_is_a_loopback_peer_with_a_local_name_and_no_proxy(
    address: str, host: str | None, forwarded: bool, local: bool
):
    assert is_local_direct(address, host, is_forwarded=forwarded) is local


def test_addresses_and_names_are_told_apart():
    assert is_loopback("::ffff:127.1.2.3")
    assert not is_loopback("localhost")
    assert host_name("[::1]:80") == "::1"
    assert host_name("Box:80") == "box"
