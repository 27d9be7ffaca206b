"""Where a request says it comes from: Host and Origin headers, proxies, this machine. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

_HOST = re.compile(r"(?:\[([0-9a-f:.%]+)\]|([^\s:\[\]@/]+))(?::[0-9]{1,5})?")
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
FORWARDED = (b"x-forwarded-for", b"x-real-ip", b"x-forwarded-host", b"forwarded")


@dataclass(frozen=True)
class HostRules:
    """Names under which we may be addressed and origins whose pages may connect."""

    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()

    def host_refusal(self, host: str | None) -> str | None:
        """Why this Host header is not ours (DNS rebinding), or None."""
        name = host_name(host or "")
        if name in LOOPBACK_NAMES or name in self.allowed_hosts or name.endswith(".ts.net"):
            return None
        if _is_address(name):
            return None
        return (
            f"host {name[:100]!r} is not one of ours: use localhost or an IP address, "
            "or add it to gateway.allowedHosts"
        )

    def origin_refusal(self, origin: str | None, host: str | None) -> str | None:
        """Why a page of this origin may not connect, or None. No Origin: not a browser."""
        if origin is None:
            return None
        lowered = origin.lower()
        if lowered in self.allowed_origins:
            return None
        try:
            parts = urlsplit(lowered)
            same = parts.scheme in ("http", "https") and _same_place(parts.netloc, host or "")
        except ValueError:
            same = False
        if same:
            return None
        return (
            f"origin not allowed ({origin[:100]!r}): open the page from this gateway, "
            "or add the origin to gateway.controlUi.allowedOrigins"
        )


def host_name(host: str) -> str:
    """Host header without port and brackets, lower case; empty when it is malformed."""
    match = _HOST.fullmatch(host.strip().lower())
    return (match[1] or match[2]) if match else ""


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether a peer address is this machine's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def is_local_direct(address: str, host: str | None, *, is_forwarded: bool) -> bool:
    """Loopback peer, local name, no proxy in between."""
    return is_loopback(address) and host_name(host or "") in LOOPBACK_NAMES and not is_forwarded


def _same_place(netloc: str, host: str) -> bool:
    host = host.strip().lower()
    if netloc == host:
        return bool(netloc)
    name, other = host_name(netloc), host_name(host)
    both_loopback = name in LOOPBACK_NAMES and other in LOOPBACK_NAMES
    return both_loopback and _port(netloc) == _port(host)


def _port(netloc: str) -> str:
    tail = netloc.rpartition("]")[2] if "]" in netloc else netloc
    return tail.rpartition(":")[2] if ":" in tail else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
