"""The logger that the embedded supervisord writes to, in front of our own log."""

from conf.logs import Log


class Logger:
    """supervisor's logger interface; what it tells of processes we log as our own events."""

    handlers: tuple[()] = ()

    def __init__(self, log: Log) -> None:
        self._log = log

    def warn(self, message: str, **values: object) -> None:
        """Told again as an event of ours, so only for debugging."""
        self._log.debug("supervisord", message=message % values if values else message)

    def blather(self, message: str, **values: object) -> None:
        """What we say better ourselves, or nobody wants to know."""

    def error(self, message: str, **values: object) -> None:
        """What supervisor could not do."""
        self._log.error("supervisord", message=message % values if values else message)

    debug = info = trace = blather
    critical = error

    def close(self) -> None:
        """Nothing is held."""


class QuietLogger(Logger):
    """Lets nothing through that is not an error of ours."""

    critical = Logger.warn
