"""gatewayctl status: is it running, does it answer, what is wrong."""

import importlib
from typing import Any

import click

from gatewayd.client import ClientError, GatewayError, UnreachableError
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.output import duration, print_json, print_table, printable
from gatewayd.ctl.target import Target, pass_target, target_options


@click.command(
    epilog="""\b
Exit codes: 0 healthy, 3 not running or not answering, 4 running but something is wrong.

\b
Examples:
  gatewayctl status
  gatewayctl status --json | jq '.processes[] | select(.state != "running")'
"""
)
@target_options
@pass_target
def command(target: Target) -> int:
    """Show whether the gateway runs, its processes, and what is wrong."""
    report = gather(target)
    if target.json:
        print_json(report)
    else:
        show(report)
    return exit_code(report)


def gather(target: Target) -> dict[str, Any]:
    """Everything known about the gateway: its own answer, else what its files tell."""
    rpc: dict[str, Any] = {"ok": True, "url": target.address}
    try:
        summary = target.call("status")
    except ClientError as error:
        rpc |= {"ok": False, "error": str(error)}
        state = "running" if isinstance(error, GatewayError) else "not running"
        report: dict[str, Any] = {"state": state, "rpc": rpc, "processes": [], "problems": []}
        if not target.is_foreign:
            _add_offline(report, target, error)
        return report
    return {"state": "running", "rpc": rpc, "processes": [], "problems": [], **summary}


def _add_offline(report: dict[str, Any], target: Target, error: ClientError) -> None:
    # Loaded here because XML-RPC costs a third of this command's start and is rarely needed.
    offline = importlib.import_module("gatewayd.ctl.offline").look(target.paths)
    report["gateway"] = {
        "profile": target.paths.profile,
        "stateDir": str(target.paths.state_dir),
        "configPath": str(target.paths.config),
    }
    report["processes"] = offline.processes
    if offline.is_locked and not isinstance(error, GatewayError):
        report["state"] = "running but not answering"
        report["owner"] = offline.owner
    if isinstance(error, UnreachableError) and not offline.is_locked:
        profile = target.paths.profile
        report["problems"] = [f"nothing runs; start it: gatewayd --profile {profile}"]
    if offline.last_error is not None and report["state"] != "running":
        report["lastError"] = offline.last_error


def exit_code(report: dict[str, Any]) -> int:
    """The exit code that tells a script what the report says."""
    if report["state"] != "running":
        return ExitCode.NOT_RUNNING
    is_healthy = report["rpc"]["ok"] and not report["problems"]
    return ExitCode.OK if is_healthy else ExitCode.DEGRADED


def show(report: dict[str, Any]) -> None:
    """Prints the report for people, the three lines that matter first."""
    gateway = report.get("gateway", {})
    rpc = report["rpc"]
    owner = f" ({printable(report['owner'])})" if report.get("owner") else ""
    click.echo(f"Status: {report['state']}{owner}")
    click.echo("RPC probe: ok" if rpc["ok"] else f"RPC probe: failed: {printable(rpc['error'])}")
    listening = ", ".join(map(printable, gateway.get("listening", []))) or "nothing"
    if rpc["ok"]:
        click.echo(f"Listening: {listening}")
    _show_facts(gateway)
    processes = report["processes"]
    if processes:
        click.echo("")
        rows = [_process_row(row) for row in processes]
        print_table(("PROCESS", "PID", "STATE", "RESTARTS", "UPTIME"), rows)
    if report["problems"]:
        click.echo("\nWhat is wrong:")
    for problem in report["problems"]:
        click.echo(f"  - {printable(problem)}")
    if "lastError" in report:
        click.echo(f"\nLast error: {printable(report['lastError'])}")


def _show_facts(gateway: dict[str, Any]) -> None:
    uptime = duration(gateway["uptimeMs"]) if "uptimeMs" in gateway else None
    facts = {
        "Version": gateway.get("version"),
        "Uptime": uptime,
        "Clients": gateway.get("clients"),
        "Profile": gateway.get("profile"),
        "Config": gateway.get("configPath"),
    }
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{name}: {printable(value)}")


def _process_row(row: dict[str, Any]) -> tuple[Any, ...]:
    uptime = duration(row.get("uptimeMs")) if row.get("pid") else "-"
    return row["name"], row.get("pid") or "-", row["state"], row.get("restarts", "-"), uptime
