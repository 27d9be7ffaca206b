"""Where a profile keeps its files: the one resolver for daemon, workers and command lines."""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROFILE_GRAMMAR = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
DEFAULT_PROFILE = "main"
CONFIG_NAME = "gatewayd.json"
# sun_path holds 108 bytes; ZeroMQ adds nothing, supervisord adds ".<pid>" while it binds.
LONGEST_SOCKET_PATH_BYTES = 88


class BadProfileError(ValueError):
    """The profile name does not fit the grammar."""


@dataclass(frozen=True)
class Paths:
    """Every path of one profile; all follow from the state directory and the config path."""

    profile: str
    state_dir: Path
    config: Path
    run_dir: Path

    @property
    def lock(self) -> Path:
        """The file whose kernel lock (flock) makes a running gateway the only one."""
        return self.state_dir / "gateway.lock"

    @property
    def log_dir(self) -> Path:
        """Where log files stand."""
        return self.state_dir / "logs"

    @property
    def log(self) -> Path:
        """Structured log of all processes, one JSON object a line."""
        return self.log_dir / "gatewayd.log"

    @property
    def bus_endpoint(self) -> str:
        """Where the front's end of the bus is bound."""
        return f"ipc://{self.run_dir / 'bus'}"

    @property
    def bus_key(self) -> Path:
        """32 random bytes from which each worker's bus token is derived."""
        return self.run_dir / "bus.key"

    @property
    def web_socket(self) -> Path:
        """Where the web worker takes HTTP."""
        return self.run_dir / "web.sock"

    @property
    def model_socket(self) -> Path:
        """Where the shared local model process answers."""
        return self.run_dir / "model.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Where `supervisorctl` reaches the supervisor."""
        return self.run_dir / "supervisor.sock"

    @property
    def last_good_config(self) -> Path:
        """Copy of the config the gateway last started with."""
        return self.state_dir / "config.last-good.json"

    @property
    def restart_sentinel(self) -> Path:
        """What a change of the config leaves for the processes that start with it."""
        return self.state_dir / "restart-sentinel.json"

    @property
    def workspace(self) -> Path:
        """Where agents keep their files."""
        return self.state_dir / "workspace"

    def database(self, owner: str) -> Path:
        """The SQLite file of one owner process, for example `agent`."""
        return self.state_dir / f"{owner}.db"


def resolve(profile: str | None = None, environ: Mapping[str, str] | None = None) -> Paths:
    """Paths of `profile`, else of GATEWAYD_PROFILE, else of the default profile.

    GATEWAYD_STATE_DIR and GATEWAYD_CONFIG_PATH override what the profile implies.
    Raises BadProfileError for a name outside the grammar.
    """
    env = os.environ if environ is None else environ
    name = (profile or env.get("GATEWAYD_PROFILE") or DEFAULT_PROFILE).lower()
    if not PROFILE_GRAMMAR.fullmatch(name):
        raise BadProfileError(
            f"profile {name!r}: use 1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit"
        )
    home = Path(env.get("HOME") or Path.home())
    default = home / (".gatewayd" if name == DEFAULT_PROFILE else f".gatewayd-{name}")
    state_dir = _absolute(env.get("GATEWAYD_STATE_DIR"), home) or default
    config = _absolute(env.get("GATEWAYD_CONFIG_PATH"), home) or state_dir / CONFIG_NAME
    return Paths(name, state_dir, config, _run_dir(state_dir, env))


def _absolute(value: str | None, home: Path) -> Path | None:
    if not value:
        return None
    if value == "~" or value.startswith("~/"):
        return home / value[2:]
    return Path(value).absolute()


def _run_dir(state_dir: Path, env: Mapping[str, str]) -> Path:
    """`<state>/run`, or a short private directory when socket paths would not fit there."""
    inside = state_dir / "run"
    if len(os.fsencode(inside / "supervisor.sock")) <= LONGEST_SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    base = env.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"gatewayd-{os.getuid()}-{digest}"
