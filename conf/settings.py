"""Reads a profile's config file: JSON5, environment references, all errors at once.

The one loader for start, workers and command lines; it never writes.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyjson5

from conf.channels import channel_settings
from conf.paths import Paths
from conf.schema import Section, Settings
from conf.validation import Problem, check

REFERENCE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")
LARGEST_CONFIG_BYTES = 8_388_608


class ConfigError(Exception):
    """The file cannot be used; `problems` lists everything found wrong with it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = problems


@dataclass(frozen=True)
class Loaded:
    """A valid configuration: the settings and, checked, the section of each channel."""

    settings: Settings
    channels: dict[str, Section]
    exists: bool


@dataclass(frozen=True)
class Examined:
    """A text of a config file, read as far as its errors allow."""

    written: dict[str, Any]
    """The file's content, references to the environment as they stand there."""
    resolved: dict[str, Any]
    """The same with references replaced."""
    loaded: Loaded | None
    """None when there are problems."""
    problems: tuple[Problem, ...] = ()


def load(path: Path, environ: Mapping[str, str] | None = None) -> Loaded:
    """Settings of the file at `path`; a missing file is a valid, empty one.

    Raises ConfigError naming the file, each key, and the nearest valid key.
    """
    examined = examine(path, read_text(path), environ)
    if examined.loaded is None:
        raise ConfigError(path, list(examined.problems))
    return examined.loaded


def examine(path: Path, text: str | None, environ: Mapping[str, str] | None = None) -> Examined:
    """What `text` (None: there is no file) would mean at `path`, and everything wrong with it."""
    env = os.environ if environ is None else environ
    try:
        value = _parse_object(path, text) if text is not None else {}
    except ConfigError as error:
        return Examined({}, {}, None, tuple(error.problems))
    problems: list[Problem] = []
    resolved = _substitute(value, env, "", problems)
    settings, found = check(resolved, Settings)
    problems += found
    sections = settings.channels if settings is not None else _raw_channels(resolved)
    channels, found = check_channels(sections)
    problems += found
    if problems or settings is None:
        return Examined(value, resolved, None, tuple(problems))
    return Examined(value, resolved, Loaded(settings, channels, exists=text is not None))


def load_or_last_good(paths: Paths) -> tuple[Loaded, ConfigError | None]:
    """The configuration, or, when a later edit broke it, the last one the gateway started with.

    Raises ConfigError when there is no good one either.
    """
    try:
        return load(paths.config), None
    except ConfigError as error:
        if not paths.last_good_config.exists():
            raise
        return load(paths.last_good_config), error


def check_channels(sections: Mapping[str, Any]) -> tuple[dict[str, Section], list[Problem]]:
    """Each channel's section as its own struct, and everything wrong with them."""
    known = channel_settings()
    checked: dict[str, Section] = {}
    problems: list[Problem] = []
    for name, section in sections.items():
        if name not in known:
            message = f"unknown channel; we have: {', '.join(sorted(known))}"
            problems.append(Problem(f"channels.{name}", message))
            continue
        settings, found = check(section, known[name], f"channels.{name}")
        problems += found
        if settings is not None:
            checked[name] = settings
    return checked, problems


def _raw_channels(value: Any) -> Mapping[str, Any]:
    channels = value.get("channels") if isinstance(value, dict) else None
    return channels if isinstance(channels, dict) else {}


def read_text(path: Path) -> str | None:
    """The file's text, None when there is none. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot be read ({error.strerror}); make it readable for this user"
        raise ConfigError(path, [Problem("", message)]) from error
    if len(raw) > LARGEST_CONFIG_BYTES:
        raise ConfigError(path, [Problem("", f"larger than {LARGEST_CONFIG_BYTES} bytes")])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8 at byte {error.start}; save it as UTF-8"
        raise ConfigError(path, [Problem("", message)]) from error


def parse(path: Path, text: str) -> Any:
    """The value a JSON5 text means. Raises ConfigError."""
    try:
        return pyjson5.loads(text) if text.strip() else {}
    except (pyjson5.Json5Exception, RecursionError) as error:
        raise ConfigError(path, [Problem("", _syntax_message(text, error))]) from error


def _parse_object(path: Path, text: str) -> dict[str, Any]:
    value = parse(path, text)
    if not isinstance(value, dict):
        raise ConfigError(path, [Problem("", "must be one object: { … }")])
    return value


def _syntax_message(text: str, error: Exception) -> str:
    message = str(error.args[0]) if error.args else type(error).__name__
    near = re.search(r"near (\d+)", message)
    if near is None:
        return f"not valid JSON5: {message}"
    before = text[: int(near[1])]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"not valid JSON5 near line {line}, column {column}: {message}"


def _substitute(value: Any, env: Mapping[str, str], key: str, problems: list[Problem]) -> Any:
    """`value` with every `${NAME}` in its strings replaced from the environment."""
    if isinstance(value, dict):
        return {
            name: _substitute(member, env, f"{key}.{name}" if key else name, problems)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_substitute(v, env, f"{key}[{i}]", problems) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match[1] not in env:
            message = f"${{{match[1]}}} is not set in the environment"
            problems.append(Problem(key, message))
        return env.get(match[1], "")

    return REFERENCE.sub(replace, value)
