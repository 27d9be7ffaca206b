"""gatewayctl call: any method of the gateway."""

from typing import Any

import click
import msgspec

from gatewayd.ctl.output import print_json
from gatewayd.ctl.target import Target, pass_target, target_options


@click.command(
    epilog="""\b
Examples:
  gatewayctl call health
  gatewayctl call chat.history --params '{"sessionKey": "agent:main:main", "limit": 5}'
"""
)
@click.argument("method")
@click.option("--params", default="{}", metavar="JSON", help="The method's params.")
@click.option("--expect-final", is_flag=True, help="Wait for the last answer of a long call.")
@target_options
@pass_target
def command(target: Target, method: str, params: str, *, expect_final: bool) -> None:
    """Call METHOD and print its result as JSON."""
    value = _parse(params)
    on_accept = _ignore if expect_final else None
    with target.connect() as client:
        result = client.call(method, value, timeout_s=target.timeout, on_accept=on_accept)
    print_json(result)


def _parse(params: str) -> Any:
    try:
        return msgspec.json.decode(params.encode())
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--params") from error


def _ignore(_: Any) -> None:
    """The first answer of a two-stage call says nothing the last one does not."""
