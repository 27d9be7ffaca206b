"""The listening sockets: created once by the supervisor, kept while fronts come and go.

A connect made while no front lives waits in the backlog and is served by the next front.
Standard library only: a refusal must be quick.
"""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gatewayd.exit_codes import RefusalError
from gatewayd.supervisor.port_owner import describe_owner

BACKLOG_COUNT = 4096
"""Connects that wait while the front restarts; the kernel caps it at net.core.somaxconn."""
ADDRESSES = {"loopback": ("127.0.0.1", "::1"), "lan": ("0.0.0.0", "::")}  # noqa: S104


@dataclass(frozen=True)
class Listening:
    """Bound sockets, and what to tell people about addresses that could not be bound."""

    sockets: tuple[socket.socket, ...]
    warnings: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """The port of the first socket."""
        return int(self.sockets[0].getsockname()[1])

    @property
    def addresses(self) -> list[str]:
        """`127.0.0.1:18789`, `[::1]:18789`."""
        return [_shown(one.getsockname()[0], one.getsockname()[1]) for one in self.sockets]


def listen(port: int, bind: str) -> Listening:
    """Listens on `port` at the addresses of `bind` (`loopback` or `lan`).

    Raises RefusalError naming the owner when the IPv4 port is taken; IPv6 is best effort.
    """
    first, second = ADDRESSES[bind]
    try:
        sockets = [_listen(socket.AF_INET, first, port)]
    except OSError as error:
        raise RefusalError(_refused(first, port, error)) from error
    try:
        sockets.append(_listen(socket.AF_INET6, second, port))
    except OSError as error:
        return Listening(tuple(sockets), (_refused(second, port, error),))
    return Listening(tuple(sockets))


def adopt(descriptors: Sequence[int]) -> Listening:
    """The TCP sockets a service manager opened for us (socket activation)."""
    sockets = []
    for descriptor in descriptors:
        try:
            one = socket.socket(fileno=descriptor)
        except OSError as error:
            message = f"descriptor {descriptor} is no socket ({error.strerror})"
            raise RefusalError(f"{message}: check LISTEN_FDS and the socket unit") from error
        if one.family not in (socket.AF_INET, socket.AF_INET6):
            one.close()
            raise RefusalError(f"descriptor {descriptor} is no TCP socket: check the socket unit")
        one.set_inheritable(False)
        one.setblocking(False)
        sockets.append(one)
    return Listening(tuple(sockets))


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(BACKLOG_COUNT)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def _refused(address: str, port: int, error: OSError) -> str:
    where = _shown(address, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken: {where} belongs to {describe_owner(port)}. "
            "Stop that, or choose another port with --port or gateway.port"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot listen on {where} ({reason}): choose another port or address"


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
