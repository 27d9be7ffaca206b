"""config.*: the config file read, described and changed."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, Methods, NoParams, Params, Scope
from conf.config_file import BusyError, ChangeError, Snapshot, change, snapshot
from conf.config_schema import config_schema, hints
from conf.editing import changes, edit, merge_patch
from conf.json5 import UnscannableError
from conf.redaction import NotStoredError, redact, redact_text, restore
from conf.settings import ConfigError, parse
from conf.validation import Problem
from workers.health.restart import Restart, Restarts, Sentinel
from workers.runtime import Worker

LONGEST_NOTE_CHARS = 4_000
LONGEST_KEY_CHARS = 512
NOT_KEPT = "comments and layout of the file were not kept: the change was too large to edit in"

Text = Annotated[str, Meta(min_length=1)]


class SetParams(Params, frozen=True):
    """The whole new text of the file."""

    raw: Text
    base_hash: str | None = None
    """The `hash` of the config.get this text was made from."""


class ChangeParams(Params, frozen=True):
    """A new text, or a patch, that is to take effect."""

    raw: Text
    base_hash: str | None = None
    session_key: Annotated[str, Meta(max_length=LONGEST_KEY_CHARS)] | None = None
    """Session that is told when it has taken effect."""
    note: Annotated[str, Meta(max_length=LONGEST_NOTE_CHARS)] | None = None
    restart_delay_ms: Annotated[float, Meta(ge=0)] | None = None


class Issue(msgspec.Struct, frozen=True):
    """Something wrong: the dotted key, and what."""

    path: str
    message: str


class GetResult(msgspec.Struct, frozen=True, rename="camel"):
    """The file as it is now, secrets hidden."""

    path: str
    exists: bool
    raw: str | None
    """Its text; None when there is none, or none in which secrets can be told."""
    parsed: dict[str, Any]
    """What the text means."""
    valid: bool
    config: dict[str, Any]
    """The same with references to the environment replaced."""
    hash: str
    issues: tuple[Issue, ...]
    warnings: tuple[Issue, ...]
    legacy_issues: tuple[Issue, ...] = ()


class SchemaResult(msgspec.Struct, frozen=True, rename="camel"):
    """JSON Schema of the file, and hints for forms."""

    schema: dict[str, Any]
    ui_hints: dict[str, dict[str, Any]]
    version: str
    generated_at: str


class SetResult(msgspec.Struct, frozen=True):
    """The file was written."""

    ok: bool
    path: str
    config: dict[str, Any]
    warnings: tuple[Issue, ...] = ()


class ChangeResult(msgspec.Struct, frozen=True):
    """The file was written, and how the change takes effect."""

    ok: bool
    path: str
    config: dict[str, Any]
    restart: Restart
    sentinel: Sentinel
    warnings: tuple[Issue, ...] = ()


class ConfigMethods:
    """The methods; every one reads the file anew."""

    methods = Methods()

    def __init__(self, worker: Worker, restarts: Restarts) -> None:
        self._worker = worker
        self._path = worker.paths.config
        self._restarts = restarts

    @methods.method("config.get", scope=Scope.ADMIN)
    async def get(self, call: Call, params: NoParams) -> GetResult:
        """The config file, secrets hidden, and everything wrong with it."""
        return await asyncio.to_thread(lambda: described(snapshot(self._path)))

    @methods.method("config.schema", scope=Scope.ADMIN)
    async def schema(self, call: Call, params: NoParams) -> SchemaResult:
        """JSON Schema of the config file, with labels and help for forms."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        schema, ui_hints = await asyncio.to_thread(lambda: (config_schema(), hints()))
        return SchemaResult(schema, ui_hints, _version(), now)

    @methods.method("config.set", scope=Scope.ADMIN)
    async def set(self, call: Call, params: SetParams) -> SetResult:
        """Replaces the file; the next start uses it."""
        _, after, _ = await self._change(params.base_hash, _replaced(params.raw))
        return SetResult(True, str(self._path), redact(after.examined.resolved))

    @methods.method("config.apply", scope=Scope.ADMIN)
    async def apply(self, call: Call, params: ChangeParams) -> ChangeResult:
        """Replaces the file and the workers."""
        return await self._change_and_restart(call, params, _replaced(params.raw))

    @methods.method("config.patch", scope=Scope.ADMIN)
    async def patch(self, call: Call, params: ChangeParams) -> ChangeResult:
        """Merges a patch into the file (null deletes a key) and replaces the workers."""
        return await self._change_and_restart(call, params, _patched(params.raw))

    async def _change_and_restart(
        self, call: Call, params: ChangeParams, make: Callable[[Snapshot], tuple[str, bool]]
    ) -> ChangeResult:
        before, after, warnings = await self._change(params.base_hash, make)
        changed = [".".join(path) for path, _ in changes(before.examined.resolved,
                                                         after.examined.resolved)]  # fmt: skip
        sentinel = await asyncio.to_thread(
            self._restarts.note, call.method, str(self._path), params.note, params.session_key
        )
        restart = self._restarts.schedule(params.restart_delay_ms, call.method, changed)
        self._worker.log.info("config changed", method=call.method, keys=changed[:20])
        config = redact(after.examined.resolved)
        return ChangeResult(True, str(self._path), config, restart, sentinel, warnings)

    async def _change(
        self, base_hash: str | None, make: Callable[[Snapshot], tuple[str, bool]]
    ) -> tuple[Snapshot, Snapshot, tuple[Issue, ...]]:
        """The file before and after, and warnings. Raises RpcError; then it is as it was."""
        is_kept = True

        def text_of(before: Snapshot) -> str:
            nonlocal is_kept
            text, is_kept = make(before)
            return text

        try:
            before, after = await asyncio.to_thread(change, self._path, base_hash, text_of)
        except ChangeError as error:
            raise _refusal(error.message, error.problems) from error
        except NotStoredError as error:
            raise _refusal(str(error), [Problem(error.key, "nothing is stored there")]) from error
        except BusyError as error:
            raise unavailable(str(error), 1000) from error
        except OSError as error:
            text = f"config cannot be written: {self._path}: {error.strerror or error}"
            raise unavailable(text, None) from error
        return before, after, () if is_kept else (Issue("", NOT_KEPT),)


def described(found: Snapshot) -> GetResult:
    """What a client is told of the file."""
    raw, warnings = found.text, list(found.warnings)
    if raw is not None and raw.strip():
        try:
            parse(found.path, raw)
            raw = redact_text(raw)
        except (ConfigError, UnscannableError, RecursionError):
            raw = None
            warnings.append(Problem("", "raw is left out: secrets in it cannot be told from text"))
    return GetResult(
        path=str(found.path),
        exists=found.exists,
        raw=raw,
        parsed=redact(found.examined.written),
        valid=found.is_valid,
        config=redact(found.examined.resolved),
        hash=found.hash,
        issues=_issues(found.problems),
        warnings=_issues(warnings),
    )


def _replaced(raw: str) -> Callable[[Snapshot], tuple[str, bool]]:
    """A change to the given text."""

    def make(before: Snapshot) -> tuple[str, bool]:
        return _restored(before, raw), True

    return make


def _patched(raw: str) -> Callable[[Snapshot], tuple[str, bool]]:
    """A change by a merge patch; the text of the file stays as far as it can."""

    def make(before: Snapshot) -> tuple[str, bool]:
        if before.examined.problems:
            raise ChangeError("invalid config; fix before patching", before.examined.problems)
        patch = parse(before.path, _restored(before, raw))
        if not isinstance(patch, dict):
            raise ChangeError("config.patch raw must be an object")
        return edit(before.text or "", merge_patch(before.examined.written, patch))

    return make


def _restored(before: Snapshot, raw: str) -> str:
    """`raw` with what was hidden from its writer. Raises ChangeError, NotStoredError."""
    try:
        parse(before.path, raw)
        if not raw.strip():
            return raw
        return restore(raw, before.examined.written, before.examined.resolved)
    except ConfigError as error:
        message = "; ".join(str(problem) for problem in error.problems)
        raise ChangeError(message, tuple(error.problems)) from error
    except (UnscannableError, RecursionError) as error:
        raise ChangeError(f"the config is nested too deeply: {error}") from error


def _refusal(message: str, problems: Iterable[Problem]) -> RpcError:
    issues = _issues(problems)
    return invalid(message, {"issues": issues} if issues else None)


def _issues(problems: Iterable[Problem]) -> tuple[Issue, ...]:
    return tuple(Issue(problem.key, problem.message) for problem in problems)


def _version() -> str:
    try:
        return metadata.version("gatewayd")
    except metadata.PackageNotFoundError:
        return "dev"
