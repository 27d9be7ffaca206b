"""Exit codes of `gatewayctl`, in one table. Pure."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code tells a script."""

    OK = 0
    FAILED = 1
    """The gateway refused, failed, or could not be asked; the reason is on stderr."""
    USAGE = 2
    """The command line makes no sense."""
    NOT_RUNNING = 3
    """`status`: nothing answers (as the LSB has it for `status`)."""
    DEGRADED = 4
    """`status`: it runs, but something is wrong."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT, as shells count."""
