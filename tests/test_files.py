from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cnnspec import files
from cnnspec.diagnostics import SetupError


def code(error: pytest.ExceptionInfo[SetupError]) -> str:
    assert error.value.exit_status == 2
    (diagnostic,) = error.value.diagnostics
    return diagnostic.code


def test_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "ä\nb\r\n")
    assert path.read_bytes() == "ä\nb\r\n".encode()
    assert files.read_bytes(path) == "ä\nb\r\n".encode()


def test_does_not_overwrite_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("mine")
    with pytest.raises(SetupError, match="exists already") as error:
        files.write_text(path, "yours")
    assert code(error) == "file-exists"
    assert "--force" in error.value.diagnostics[0].help
    assert path.read_text() == "mine"
    files.write_text(path, "yours", force=True)
    assert path.read_text() == "yours"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_replaced_file_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "run.py"
    path.write_text("")
    path.chmod(0o754)
    files.write_text(path, "x", force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o754


def test_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    files.write_text(link, "new", force=True)
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_does_not_replace_devices() -> None:
    files.write_text(os.devnull, "gone")
    assert not os.path.isfile(os.devnull)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("mine")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(SetupError, match=os.strerror(number).lower()) as error:
        files.write_text(path, "yours", force=True)
    monkeypatch.undo()
    assert code(error) == "file-unwritable"
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(tmp_path / "a.txt", "x")
    assert os.listdir(tmp_path) == []


def test_a_full_disk() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with pytest.raises(SetupError, match="no space left on device") as error:
        files.write_text("/dev/full", "x")
    assert code(error) == "file-unwritable"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "file-unwritable"),
        ("missing/a.txt", "directory-not-found"),
        ("file/a.txt", "file-unwritable"),
        (".", "is-a-directory"),
        ("a\0b", "file-unwritable"),
        ("x" * 300, "file-unwritable"),
    ],
)
def test_places_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError) as error:
        files.write_text(name, "x", force=True)
    assert code(error) == expected
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing", "file-not-found"),
        (".", "is-a-directory"),
        ("a\0b", "file-unreadable"),
    ],
)
def test_places_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as error:
        files.read_bytes(name)
    assert code(error) == expected


def test_make_directory(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b")
    files.make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError) as error:
        files.make_directory(tmp_path / "file")
    assert code(error) == "not-a-directory"
    with pytest.raises(SetupError) as error:
        files.make_directory(tmp_path / "file" / "below")
    assert code(error) == "file-unwritable"
