"""gatewayctl health: the health summary of the gateway and its channels."""

import click

from gatewayd.ctl.output import duration, print_json, print_table, printable
from gatewayd.ctl.target import Target, pass_target, target_options


@click.command(
    epilog="""\b
Examples:
  gatewayctl health
  gatewayctl health --probe --json
"""
)
@click.option("--probe", is_flag=True, help="Ask the channels now instead of reading the cache.")
@target_options
@pass_target
def command(target: Target, *, probe: bool) -> None:
    """Show the health of the gateway and of its channels."""
    summary = target.call("health", {"probe": True} if probe else None)
    if target.json:
        print_json(summary)
        return
    problems = summary.get("problems", [])
    took = duration(summary.get("durationMs"))
    click.echo(f"Health: {'ok' if not problems else 'degraded'} (gathered in {took})")
    for problem in problems:
        text = problem.get("text") if isinstance(problem, dict) else problem
        click.echo(f"  ! {printable(text)}")
    labels = summary.get("channelLabels", {})
    channels = summary.get("channels", {})
    if channels:
        rows = [(labels.get(name, name), *_state(channel)) for name, channel in channels.items()]
        print_table(("CHANNEL", "CONFIGURED", "STATE"), rows)
    else:
        click.echo("Channels: none configured")


def _state(channel: dict[str, object]) -> tuple[str, str]:
    configured = "yes" if channel.get("configured") else "no"
    if channel.get("lastError"):
        return configured, str(channel["lastError"])
    words = [name for name in ("linked", "running", "connected") if channel.get(name)]
    return configured, ", ".join(words) or "-"
