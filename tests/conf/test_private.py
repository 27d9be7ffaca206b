"""Files and directories that only their owner may read, whatever the umask says."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.private import UnsafePathError, create_private, private_directory, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_are_0600_under_every_umask(tmp_path: Path, umask: int):
    write_private(tmp_path / "a", b"1")
    assert create_private(tmp_path / "b", b"2")
    assert [mode(tmp_path / name) for name in "ab"] == [0o600, 0o600]


def test_directories_are_0700_and_so_are_those_made_on_the_way(tmp_path: Path):
    before = os.umask(0)
    try:
        private_directory(tmp_path / "x/y/z")
    finally:
        os.umask(before)
    assert {mode(tmp_path / name) for name in ("x", "x/y", "x/y/z")} == {0o700}


def test_an_open_directory_is_closed(tmp_path: Path):
    path = tmp_path / "d"
    path.mkdir()
    path.chmod(0o777)
    private_directory(path)
    assert mode(path) == 0o700


def test_a_symlink_is_no_directory_of_ours(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafePathError, match="symlink"):
        private_directory(tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="dangling"):
        private_directory(tmp_path / "dangling")


def test_a_file_is_replaced_whole_and_a_symlink_is_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / "link").symlink_to(victim)
    write_private(tmp_path / "link", b"ours")
    assert victim.read_text() == "theirs"
    assert (tmp_path / "link").read_bytes() == b"ours"
    assert not (tmp_path / "link").is_symlink()


def test_a_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a"
    write_private(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_what_exists_is_not_created_again(tmp_path: Path):
    assert create_private(tmp_path / "a", b"first")
    assert not create_private(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]
