"""The command line of `gatewayd`: parse, take the lock, take the port, hand over to the tree.

Until lock and port are decided only the standard library and small modules are loaded, so that
a start that cannot succeed says so at once; that is also why argparse parses, not click.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from conf.child_environment import is_under_service_manager
from conf.environment import BadEnvironmentError, listen_descriptors, port_override
from conf.paths import BadProfileError, Paths, resolve
from conf.profile import (
    create_first_config,
    default_port,
    glance,
    is_port,
    prepare_directories,
)
from gatewayd.exit_codes import ExitCode, RefusalError
from gatewayd.supervisor.lock import Lock
from gatewayd.supervisor.sockets import Listening, adopt, listen

PRIVATE_UMASK = 0o077


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the gateway of one profile until it is stopped; returns the exit code."""
    _open_standard_descriptors()
    options = _parse(arguments)
    if options.version:
        return _show_version()
    try:
        return _start(options)
    except RefusalError as refusal:
        print(f"gatewayd: {refusal}", file=sys.stderr)  # noqa: T201
        return refusal.code


def _open_standard_descriptors() -> None:
    """Started with stdin, stdout or stderr closed, our sockets must not take their places."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # Python's sign that the descriptor was closed
            os.open(os.devnull, os.O_RDWR)
            mode = "w" if descriptor else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def _show_version() -> int:
    # The reader of package metadata is large; a start that refuses does not need it.
    from gatewayd.version import version  # noqa: PLC0415

    print(f"gatewayd {version()}")  # noqa: T201
    return ExitCode.STOPPED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gatewayd",
        description="Runs the gateway between people's chat apps and their AI agents.",
        epilog="Exit codes: 0 stopped by request, 1 unexpected failure, 2 wrong command line, "
        "78 misconfigured, port taken or already running (starting again will not help).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--profile",
        type=_some,
        metavar="NAME",
        help="profile (default: GATEWAYD_PROFILE, else main)",
    )
    add("--dev", action="store_true", help="profile `dev`, port 19001")
    add("--port", type=_port, metavar="N", help="port, over GATEWAYD_PORT and gateway.port")
    add("--bind", choices=("loopback", "lan"), help="addresses to listen on, over gateway.bind")
    add("--token", type=_some, metavar="T", help="shared token, over gateway.auth.token")
    add("--password", type=_some, metavar="P", help="shared password, over gateway.auth.password")
    add("--verbose", action="store_true", help="show and log debug events")
    add("--version", action="store_true", help="show the version and exit")
    options = parser.parse_args(arguments)
    if options.dev and options.profile not in (None, "dev"):
        parser.error(f"--dev is profile `dev`, --profile says {options.profile}: give one of them")
    if options.dev:
        options.profile = "dev"
    return options


def _port(text: str) -> int:
    if not is_port(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return int(text)


def _some(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _start(options: argparse.Namespace) -> int:
    try:
        paths = resolve(options.profile)
    except BadProfileError as error:
        raise RefusalError(str(error), ExitCode.USAGE) from error
    os.umask(PRIVATE_UMASK)
    _prepare(paths)
    lock = Lock(paths.lock, paths.profile)
    listening = _listen(options, paths)
    lock.describe(listening.port)
    _first_use(options, paths, listening)
    # Everything heavy comes with this import, after all that can refuse quickly has passed.
    from gatewayd.supervisor.tree import Launch, run  # noqa: PLC0415

    launch = Launch(
        paths=paths,
        listening=listening,
        token=options.token,
        password=options.password,
        is_verbose=options.verbose,
        is_token_hidden=is_under_service_manager() and not sys.stdout.isatty(),
    )
    try:
        return run(launch)
    finally:
        lock.release()


def _prepare(paths: Paths) -> None:
    try:
        prepare_directories(paths)
    except OSError as error:
        where = f"state directory {paths.state_dir}"
        raise RefusalError(
            f"{where} cannot be used: {error}. "
            "Make it a directory of this user (mode 0700), or set GATEWAYD_STATE_DIR"
        ) from error


def _listen(options: argparse.Namespace, paths: Paths) -> Listening:
    inherited = listen_descriptors()
    if inherited:
        return adopt(inherited)
    found = glance(paths.config)
    try:
        port = options.port or port_override() or found.port or default_port(paths.profile)
    except BadEnvironmentError as error:
        raise RefusalError(str(error)) from error
    return listen(port, options.bind or found.bind or "loopback")


def _first_use(options: argparse.Namespace, paths: Paths, listening: Listening) -> None:
    port = options.port or default_port(paths.profile)
    try:
        is_new = create_first_config(paths, port)
    except OSError as error:
        raise RefusalError(
            f"config {paths.config} cannot be written ({error.strerror}): "
            "create its directory, or correct GATEWAYD_CONFIG_PATH"
        ) from error
    if is_new:
        text = f"First use of profile {paths.profile}: wrote {paths.config} with a new token."
        print(text, flush=True)  # noqa: T201
    for warning in listening.warnings:
        print(f"gatewayd: {warning}", file=sys.stderr)  # noqa: T201
