"""gatewayctl devices: which phones, desktops and command lines may connect."""

import time
from typing import Any

import click

from gatewayd.ctl.output import duration, print_json, print_table, printable
from gatewayd.ctl.target import Target, pass_target, target_options

SHOWN_ID_CHARS = 12
"""Of a device id in tables; so much of one is enough to name it."""


@click.group()
def command() -> None:
    """Decide which devices may connect, and end their tokens."""


@command.command(
    "list",
    epilog="""\b
Examples:
  gatewayctl devices list
  gatewayctl devices list --json
""",
)
@target_options
@pass_target
def list_devices(target: Target) -> None:
    """List devices that wait for approval and devices that are paired."""
    result = target.call("device.pair.list", {})
    if target.json:
        print_json(result)
        return
    now_ms = time.time_ns() // 1_000_000
    if result["pending"]:
        click.echo("Waiting for approval:")
        rows = [_request_row(one, now_ms) for one in result["pending"]]
        print_table(("REQUEST", "DEVICE", "NAME", "ROLE", "SCOPES", "FROM", "ASKED"), rows)
    if result["paired"]:
        click.echo("Paired:")
        rows = [_device_row(device, now_ms) for device in result["paired"]]
        print_table(("DEVICE", "NAME", "PLATFORM", "ROLES", "SCOPES", "TOKENS", "USED"), rows)
    if not result["pending"] and not result["paired"]:
        click.echo("No device waits and none is paired.")


@command.command(epilog="Example: gatewayctl devices approve 5b2e7a10-0000-4000-8000-000000000001")
@click.argument("request", required=False)
@target_options
@pass_target
def approve(target: Target, request: str | None) -> None:
    """Let the device behind REQUEST in; without REQUEST, the one device that waits."""
    result = target.call("device.pair.approve", {"requestId": _the_request(target, request)})
    if target.json:
        print_json(result)
        return
    device = result["device"]
    click.echo(f"Approved: {_name(device)}, device {printable(device['deviceId'])}")


@command.command(epilog="Example: gatewayctl devices reject 5b2e7a10-0000-4000-8000-000000000001")
@click.argument("request", required=False)
@target_options
@pass_target
def reject(target: Target, request: str | None) -> None:
    """Forget REQUEST; without REQUEST, the only one that waits."""
    result = target.call("device.pair.reject", {"requestId": _the_request(target, request)})
    if target.json:
        print_json(result)
        return
    click.echo(f"Rejected: device {printable(result['deviceId'])}")


@command.command(
    epilog="""\b
Examples:
  gatewayctl devices rotate 56475aa75463 --role operator
  gatewayctl devices rotate 56475aa75463 --role operator --scope operator.read
"""
)
@click.argument("device")
@click.option("--role", default="operator", show_default=True, help="Whose token of the device.")
@click.option("--scope", "scopes", multiple=True, help="Only these scopes; may be repeated.")
@target_options
@pass_target
def rotate(target: Target, device: str, role: str, scopes: tuple[str, ...]) -> None:
    """Give DEVICE (its id or how that begins) a new token; it fetches it when it reconnects."""
    params: dict[str, Any] = {"deviceId": _the_device(target, device), "role": role}
    if scopes:
        params["scopes"] = scopes
    result = target.call("device.token.rotate", params)
    if target.json:
        print_json(result)
        return
    click.echo(f"New token of {printable(result['deviceId'])} as {role}: {result['token']}")


@command.command(epilog="Example: gatewayctl devices revoke 56475aa75463 --role operator")
@click.argument("device")
@click.option("--role", default="operator", show_default=True, help="Whose token of the device.")
@target_options
@pass_target
def revoke(target: Target, device: str, role: str) -> None:
    """End the token of DEVICE (its id or how that begins) and close its connections."""
    params = {"deviceId": _the_device(target, device), "role": role}
    result = target.call("device.token.revoke", params)
    if target.json:
        print_json(result)
        return
    click.echo(f"Revoked: {printable(result['deviceId'])} as {role}")


def _the_request(target: Target, given: str | None) -> str:
    if given is not None:
        return given
    pending = target.call("device.pair.list", {})["pending"]
    if len(pending) != 1:
        raise click.UsageError(
            f"{len(pending)} devices wait: name the request, see gatewayctl devices list"
        )
    return str(pending[0]["requestId"])


def _the_device(target: Target, given: str) -> str:
    """The id that begins with `given`; what fits none or several is asked for as it is."""
    paired = target.call("device.pair.list", {})["paired"]
    fitting = [row["deviceId"] for row in paired if row["deviceId"].startswith(given.lower())]
    if len(fitting) > 1:
        raise click.UsageError(f"{len(fitting)} devices begin with {given}: give more of the id")
    return str(fitting[0]) if fitting else given


def _request_row(row: dict[str, Any], now_ms: int) -> tuple[str, ...]:
    return (
        row["requestId"], row["deviceId"][:SHOWN_ID_CHARS], _name(row), row["role"],
        _scopes(row["scopes"]), row.get("remoteIp", "here"), f"{duration(now_ms - row['ts'])} ago",
    )  # fmt: skip


def _device_row(row: dict[str, Any], now_ms: int) -> tuple[str, ...]:
    tokens = row.get("tokens", ())
    used = [token["lastUsedAtMs"] for token in tokens if "lastUsedAtMs" in token]
    shown = [
        f"{token['role']} revoked" if "revokedAtMs" in token else token["role"] for token in tokens
    ]
    return (
        row["deviceId"][:SHOWN_ID_CHARS], _name(row), row.get("platform", "-"),
        ", ".join(row["roles"]), _scopes(row["scopes"]), ", ".join(shown) or "-",
        f"{duration(now_ms - max(used))} ago" if used else "-",
    )  # fmt: skip


def _name(row: dict[str, Any]) -> str:
    return printable(row.get("displayName") or row.get("clientId") or row["deviceId"])


def _scopes(scopes: list[str]) -> str:
    return ", ".join(scope.removeprefix("operator.") for scope in scopes) or "-"
