"""Which gateway a command asks, and with which secret."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from conf.environment import port_override, secrets_override
from conf.paths import Paths, resolve
from conf.profile import default_port, glance
from conf.settings import Loaded, load_or_last_good
from gatewayd.client import Client, ClientError, GatewayError, Identity, connect
from gatewayd.version import version

DEFAULT_TIMEOUT_S = 10.0
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Target:
    """The options every command takes, and what follows from them."""

    profile: str | None = None
    url: str | None = None
    token: str | None = None
    password: str | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    """Seconds."""
    json: bool = False

    @functools.cached_property
    def paths(self) -> Paths:
        """Where the profile keeps its files."""
        return resolve(self.profile)

    @functools.cached_property
    def loaded(self) -> Loaded:
        """The profile's configuration; the last good one when the file is broken."""
        loaded, error = load_or_last_good(self.paths)
        if error is not None:
            click.echo(f"gatewayctl: using the last good config, because {error}", err=True)
        return loaded

    @property
    def is_foreign(self) -> bool:
        """Whether the address was given by hand: then only secrets given by hand are sent."""
        return self.url is not None

    @property
    def port(self) -> int:
        """The port the daemon of the profile chooses."""
        configured = glance(self.paths.config).port
        return port_override() or configured or default_port(self.paths.profile)

    @property
    def address(self) -> str:
        """The WebSocket URL that is asked."""
        return self.url or f"ws://127.0.0.1:{self.port}"

    def secrets(self) -> tuple[str | None, str | None]:
        """Token and password: given by hand, else by the environment, else by the config."""
        if self.is_foreign:
            return self.token, self.password
        token, password = secrets_override()
        auth = self.loaded.settings.gateway.auth
        return self.token or token or auth.token, self.password or password or auth.password

    def connect(self) -> Client:
        """A connection with an operator's rights."""
        token, password = self.secrets()
        try:
            return connect(
                self.address,
                token=token,
                password=password,
                identity=Identity(version=version()),
                timeout_s=self.timeout,
            )
        except GatewayError as error:
            if error.code == "NOT_PAIRED" and not token and not password:
                raise ClientError(
                    f"no secret is known for {self.address}: give --token or --password"
                ) from error
            raise

    def call(self, method: str, params: Any = None) -> Any:
        """The result of one call over a connection of its own."""
        with self.connect() as client:
            return client.call(method, params, timeout_s=self.timeout)


def target_options(function: F) -> F:
    """Adds the options that say whom to ask; commands take them as well as the group."""
    for option in reversed((*_OPTIONS, _TIMEOUT)):
        function = option(function)
    return function


def target_options_but_timeout(function: F) -> F:
    """The same for commands whose `--timeout` means something of their own."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


pass_target = click.make_pass_decorator(Target, ensure=True)


def _remember(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Keeps an option that was given; the later one on the line wins."""
    target = ctx.ensure_object(Target)
    if value is not None and option.name is not None:
        setattr(target, option.name, value)


def _option(*names: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_remember, **attributes)


_OPTIONS = (
    _option("--profile", metavar="NAME", help="Whose gateway; default: GATEWAYD_PROFILE or main."),
    _option("--url", metavar="URL", help="Ask ws://HOST:PORT; configured secrets are not sent."),
    _option("--token", metavar="TEXT", help="Shared token instead of the configured one."),
    _option("--password", metavar="TEXT", help="Password instead of the configured one."),
    _option("--json", is_flag=True, default=None, help="Print JSON on stdout, nothing else."),
)
_TIMEOUT = _option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"How long to wait for an answer; default: {DEFAULT_TIMEOUT_S:g}.",
)
