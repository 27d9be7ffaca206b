"""Exit codes of `gatewayd`, in one table, and the refusal to start that carries one. Pure."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code tells whoever started us."""

    STOPPED = 0
    """Stopped because somebody asked."""
    FAILED = 1
    """An unexpected failure; starting again may help."""
    USAGE = 2
    """The command line makes no sense."""
    REFUSED = 78
    """Misconfigured, port taken, already running, state directory unusable (EX_CONFIG).

    Starting again does not help: a service unit lists it in RestartPreventExitStatus.
    """


class RefusalError(Exception):
    """We cannot start; the message says what, where and what to do next."""

    def __init__(self, message: str, code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.code = code
