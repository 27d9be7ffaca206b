"""gatewayctl: asks a running gateway. One file per noun, loaded when its noun is used."""

import importlib

import click

from conf.environment import BadEnvironmentError
from conf.paths import BadProfileError
from conf.settings import ConfigError
from gatewayd.client import ClientError
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.target import target_options
from gatewayd.version import version

NOUNS = (
    "agent", "call", "config", "dashboard", "devices", "health", "logs", "pairing", "protocol",
    "sessions", "status",
)  # fmt: skip


class Nouns(click.Group):
    """Imports a command's file when it is used, so that each starts as fast as it can."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The nouns, in the order of the help."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one noun, None for an unknown one."""
        if cmd_name not in NOUNS:
            return None
        command: click.Command = importlib.import_module(f"gatewayd.ctl.{cmd_name}").command
        return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        click.echo(f"gatewayctl {version()}")
        ctx.exit()


@click.group(
    cls=Nouns,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  gatewayctl status
  gatewayctl agent --message "What is the capital of France?"
  gatewayctl --profile work logs --follow
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@target_options
def cli() -> None:
    """Ask a running gateway."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    try:
        code = cli.main(arguments, prog_name="gatewayctl", standalone_mode=False)
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ClientError, ConfigError, BadProfileError, BadEnvironmentError, OSError) as error:
        click.echo(f"gatewayctl: {error}", err=True)
        return ExitCode.FAILED
    return code if isinstance(code, int) else 0
