"""gatewayctl logs: what the gateway wrote to its log."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from conf.logs import readable
from gatewayd.client import Client, ClosedError, GatewayError, UnreachableError
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.target import Target, pass_target, target_options

POLL_S = 1.0
TAIL_BYTES = 250_000


@click.command(
    epilog="""\b
Examples:
  gatewayctl logs --limit 50
  gatewayctl logs --follow --json | grep '"level":"error"'
"""
)
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written.")
@click.option(
    "--limit", type=click.IntRange(1, 5000), default=200, show_default=True, help="Lines at most."
)
@target_options
@pass_target
def command(target: Target, limit: int, *, follow: bool) -> int:
    """Print the newest lines of the log, with --json as they stand in the file.

    Asks the gateway; reads the profile's file when the gateway does not answer.
    """
    try:
        for lines in _tails(target, limit, follow=follow):
            for line in lines:
                click.echo(line if target.json else _shown(line))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _tails(target: Target, limit: int, *, follow: bool) -> Iterator[list[str]]:
    """Lines as they come: one batch, or batch after batch across lost connections."""
    cursor: int | None = None
    client: Client | None = None
    while True:
        try:
            client = client or target.connect()
            tail = _ask(client, target, cursor, limit)
        except (UnreachableError, ClosedError, GatewayError) as error:
            if client is not None and not isinstance(error, GatewayError):
                client.close()
                client = None
            if target.is_foreign or _is_final(error):
                raise
            _note(f"{error}; reading {target.paths.log}" if cursor is None else str(error))
            tail = tail_of_file(target.paths.log, cursor, limit)
        cursor = tail["cursor"]
        yield tail["lines"]
        if not follow:
            break
        time.sleep(POLL_S)
    if client is not None:
        client.close()


def _is_final(error: Exception) -> bool:
    return isinstance(error, GatewayError) and error.code == "INVALID_REQUEST"


def _ask(client: Client, target: Target, cursor: int | None, limit: int) -> dict[str, Any]:
    params: dict[str, Any] = {"limit": limit}
    if cursor is not None:
        params["cursor"] = cursor
    tail: dict[str, Any] = client.call("logs.tail", params, timeout_s=target.timeout)
    if tail.get("reset") and cursor is not None:
        _note("the log was rotated or grew faster than it could be read; lines may be missing")
    return tail


def tail_of_file(path: Path, cursor: int | None, limit: int) -> dict[str, Any]:
    """The newest whole lines of a file, as logs.tail would answer."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            is_usable = cursor is not None and cursor <= size <= cursor + TAIL_BYTES
            start = cursor if is_usable and cursor is not None else max(size - TAIL_BYTES, 0)
            file.seek(start)
            data = file.read(size - start)
    except FileNotFoundError:
        return {"cursor": 0, "lines": []}
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    end = data.rfind(b"\n") + 1
    lines = data[:end].decode(errors="replace").splitlines()
    if start and not is_usable:
        lines = lines[1:]  # begun before the piece we read
    return {"cursor": start + end, "lines": lines[-limit:]}


def _shown(line: str) -> str:
    """The line as a person reads it."""
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        entry = None
    if isinstance(entry, dict):
        return readable(entry)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _note(text: str) -> None:
    click.echo(f"gatewayctl: {text}", err=True)
