"""The file `exec-approvals.json`: what agents may run without being asked about it."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bus.errors import invalid, unavailable
from bus.rpc import Result
from conf.private import write_private

LARGEST_FILE_BYTES = 2_097_152


class _Part(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """Unknown keys are errors; absent ones stay absent."""


class Socket(_Part, frozen=True):
    """Where approvals are asked for."""

    path: str | None = None
    token: str | None = None


class Policy(_Part, frozen=True):
    """What holds unless an agent says otherwise."""

    security: str | None = None
    ask: str | None = None
    ask_fallback: str | None = None
    auto_allow_skills: bool | None = None


class Allowed(_Part, frozen=True, kw_only=True):
    """One pattern of programs that may run."""

    id: str | None = None
    pattern: str
    last_used_at: float | None = None
    last_used_command: str | None = None
    last_resolved_path: str | None = None


class AgentPolicy(Policy, frozen=True):
    """What holds for one agent."""

    allowlist: tuple[Allowed, ...] | None = None


class ApprovalFile(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """The whole file."""

    version: Literal[1]
    socket: Socket | UnsetType = UNSET
    defaults: Policy | UnsetType = UNSET
    agents: dict[str, AgentPolicy] | UnsetType = UNSET


class Snapshot(Result, frozen=True):
    """The file as clients see it."""

    path: str
    exists: bool
    hash: str
    """SHA-256 of the file's text in hex; of nothing when there is no file."""
    file: dict[str, Any]


def snapshot(path: Path) -> Snapshot:
    """The file as it is now, without its socket's token. Raises RpcError if it is broken."""
    raw = _raw(path)
    return _shown(path, raw, _decoded(path, raw))


def replaced(path: Path, file: ApprovalFile, base_hash: str | None) -> Snapshot:
    """Writes the file if it is still the one with `base_hash`. Raises RpcError."""
    raw = _raw(path)
    again = "re-run exec.approvals.get and retry"
    if raw is not None and not (base_hash or "").strip():
        raise invalid(f"exec approvals base hash required; {again}")
    if raw is not None and (base_hash or "").strip() != _hash(raw):
        raise invalid(f"exec approvals changed since last load; {again}")
    written = msgspec.json.format(msgspec.json.encode(_with_token(path, raw, file)), indent=2)
    written += b"\n"
    try:
        write_private(path, written)
    except OSError as error:
        raise unavailable(f"{path} cannot be written: {error}", None) from error
    return _shown(path, written, _decoded(path, written))


def _with_token(path: Path, raw: bytes | None, file: ApprovalFile) -> ApprovalFile:
    """The new file with the old token, which clients never see and so cannot give back."""
    known = _decoded(path, raw).socket
    if isinstance(known, UnsetType):
        return file
    if isinstance(file.socket, UnsetType):
        return replace(file, socket=known)
    socket = file.socket
    return replace(file, socket=Socket(socket.path or known.path, socket.token or known.token))


def _raw(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unavailable(f"{path} cannot be read: {error}", None) from error
    if len(raw) > LARGEST_FILE_BYTES:
        raise unavailable(f"{path} is larger than {LARGEST_FILE_BYTES} bytes: shorten it", None)
    return raw


def _decoded(path: Path, raw: bytes | None) -> ApprovalFile:
    if raw is None:
        return ApprovalFile(version=1, agents={})
    try:
        return msgspec.json.decode(raw, type=ApprovalFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unavailable(f"{path} is not valid: {error}; correct or remove it", None) from error


def _shown(path: Path, raw: bytes | None, file: ApprovalFile) -> Snapshot:
    socket = file.socket
    if not isinstance(socket, UnsetType):
        shown = UNSET if socket.path is None else Socket(socket.path)
        file = replace(file, socket=shown)
    return Snapshot(str(path), raw is not None, _hash(raw or b""), msgspec.to_builtins(file))


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
