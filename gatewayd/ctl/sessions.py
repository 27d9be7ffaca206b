"""gatewayctl sessions: the conversations the gateway keeps."""

import time

import click

from gatewayd.ctl.output import duration, print_json, print_table
from gatewayd.ctl.target import Target, pass_target, target_options


@click.group()
def command() -> None:
    """List conversations."""


@command.command(
    "list",
    epilog="""\b
Examples:
  gatewayctl sessions list
  gatewayctl sessions list --limit 5 --json
""",
)
@click.option("--limit", type=click.IntRange(1), help="Show at most this many.")
@target_options
@pass_target
def list_sessions(target: Target, limit: int | None) -> None:
    """List sessions, the latest first."""
    result = target.call("sessions.list", {"limit": limit} if limit else {})
    if target.json:
        print_json(result)
        return
    sessions = result.get("sessions", [])
    if not sessions:
        click.echo("No sessions yet. Start one: gatewayctl agent --message TEXT")
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (row.get("key", "?"), row.get("kind", "-"), _age(row, now_ms), row.get("model", "-"))
        for row in sessions
    ]
    print_table(("SESSION", "KIND", "LAST USED", "MODEL"), rows)


def _age(row: dict[str, object], now_ms: int) -> str:
    updated = row.get("updatedAt")
    return f"{duration(max(now_ms - updated, 0))} ago" if isinstance(updated, int) else "-"
