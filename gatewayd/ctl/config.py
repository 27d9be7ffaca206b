"""gatewayctl config: the settings of a profile, read, changed and checked."""

import difflib
import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pyjson5

from conf.channels import channel_settings
from conf.config_file import BusyError, ChangeError, Snapshot, change, effective, snapshot
from conf.editing import ABSENT, edit, merge_patch
from conf.redaction import redact
from conf.settings import examine
from gatewayd.client import ClosedError, GatewayError, UnreachableError
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.output import print_json, printable
from gatewayd.ctl.target import Target, pass_target, target_options

AWAY = (UnreachableError, ClosedError)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]|\[\"([^\"]+)\"\]")
_KEY = re.compile(r"(?:[^.\[\]]+|\[\d+\]|\[\"[^\"]+\"\])(?:\.[^.\[\]]+|\[\d+\]|\[\"[^\"]+\"\])*")
Steps = list[str | int]


@click.group()
def command() -> None:
    """Read, change and check the settings."""


@command.command(epilog="Example: $EDITOR $(gatewayctl config path)")
@target_options
@pass_target
def path(target: Target) -> None:
    """Print where the config file stands."""
    if target.json:
        print_json({"path": str(target.paths.config), "exists": target.paths.config.exists()})
    else:
        click.echo(target.paths.config)


@command.command(epilog="Example: gatewayctl config validate && gatewayd")
@target_options
@pass_target
def validate(target: Target) -> int:
    """Check the config file with the loader the gateway starts with.

    Exit code 1 when the gateway would refuse it.
    """
    found = _snapshot(target)
    issues = found["issues"]
    if target.json:
        members = ("path", "exists", "valid", "issues", "warnings")
        print_json({name: found[name] for name in members})
        return ExitCode.OK if found["valid"] else ExitCode.FAILED
    for issue in issues:
        _complain(_told(found["path"], issue))
    for warning in found["warnings"]:
        _complain(f"warning: {_told(found['path'], warning)}")
    if not found["valid"]:
        return ExitCode.FAILED
    missing = "" if found["exists"] else " (there is no file: defaults hold)"
    click.echo(f"{printable(found['path'])}: valid{missing}")
    return ExitCode.OK


@command.command(
    epilog="""\b
Examples:
  gatewayctl config get
  gatewayctl config get agents.defaults.model.primary
"""
)
@click.argument("key", required=False)
@target_options
@pass_target
def get(target: Target, key: str | None) -> int:
    """Print the settings that hold, defaults included, or the one at KEY; secrets are hidden.

    Asks the gateway; reads the profile's file when the gateway does not answer.
    """
    try:
        found = target.call("config.get")
        path = Path(found["path"])
        settings = _completed(path, found["config"])
    except AWAY:
        if target.is_foreign:
            raise
        local = snapshot(target.paths.config)
        path, settings = local.path, redact(effective(local.examined))
        if not local.is_valid:
            _complain(f"{path} is not valid: run `gatewayctl config validate`")
    value = _at(settings, _steps(key)) if key else settings
    if value is ABSENT:
        _complain(f"{path}: {_unknown(settings, _steps(key or ''))}")
        return ExitCode.FAILED
    if isinstance(value, str) and not target.json:
        click.echo(printable(value))
    else:
        print_json(value)
    return ExitCode.OK


@command.command(
    "set",
    epilog="""\b
Examples:
  gatewayctl config set agents.defaults.timeoutSeconds 120
  gatewayctl config set gateway.allowedHosts '["gateway.example.org"]'
  gatewayctl config set agents.defaults.systemPrompt null
""",
)
@click.argument("key")
@click.argument("value")
@target_options
@pass_target
def set_value(target: Target, key: str, value: str) -> int:
    """Set KEY to VALUE (JSON5, else text; null removes the key); comments in the file stay.

    A running gateway is asked to do it and replaces its workers; else the file is changed.
    """
    steps, wanted = _steps(key), _value(value)
    try:
        result = _set_remotely(target, steps, wanted)
    except AWAY:
        if target.is_foreign:
            raise
        return _set_locally(target, steps, wanted)
    except GatewayError as error:
        return _refused(str(target.paths.config), error.message, _issues(error.details))
    if target.json:
        print_json(result)
        return ExitCode.OK
    click.echo(f"{printable(result['path'])}: {printable(key)} is set")
    click.echo(f"Takes effect: {printable(result['restart'].get('effect', 'after a restart'))}")
    return ExitCode.OK


def _set_remotely(target: Target, steps: Steps, wanted: Any) -> Any:
    with target.connect() as client:
        found = client.call("config.get", timeout_s=target.timeout)
        patch = _patch(found["parsed"], steps, wanted)
        params = {"raw": msgspec.json.encode(patch).decode(), "baseHash": found["hash"]}
        return client.call("config.patch", params, timeout_s=target.timeout)


def _set_locally(target: Target, steps: Steps, wanted: Any) -> int:
    def text_of(before: Snapshot) -> str:
        if before.examined.problems:
            raise ChangeError("invalid config; fix before patching", before.examined.problems)
        written = before.examined.written
        merged = merge_patch(written, _patch(written, steps, wanted))
        return edit(before.text or "", merged)[0]

    path = target.paths.config
    try:
        change(path, snapshot(path).hash, text_of)
    except ChangeError as error:
        issues = [{"path": one.key, "message": one.message} for one in error.problems]
        return _refused(str(path), error.message, issues)
    except (BusyError, OSError) as error:
        return _refused(str(path), f"cannot be changed: {error}", [])
    if target.json:
        print_json({"ok": True, "path": str(path)})
        return ExitCode.OK
    click.echo(f"{path}: {'.'.join(map(str, steps))} is set")
    click.echo("Takes effect: when the gateway starts (it does not answer now)")
    return ExitCode.OK


def _snapshot(target: Target) -> dict[str, Any]:
    """The file of the profile; that of another gateway as it describes it."""
    if target.is_foreign:
        found: dict[str, Any] = target.call("config.get")
        return found
    local = snapshot(target.paths.config)
    rows = [
        [{"path": one.key, "message": one.message} for one in problems]
        for problems in (local.problems, local.warnings)
    ]
    head = {"path": str(local.path), "exists": local.exists, "valid": local.is_valid}
    return {**head, "issues": rows[0], "warnings": rows[1]}


def _completed(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What the gateway says it has, with the defaults of what it leaves open."""
    return effective(examine(path, msgspec.json.encode(config).decode(), {}))


def _steps(key: str) -> Steps:
    """`agents.list[0].name` as its parts."""
    if not _KEY.fullmatch(key):
        text = f"{key!r} is no key; write it like agents.list[0].name"
        raise click.BadParameter(text, param_hint="KEY")
    return [int(index) if index else name or quoted for name, index, quoted in _STEP.findall(key)]


def _value(text: str) -> Any:
    """VALUE as JSON5, else as the text it is."""
    try:
        return pyjson5.loads(text)
    except (pyjson5.Json5Exception, RecursionError):
        return text


def _at(value: Any, steps: Steps) -> Any:
    for step in steps:
        is_there = (
            step in value
            if isinstance(value, dict)
            else isinstance(value, list | tuple) and isinstance(step, int) and step < len(value)
        )
        if not is_there:
            return ABSENT
        value = value[step]
    return value


def _patch(written: Any, steps: Steps, wanted: Any) -> dict[str, Any]:
    """A merge patch that sets one value; a list on the way is given whole."""
    first, *rest = steps
    if not isinstance(first, str):
        raise click.BadParameter("begins with a name, not an index", param_hint="KEY")
    return {first: _patched(_at(written, [first]), rest, wanted)}


def _patched(current: Any, steps: Steps, wanted: Any) -> Any:
    if not steps:
        return wanted
    step, *rest = steps
    if isinstance(step, str):
        return {step: _patched(_at(current, [step]), rest, wanted)}
    items = list(current) if isinstance(current, list) else []
    if step > len(items):
        text = f"[{step}]: the list has {len(items)} items; the next is [{len(items)}]"
        raise click.BadParameter(text, param_hint="KEY")
    old = items[step] if step < len(items) else None
    new = [] if wanted is None and not rest else [merge_patch(old, _patched(old, rest, wanted))]
    return [*items[:step], *new, *items[step + 1 :]]


def _unknown(settings: Any, steps: Steps) -> str:
    """What is wrong with a key that is not there, and the nearest that is."""
    depth = 0
    while _at(settings, steps[: depth + 1]) is not ABSENT:
        depth += 1
    where = ".".join(map(str, steps[:depth]))
    siblings = _at(settings, steps[:depth])
    name = ".".join(map(str, steps[: depth + 1]))
    if not isinstance(siblings, dict):
        return f"{name}: unknown key; nothing stands below {where or 'the root'}"
    valid = sorted({*siblings, *(channel_settings() if where == "channels" else ())})
    near = difflib.get_close_matches(str(steps[depth]), valid, n=1, cutoff=0.5)
    if near:
        return f"{name}: unknown key; did you mean `{'.'.join(filter(None, (where, near[0])))}`?"
    return f"{name}: unknown key; valid here: {', '.join(valid) or 'nothing'}"


def _issues(details: Any) -> list[dict[str, str]]:
    issues = details.get("issues") if isinstance(details, dict) else None
    return issues if isinstance(issues, list) else []


def _refused(path: str, message: str, issues: list[dict[str, str]]) -> int:
    _complain(f"{path}: {message}")
    for issue in issues:
        _complain(_told(path, issue))
    return ExitCode.FAILED


def _told(path: str, issue: dict[str, str]) -> str:
    key = f"{issue['path']}: " if issue["path"] else ""
    return f"{path}: {key}{issue['message']}"


def _complain(text: str) -> None:
    click.echo(f"gatewayctl: {printable(text)}", err=True)
