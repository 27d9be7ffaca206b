"""Log events: one JSON object a line on stdout, never blocking the process that logs.

A process writes to the pipe its supervisor reads; the supervisor keeps the file and shows
people a readable line. When the pipe is full the line is dropped and counted, because a
front that waits for its log reader would no longer answer.
"""

import logging
import os
import re
import sys
from datetime import UTC, datetime

import msgspec

LONGEST_FIELD_CHARS = 2_000
LARGEST_INTEGER = 2**63 - 1
SECRET_NAME = re.compile(r"(?i)(?:.*_)?(?:token|password|secret|api_?key|authorization)")
SECRETS = re.compile(
    r"(?i)((?:token|password|secret|api[_-]?key|authorization)[\"']?\s*[=:]\s*[\"']?"
    r"(?:(?:bearer|basic)\s+)?|://[^/\s:@]*:(?=[^/\s@]+@))"
    r"[^\s\"',;&#}]{6,}|(?<!\d)\d{6,}:[A-Za-z0-9_-]{30,}|\b(?:sk|xox[a-z]|ghp|gsk)[-_][A-Za-z0-9_-]{10,}"
)
_encoder = msgspec.json.Encoder()


class Log:
    """Logs events with fields: `log.info("worker down", worker="agent", calls_lost=3)`."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault."""
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What a person running it may want to know."""
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is not as it should be, and was coped with."""
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something failed."""
        self._emit(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._logger.error("%s", event, exc_info=True, extra={"fields": fields})

    def _emit(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"fields": fields})


class PipeHandler(logging.Handler):
    """Writes each record as one line to a descriptor without ever waiting for its reader."""

    def __init__(self, process: str, descriptor: int) -> None:
        super().__init__()
        self._process = process
        self._descriptor = descriptor
        self.dropped_count = 0
        self._is_cut = False  # the reader has the start of a line that has no end

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or counts it as dropped."""
        line = encode(record, self._process, self.dropped_count)
        if self._is_cut:
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
        except BlockingIOError:
            self.dropped_count += 1
            return
        except OSError:
            return  # the reader is gone; there is nobody to tell
        self._is_cut = written < len(line)
        self.dropped_count = int(self._is_cut)


def encode(record: logging.LogRecord, process: str, dropped_count: int = 0) -> bytes:
    """One JSON line: time (ISO, UTC), level, process, pid, event, then the event's fields."""
    entry: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "process": process,
        "pid": record.process,
        "event": _clean(record.getMessage()),
    }
    fields = getattr(record, "fields", {})
    entry.update({name: _field(name, value) for name, value in fields.items()})
    if record.exc_info and record.exc_info[0]:
        entry["error"] = _clean(f"{record.exc_info[0].__name__}: {record.exc_info[1]}")
        entry["traceback"] = _clean(logging.Formatter().formatException(record.exc_info))
    if record.name != process:
        entry["logger"] = record.name
    if dropped_count:
        entry["lines_dropped"] = dropped_count
    return _encoder.encode(entry) + b"\n"


def readable(entry: dict[str, object]) -> str:
    """The line a person reads: time, level, process, event, fields; control characters escaped."""
    skip = {"time", "level", "process", "pid", "event", "traceback", "logger"}
    clock = str(entry.get("time", ""))[11:19]
    fields = " ".join(f"{k}={_shown(v)}" for k, v in entry.items() if k not in skip)
    level, process = str(entry.get("level", "info")), str(entry.get("process", "?"))
    line = f"{clock} {level:<7} {process:<10} {entry.get('event', '')} {fields}".rstrip()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def redact(text: str) -> str:
    """`text` with what looks like a secret replaced by `***`."""
    return SECRETS.sub(lambda match: f"{match[1] or ''}***", text)


def configure(process: str, level: str = "info", descriptor: int | None = None) -> PipeHandler:
    """Sends all logging of this process, third parties' too, to stdout as JSON lines."""
    target = sys.stdout.fileno() if descriptor is None else descriptor
    os.set_blocking(target, False)
    handler = PipeHandler(process, target)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False
    return handler


def set_level(level: str) -> None:
    """Changes what is logged from now on."""
    logging.getLogger().setLevel(level.upper())


def _clean(text: str) -> str:
    # The first cut bounds the search; what it may cut through is beyond the second.
    readable_text = text[: 4 * LONGEST_FIELD_CHARS].encode("utf-8", "backslashreplace").decode()
    return redact(readable_text)[:LONGEST_FIELD_CHARS]


def _field(name: str, value: object) -> object:
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return _clean(hex(value))
    if isinstance(value, bool | int | float) or value is None:
        return value
    if SECRET_NAME.fullmatch(name):
        return "***"
    return _clean(value if isinstance(value, str) else str(value))


def _shown(value: object) -> str:
    text = str(value)
    return text if text and " " not in text and "=" not in text else repr(text)
