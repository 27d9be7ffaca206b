"""What the supervisor tells its processes through the environment."""

import logging
import os
import re

HIGHEST_PORT = 65535


class BadEnvironmentError(Exception):
    """A variable of ours says something we cannot follow."""


def restart_count() -> int:
    """How often this program was started before; 0 when nobody says."""
    text = os.environ.get("GATEWAYD_RESTARTS", "0")
    return int(text) if text.isdigit() else 0


def log_level(configured: str) -> str:
    """GATEWAYD_LOG_LEVEL (a flag of the daemon) over the level of the config file."""
    level = os.environ.get("GATEWAYD_LOG_LEVEL", "").lower()
    return level if level.upper() in logging.getLevelNamesMapping() else configured


def port_override() -> int | None:
    """GATEWAYD_PORT, None when unset or empty. Raises BadEnvironmentError when it is no port."""
    text = os.environ.get("GATEWAYD_PORT", "")
    if not text:
        return None
    if re.fullmatch("[0-9]{1,5}", text) is None or not 0 < int(text) <= HIGHEST_PORT:
        raise BadEnvironmentError(
            f"GATEWAYD_PORT is {text[:20]!r}, which is not a port (1 to {HIGHEST_PORT}): "
            "correct or unset it"
        )
    return int(text)


def secrets_override() -> tuple[str | None, str | None]:
    """Token and password given by flag or environment."""
    return os.environ.get("GATEWAYD_TOKEN") or None, os.environ.get("GATEWAYD_PASSWORD") or None


def listen_descriptors() -> list[int]:
    """Listening sockets we inherited (the LISTEN_FDS convention); empty when not for us."""
    if os.environ.get("LISTEN_PID") not in (None, "", str(os.getpid())):
        return []
    count = os.environ.get("LISTEN_FDS", "0")
    return list(range(3, 3 + int(count))) if count.isdigit() else []


def supervisor_pid() -> int | None:
    """The process that supervises us, when it is our own supervisor."""
    text = os.environ.get("GATEWAYD_SUPERVISOR_PID", "")
    return int(text) if text.isdigit() else None
