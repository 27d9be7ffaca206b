"""gatewayctl pairing: who may talk to the agent over a chat channel."""

import time

import click

from gatewayd.ctl.output import duration, print_json, print_table, printable
from gatewayd.ctl.target import Target, pass_target, target_options


@click.group()
def command() -> None:
    """Decide who may write to the agent over a chat channel."""


@command.command(
    "list",
    epilog="""\b
Examples:
  gatewayctl pairing list
  gatewayctl pairing list telegram --json
""",
)
@click.argument("channel", required=False)
@target_options
@pass_target
def list_requests(target: Target, channel: str | None) -> None:
    """List those who wait for approval, on CHANNEL or on all channels."""
    result = target.call("channels.pairing.list")
    requests = [row for row in result["requests"] if channel in (None, row["channel"])]
    if target.json:
        print_json({"requests": requests})
        return
    if not requests:
        click.echo("Nobody waits for approval.")
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (row["channel"], row["code"], _who(row), f"{duration(now_ms - row['createdAtMs'])} ago")
        for row in requests
    ]
    print_table(("CHANNEL", "CODE", "WHO", "ASKED"), rows)


def _who(row: dict[str, str]) -> str:
    name = row.get("senderName")
    return f"{name} ({row['senderId']})" if name else row["senderId"]


@command.command(epilog="Example: gatewayctl pairing approve telegram ABCD1234")
@click.argument("channel")
@click.argument("code")
@target_options
@pass_target
def approve(target: Target, channel: str, code: str) -> None:
    """Let whoever got CODE on CHANNEL talk to the agent."""
    _decide(target, "approve", channel, code)


@command.command(epilog="Example: gatewayctl pairing reject telegram ABCD1234")
@click.argument("channel")
@click.argument("code")
@target_options
@pass_target
def reject(target: Target, channel: str, code: str) -> None:
    """Forget the request with CODE on CHANNEL."""
    _decide(target, "reject", channel, code)


def _decide(target: Target, decision: str, channel: str, code: str) -> None:
    params = {"channel": channel, "code": code}
    result = target.call(f"channels.pairing.{decision}", params)
    if target.json:
        print_json(result)
        return
    done = "Approved" if decision == "approve" else "Rejected"
    click.echo(f"{done}: {printable(code)} on {printable(channel)}")
