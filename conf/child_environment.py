"""The environment the supervisor gives its processes: the other side of `conf.environment`."""

import os
from collections.abc import Mapping, Sequence

from conf.paths import Paths


def describe_tree(
    paths: Paths, port: int, secrets: tuple[str | None, str | None], log_level: str | None
) -> dict[str, str]:
    """What every process of the tree is told; `secrets` are token and password given by flag."""
    told = {
        "GATEWAYD_PROFILE": paths.profile,
        "GATEWAYD_STATE_DIR": str(paths.state_dir),
        "GATEWAYD_CONFIG_PATH": str(paths.config),
        "GATEWAYD_PORT": str(port),
        "GATEWAYD_SUPERVISOR_PID": str(os.getpid()),
    }
    optional = ("GATEWAYD_TOKEN", "GATEWAYD_PASSWORD", "GATEWAYD_LOG_LEVEL")
    given = zip(optional, (*secrets, log_level), strict=True)
    return told | {name: value for name, value in given if value is not None}


def describe_sockets(names: Sequence[str]) -> dict[str, str]:
    """The LISTEN_FDS convention: sockets stand at descriptor 3 and up; for this process."""
    return {
        "LISTEN_FDS": str(len(names)),
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDNAMES": ":".join(names),
    }


def inherited(told: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without what was meant for us alone, and `told` on top."""
    ours = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET")
    return {name: value for name, value in os.environ.items() if name not in ours} | dict(told)


def replace_environment(environment: Mapping[str, str]) -> None:
    """Makes `environment` the one of this process."""
    os.environ.clear()
    os.environ.update(environment)


def is_under_service_manager() -> bool:
    """Whether systemd started us and keeps our output."""
    return "INVOCATION_ID" in os.environ or "JOURNAL_STREAM" in os.environ
