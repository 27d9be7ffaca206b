"""What the processes say: every line to the log file, and a readable one to our stdout.

Neither a full disk nor a stuck terminal stops the supervisor: lines are dropped and counted.
"""

import logging
import os
import stat
from pathlib import Path

import msgspec

from conf import logs

KEPT_COUNT = 3
"""Rotated files that are kept: gatewayd.log.1 is the newest."""
LONGEST_LINE_BYTES = 65_536
"""A longer line is cut; a process that never ends its line must not fill our memory."""
LARGEST_BACKLOG_BYTES = 65_536
"""Output a slow terminal has not taken yet; more is not shown, but it is in the file."""
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_decode = msgspec.json.Decoder(dict[str, object]).decode


class LogFile:
    """An append-only file of mode 0600 that is rotated by size."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._is_mid_line = False
        self.lost_count = 0
        """Lines that could not be written since the last one that could."""

    def append(self, line: bytes) -> None:
        """Writes one line; counts it as lost when the disk does not take it."""
        try:
            descriptor = self._descriptor if self._descriptor is not None else self._open()
            if self._size_bytes + len(line) > self._rotate_bytes and self._size_bytes:
                descriptor = self._rotate()
            self._write(descriptor, line)
        except OSError:
            self.lost_count += 1

    def _write(self, descriptor: int, line: bytes) -> None:
        data = b"\n" + line if self._is_mid_line else line
        written = os.write(descriptor, data)
        self._size_bytes += written
        self._is_mid_line = written < len(data)
        self.lost_count = self.lost_count + 1 if self._is_mid_line else 0

    def _open(self) -> int:
        self._descriptor = descriptor = os.open(self._path, FLAGS, 0o600)
        self._size_bytes = os.fstat(descriptor).st_size
        self._is_mid_line = False
        return descriptor

    def _rotate(self) -> int:
        for number in range(KEPT_COUNT - 1, 0, -1):
            old = self._numbered(number)
            if old.exists():
                old.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        return self.reopen()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def reopen(self) -> int:
        """Continues in the file that stands at our path now; returns its descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        return self._open()


class Console:
    """Our stdout, written without ever waiting for who reads it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = _unblocked(descriptor)
        self._backlog = b""
        self._hidden_count = 0

    def show(self, line: str) -> None:
        """Shows one line now, or later, or, when the reader is far behind, not at all."""
        self.flush()
        if len(self._backlog) > LARGEST_BACKLOG_BYTES:
            self._hidden_count += 1
            return
        if self._hidden_count:
            self._backlog += f"({self._hidden_count} lines are only in the log file)\n".encode()
            self._hidden_count = 0
        self._backlog += line.encode(errors="backslashreplace") + b"\n"
        self.flush()

    def flush(self) -> None:
        """Writes what the reader takes now."""
        try:
            while self._backlog:
                self._backlog = self._backlog[os.write(self._descriptor, self._backlog) :]
        except BlockingIOError:
            return
        except OSError:
            self._backlog = b""  # nobody reads any more; the file has it all


class Journal(logging.Handler):
    """Takes the lines of all processes, and the supervisor's own log records."""

    def __init__(self, file: LogFile, console: Console) -> None:
        super().__init__()
        self._file = file
        self._console = console

    def take(self, process: str, pid: int, line: bytes) -> None:
        """One line of a process: a log entry as it is, anything else wrapped as an error."""
        entry = _entry(line)
        if entry is None:
            line = _wrapped(process, pid, line)
            entry = _decode(line)
        else:
            line += b"\n"
        lost_count = self._file.lost_count
        self._file.append(line)
        self._console.show(logs.readable(entry))
        if lost_count and not self._file.lost_count:
            self._file.append(_lost(lost_count))

    def emit(self, record: logging.LogRecord) -> None:
        """A record of the supervisor itself."""
        self.take("supervisor", os.getpid(), logs.encode(record, "supervisor").rstrip(b"\n"))

    def show(self, line: str) -> None:
        """A line for people only; it does not reach the log file."""
        self._console.show(line)

    def turn(self) -> None:
        """Called with every turn of the main loop."""
        self._console.flush()

    def reopen(self) -> None:
        """Continues in a new log file, after somebody has moved the old one away."""
        try:
            self._file.reopen()
        except OSError:
            return  # append tries again, and counts what is lost


class Lines:
    """Cuts a byte stream into lines of bounded length."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, without their ends; empty ones left out."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            lines.append(rest)
            rest = b""
        self._rest = rest
        return [line[:LONGEST_LINE_BYTES] for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """The unfinished line, at the end of the stream."""
        return self.feed(b"\n")


def _entry(line: bytes) -> dict[str, object] | None:
    try:
        entry = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return entry if "event" in entry and "level" in entry else None


def _wrapped(process: str, pid: int, line: bytes) -> bytes:
    return _own_entry(logging.ERROR, process, pid, line.decode(errors="backslashreplace"))


def _lost(count: int) -> bytes:
    text = f"{count} lines before this one could not be written to the log file"
    return _own_entry(logging.ERROR, "supervisor", os.getpid(), text)


def _own_entry(level: int, process: str, pid: int, text: str) -> bytes:
    record = logging.LogRecord(process, level, "", 0, "%s", (text,), None)
    record.process = pid
    return logs.encode(record, process)


def _unblocked(descriptor: int) -> int:
    """A descriptor of the same output on which writes never block.

    A terminal or pipe is opened anew: O_NONBLOCK on the one we were given would change it for
    the shell as well. A socket (the journal's) is ours alone. A file never blocks.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{descriptor}", flags)
        except OSError:
            return descriptor
    if stat.S_ISSOCK(mode):
        os.set_blocking(descriptor, False)
    return descriptor
