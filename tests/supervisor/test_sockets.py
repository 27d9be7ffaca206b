"""The listening sockets, and who owns a port that is taken."""

import os
import socket
import subprocess
import sys

import pytest

from gatewayd.exit_codes import ExitCode, RefusalError
from gatewayd.supervisor.port_owner import command_line, describe_owner
from gatewayd.supervisor.sockets import adopt, listen
from tests.supervisor.gateway import free_port

HOLDER = """
import socket, sys
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("holding", flush=True)
input()
"""


def close_all(sockets: tuple[socket.socket, ...]) -> None:
    for one in sockets:
        one.close()


@pytest.mark.parametrize(("bind", "first"), [("loopback", "127.0.0.1"), ("lan", "0.0.0.0")])
def test_both_address_families_listen_on_the_same_port(bind: str, first: str) -> None:
    port = free_port()
    listening = listen(port, bind)
    try:
        assert listening.addresses[0] == f"{first}:{port}"
        assert (listening.port, listening.warnings) == (port, ())
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), 1).close()
        assert not any(one.get_inheritable() or one.getblocking() for one in listening.sockets)
    finally:
        close_all(listening.sockets)


def test_a_taken_port_is_refused_with_its_owner() -> None:
    port = free_port()
    command = [sys.executable, "-c", HOLDER, str(port), "--token", "very-secret"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(RefusalError, match=f"port {port} is taken.*pid {holder.pid} ") as error:
            listen(port, "loopback")
        holder.terminate()
    assert error.value.code == ExitCode.REFUSED
    assert "--port" in str(error.value)


def test_a_taken_ipv6_port_is_only_a_warning() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::1", 0))
        other.listen()
        port = other.getsockname()[1]
        listening = listen(port, "loopback")
        addresses = listening.addresses
        close_all(listening.sockets)
    assert addresses == [f"127.0.0.1:{port}"]
    assert f"pid {os.getpid()} " in listening.warnings[0]


def test_an_owner_in_no_process_we_see_is_said_so() -> None:
    assert "outside our view" in describe_owner(free_port())


@pytest.mark.parametrize("flags", [["--token", "s3cret"], ["--password=s3cret"]])
def test_secrets_in_a_command_line_are_masked(flags: list[str]) -> None:
    command = [sys.executable, "-c", "print(1, flush=True); input()", *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        shown = command_line(process.pid)
        process.terminate()
    assert shown.endswith("***")
    assert "s3cret" not in shown


def test_sockets_of_a_service_manager_are_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        listening = adopt([os.dup(given.fileno())])
        assert listening.addresses == [f"127.0.0.1:{port}"]
        close_all(listening.sockets)


def test_a_descriptor_that_is_no_tcp_socket_is_refused() -> None:
    reader, writer = os.pipe()
    with pytest.raises(RefusalError, match="is no socket"):
        adopt([reader])
    os.close(reader)
    os.close(writer)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RefusalError, match="is no TCP socket"):
        adopt([os.dup(ours.fileno())])
