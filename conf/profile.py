"""First use of a profile: its directories, config and keys; and a first glance at its config.

No schema here: what stands in this file runs before the port is decided and must be quick.
"""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import pyjson5

from conf.paths import Paths
from conf.private import create_private, private_directory, write_private

DEFAULT_PORT = 18789
DEFAULT_PORTS = {"dev": 19001}
SECRET_BYTES = 32
HIGHEST_PORT = 65535
UNREADABLE = (OSError, ValueError, RecursionError, pyjson5.Json5Exception)
UNEXPECTED = (LookupError, TypeError, AttributeError)

FIRST_CONFIG = """\
// Settings of gatewayd, profile {profile}. JSON5: comments and trailing commas are welcome.
// ${{NAME}} in a text is read from the environment. An error here is told at the next start.
{{
  gateway: {{
{port}    // Who knows this token may do everything. Any other random text will do as well.
    auth: {{ token: "{token}" }},
  }},

  // A model service, for example one that speaks OpenAI's API, and the model that answers:
  // models: {{ providers: {{ mine: {{ baseUrl: "https://…/v1", apiKey: "${{MY_API_KEY}}" }} }} }},
  // agents: {{ defaults: {{ model: {{ primary: "mine/some-model" }} }} }},

  // A chat app:
  // channels: {{ telegram: {{ botToken: "${{TELEGRAM_BOT_TOKEN}}" }} }},
}}
"""


@dataclass(frozen=True)
class Glance:
    """Port and bind of a config file that was not checked yet; None where it does not say."""

    port: int | None = None
    bind: str | None = None


def prepare_directories(paths: Paths) -> None:
    """Creates the profile's directories 0700. Raises OSError for one we cannot make ours."""
    for directory in (paths.state_dir, paths.run_dir, paths.log_dir):
        private_directory(directory)


def glance(config: Path) -> Glance:
    """Port and bind as they stand in the file; nothing for a file that needs a full check."""
    try:
        value = pyjson5.loads(config.read_text(encoding="utf-8"))
        gateway = value["gateway"]
        port, bind = gateway.get("port"), gateway.get("bind")
    except (*UNREADABLE, *UNEXPECTED):
        return Glance()
    is_port = type(port) is int and 0 < port <= HIGHEST_PORT
    return Glance(port if is_port else None, bind if bind in ("loopback", "lan") else None)


def default_port(profile: str) -> int:
    """The port of a profile whose config names none."""
    return DEFAULT_PORTS.get(profile, DEFAULT_PORT)


def create_first_config(paths: Paths, port: int) -> bool:
    """Writes a config with a new random token unless there is one; tells whether it did."""
    if paths.config.exists():
        return False
    line = "" if port == DEFAULT_PORT else f"    port: {port},\n"
    text = FIRST_CONFIG.format(
        profile=paths.profile, port=line, token=secrets.token_urlsafe(SECRET_BYTES)
    )
    return create_private(paths.config, text.encode())


def create_bus_key(paths: Paths) -> None:
    """Creates the key of the bus unless there is one."""
    if not paths.bus_key.exists():
        create_private(paths.bus_key, secrets.token_bytes(SECRET_BYTES))


def keep_last_good(paths: Paths) -> None:
    """Copies the config the gateway starts with, for processes that start after a bad edit."""
    current = paths.config.read_bytes()
    try:
        if paths.last_good_config.read_bytes() == current:
            return
    except FileNotFoundError:
        pass
    write_private(paths.last_good_config, current)


def is_port(text: str) -> bool:
    """Whether `text` is a whole number from 1 to 65535 and nothing else."""
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) <= HIGHEST_PORT
