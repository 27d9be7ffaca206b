"""Files and directories only their owner may read: created closed, checked before use."""

import os
import secrets
import stat
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class UnsafePathError(OSError):
    """A path we must own is a symlink, someone else's, or open to others."""


def private_directory(path: Path) -> None:
    """Creates `path` 0700, or checks that it is a directory of ours and closes it to others."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafePathError(f"{path} is not a directory (a symlink is refused): remove it")
    if status.st_uid != os.getuid():
        raise UnsafePathError(f"{path} belongs to uid {status.st_uid}, not to us: remove it")
    if stat.S_IMODE(status.st_mode) != DIRECTORY_MODE:
        path.chmod(DIRECTORY_MODE)


def write_private(path: Path, data: bytes) -> None:
    """Replaces `path` atomically and durably with `data`, mode 0600."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_private(path: Path, data: bytes) -> bool:
    """Creates `path` 0600 with `data` unless it exists; tells whether it did. Atomic."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_private(draft, data)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """Makes a rename or creation in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
