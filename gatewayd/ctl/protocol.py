"""gatewayctl protocol: the protocol as this version speaks it, for programs that read schemas."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

import bus
from bus.schema import describe, whole
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.output import print_json
from gatewayd.front.methods import FrontMethods
from gatewayd.protocol.connect import ConnectParams
from gatewayd.protocol.frames import PROTOCOL_VERSION

GENERATOR = "workers.schema"
BUDGET_S = 60.0
FRONT_PREFIX = "front."
"""Before the names of the front's definitions: workers name theirs without knowing them."""


@click.group()
def command() -> None:
    """Describe the protocol."""


@command.command(epilog="Example: gatewayctl protocol schema > protocol.schema.json")
def schema() -> int:
    """Print JSON Schema 2020-12 of every method's params and result.

    It comes from the declarations of the installed version; no gateway is asked.
    """
    try:
        workers = worker_methods()
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        text = f"the workers' methods cannot be described: {_reason(error)}"
        click.echo(f"gatewayctl: {text}", err=True)
        return ExitCode.FAILED
    print_json(document(workers))
    return ExitCode.OK


def worker_methods() -> dict[str, Any]:
    """What the workers declare, asked of a process that may import them."""
    told = subprocess.run(
        [sys.executable, "-m", GENERATOR],
        cwd=Path(bus.__file__).parents[1],  # our own packages, not those of the current directory
        capture_output=True,
        timeout=BUDGET_S,
        check=True,
    )
    return msgspec.json.decode(told.stdout, type=dict[str, Any])


def document(workers: dict[str, Any]) -> dict[str, Any]:
    """The whole schema: `connect` and the front's methods beside those of the workers."""
    front = describe(FrontMethods.declared(), FRONT_PREFIX)
    (connect,), definitions = msgspec.json.schema_components(
        [ConnectParams], ref_template=f"#/$defs/{FRONT_PREFIX}{{name}}"
    )
    front["$defs"] |= {FRONT_PREFIX + name: one for name, one in definitions.items()}
    return whole((front, workers), {**_frames(), "connect": connect})


def _frames() -> dict[str, Any]:
    """The three envelopes of protocol version 3."""
    text = {"type": "string", "minLength": 1}
    count = {"type": "integer", "minimum": 0}
    error = _object(
        {"code": text, "message": text, "details": {}, "retryable": {"type": "boolean"},
         "retryAfterMs": count},
        "code", "message",
    )  # fmt: skip
    versions = _object({"presence": count, "health": count}, "presence", "health")
    return {
        "protocol": {"const": PROTOCOL_VERSION},
        "request": _object(
            {"type": {"const": "req"}, "id": text, "method": text, "params": {}},
            "type", "id", "method",
        ),
        "response": _object(
            {"type": {"const": "res"}, "id": text, "ok": {"type": "boolean"}, "payload": {},
             "error": error},
            "type", "id", "ok",
        ),
        "event": _object(
            {"type": {"const": "event"}, "event": text, "payload": {}, "seq": count,
             "stateVersion": versions},
            "type", "event",
        ),
    }  # fmt: skip


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    lines = said.decode(errors="replace").strip().splitlines() if said else []
    return lines[-1] if lines else str(error)
