"""The files in an agent's workspace that people edit: only these names, never through a link."""

import os
import stat
from pathlib import Path

from bus.errors import invalid, unavailable
from bus.rpc import Result
from conf.paths import Paths
from conf.private import private_directory, write_private
from conf.schema import Settings
from workers.agent import models

FILES = (
    "AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "BOOTSTRAP.md",
)  # fmt: skip
MEMORY = "MEMORY.md"
OLD_MEMORY = "memory.md"
LARGEST_FILE_BYTES = 2_097_152


class File(Result, frozen=True):
    """A file of a workspace, as clients see it."""

    name: str
    path: str
    missing: bool
    size: int | None = None
    """Bytes."""
    updated_at_ms: int | None = None
    content: str | None = None


def directory(settings: Settings, paths: Paths, agent_id: str) -> Path:
    """Where an agent keeps its files."""
    agent = models.agent_entry(settings, agent_id)
    defaults = settings.agents.defaults
    own = (agent and agent.workspace) or defaults.workspace or str(paths.workspace)
    return Path(own).expanduser()


def check_name(name: str) -> None:
    """Raises RpcError for a file that is not one of a workspace's."""
    if name not in (*FILES, MEMORY, OLD_MEMORY):
        raise invalid(f'unsupported file "{name}"')


def listed(root: Path) -> tuple[File, ...]:
    """All files of a workspace, also those that are not there."""
    memory = OLD_MEMORY if _is_old_memory(root) else MEMORY
    return tuple(_described(root, name) for name in (*FILES, memory))


def ensure(root: Path) -> None:
    """Creates a workspace that is not there, closed to others. Raises RpcError."""
    try:
        if not root.exists():
            private_directory(root)
    except OSError as error:
        raise _unusable(root, error) from error
    if not root.is_dir():
        raise unavailable(f"{root} is not a directory: choose another workspace", None)


def read(root: Path, name: str) -> File:
    """A file and what it holds; one that is not there is described as missing."""
    path = root / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return File(name, str(path), missing=True)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise unavailable(f"{path} is not a regular file: remove it", None)
        content = _content(descriptor)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE_BYTES:
        raise unavailable(f"{path} is larger than {LARGEST_FILE_BYTES} bytes: shorten it", None)
    text = content.decode(errors="replace")
    return File(name, str(path), False, status.st_size, _ms(status), text)


def write(root: Path, name: str, content: str) -> File:
    """Replaces a file, 0600; its workspace is created if need be. Raises RpcError."""
    path = root / name
    ensure(root)
    if os.path.lexists(path) and _regular(path) is None:
        raise unavailable(f"{path} is not a regular file: remove it", None)
    try:
        write_private(path, content.encode(errors="replace"))
    except OSError as error:
        raise _unusable(path, error) from error
    return read(root, name)


def _described(root: Path, name: str) -> File:
    status = _regular(root / name)
    if status is None:
        return File(name, str(root / name), missing=True)
    return File(name, str(root / name), False, status.st_size, _ms(status))


def _content(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(LARGEST_FILE_BYTES + 1)


def _is_old_memory(root: Path) -> bool:
    return _regular(root / MEMORY) is None and _regular(root / OLD_MEMORY) is not None


def _regular(path: Path) -> os.stat_result | None:
    """What is known of a file; None if there is none or it is something else."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _ms(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1_000_000


def _unusable(path: Path, error: OSError) -> Exception:
    return unavailable(f"{path} cannot be used: {error.strerror or error}", None)
