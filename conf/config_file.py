"""The config file as something that is read and changed while others read and change it too.

A change holds a kernel lock, names the text it started from, is checked by the one loader, and
replaces the file at once: whoever reads sees the old text or the new one.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from conf.channels import channel_settings
from conf.environment import secrets_override
from conf.private import write_private
from conf.settings import (
    LARGEST_CONFIG_BYTES,
    ConfigError,
    Examined,
    Loaded,
    examine,
    read_text,
)
from conf.validation import Problem

LOCK_BUDGET_S = 5.0
LOCK_POLL_S = 0.01
OTHERS_MODE = 0o077


class ChangeError(Exception):
    """The change cannot be made; `problems` says what is wrong with the text, if that is why."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems


class BusyError(Exception):
    """Somebody else holds the lock for longer than we wait."""


@dataclass(frozen=True)
class Snapshot:
    """The file at one moment."""

    path: Path
    text: str | None
    """None: there is no file, or it cannot be read."""
    exists: bool
    hash: str
    """Hex SHA-256 of the file's text, of no text when there is no file."""
    examined: Examined
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the gateway could start with it."""
        return not self.problems


def snapshot(path: Path, environ: Mapping[str, str] | None = None) -> Snapshot:
    """The file as it is now; errors in it are part of the answer."""
    try:
        text = read_text(path)
    except ConfigError as error:
        problems = tuple(error.problems)
        empty = Examined({}, {}, None, problems)
        return Snapshot(path, None, True, text_hash(""), empty, problems)
    return _described(path, text, environ)


def text_hash(text: str) -> str:
    """What a writer names to say which text it has read."""
    return hashlib.sha256(text.encode()).hexdigest()


def change(
    path: Path,
    base_hash: str | None,
    make: Callable[[Snapshot], str],
    environ: Mapping[str, str] | None = None,
) -> tuple[Snapshot, Snapshot]:
    """Replaces the file by what `make` makes of it; returns it before and after.

    Raises ChangeError, BusyError, OSError, and whatever `make` raises; then the file is as it was.
    That nobody could connect is no reason to refuse when it was so before: the secret may be
    given to the gateway where we cannot see it.
    """
    target = path.resolve()  # a config that is a link into somebody's dotfiles stays one
    with _locked(target.parent):
        before = snapshot(path, environ)
        _check_base(before, base_hash)
        text = make(before)
        _check_size(text)
        after = _described(path, text, environ)
        refused = set(after.problems) - (set(before.problems) - set(before.examined.problems))
        if refused:
            raise ChangeError("invalid config", after.problems)
        if text != before.text or _is_open_to_others(path):
            write_private(target, text.encode())
    return before, after


def lockout(loaded: Loaded) -> Problem | None:
    """Why nobody could connect to a gateway with these settings, if so: it would not start."""
    token, password = secrets_override()
    auth = loaded.settings.gateway.auth
    token, password = token or auth.token, password or auth.password
    mode = auth.mode or ("password" if password else "token")
    if password if mode == "password" else token:
        return None
    elsewhere = f"nor GATEWAYD_{mode.upper()} in the environment"
    return Problem(f"gateway.auth.{mode}", f"not set, {elsewhere}: nobody could connect; set it")


def effective(examined: Examined) -> dict[str, Any]:
    """The settings that hold, defaults included; of an invalid file, what it says."""
    if examined.loaded is None:
        return examined.resolved
    whole: dict[str, Any] = msgspec.to_builtins(examined.loaded.settings)
    sections = {name: kind() for name, kind in channel_settings().items()}
    return whole | {"channels": msgspec.to_builtins(sections | examined.loaded.channels)}


def _described(path: Path, text: str | None, environ: Mapping[str, str] | None) -> Snapshot:
    examined = examine(path, text, environ)
    problems = examined.problems
    # Without a file the gateway writes one, with a token, when it starts.
    if text is not None and examined.loaded is not None:
        locked_out = lockout(examined.loaded)
        problems += (locked_out,) if locked_out else ()
    warnings: tuple[Problem, ...] = ()
    if _is_open_to_others(path):
        warnings = (Problem("", f"others may read or change it: chmod 600 {path}"),)
    exists = text is not None
    return Snapshot(path, text, exists, text_hash(text or ""), examined, problems, warnings)


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS_MODE)
    except OSError:
        return False


def _check_base(before: Snapshot, base_hash: str | None) -> None:
    if not before.exists:
        return
    if before.text is None:
        raise ChangeError(f"the config cannot be read: {before.problems[0]}", before.problems)
    given = (base_hash or "").strip()
    if not given:
        raise ChangeError("config base hash required; re-run config.get and retry")
    if given != before.hash:
        raise ChangeError("config changed since last load; re-run config.get and retry")


def _check_size(text: str) -> None:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        problem = Problem("", f"half a surrogate pair at character {error.start}")
        raise ChangeError("invalid config", (problem,)) from error
    if size_bytes > LARGEST_CONFIG_BYTES:
        problem = Problem("", f"larger than {LARGEST_CONFIG_BYTES} bytes")
        raise ChangeError("invalid config", (problem,))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """The kernel's lock on the directory: it leaves no file, and ends with the process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline_s = time.monotonic() + LOCK_BUDGET_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline_s:
                    text = f"another writer has held {directory} for {LOCK_BUDGET_S:g} s; retry"
                    raise BusyError(text) from error
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)
