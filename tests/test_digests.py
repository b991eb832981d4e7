"""A file that is as it was is known again without being read; one that was changed in any way is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.files import sha256_of
from hub.finetune import digests
from hub.finetune.digests import Digests


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    found: list[str] = []

    def watched(path: Path) -> str:
        found.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", watched)
    return found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written a minute ago, by the clock that is asked."""
    now = digests.time.time_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: now() + 60 * 10**9)
    path = tmp_path / "sample \udcff.png" if os.name == "posix" else tmp_path / "sample.png"
    path.write_bytes(b"first")
    return path


def ask(file: Path) -> None:
    """Ask for a file twice, as a run does, and keep what was learnt."""
    found = Digests(file.parent / "book" / "files.json")
    for _ in range(2):
        assert found.of(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    found.keep()


def other_content(file: Path) -> None:
    """Change the content and nothing else that can be chosen: not the size, not the time of the change."""
    before = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def longer(file: Path) -> None:
    file.write_bytes(b"longer than before")


def another_file(file: Path) -> None:
    """Put another file in its place, as editors do, of the same size and time."""
    before = file.stat()
    new = file.with_suffix(".new")
    new.write_bytes(b"other")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(file)


@pytest.mark.parametrize("change", [other_content, longer, another_file])
def test_a_file_is_read_again_when_it_was_changed(
    file: Path, read: list[str], change: Callable[[Path], None]
) -> None:
    for _ in range(3):
        ask(file)
        assert read == [file.name]
    change(file)
    for _ in range(2):
        ask(file)
        assert read == [file.name] * 2


def test_a_file_that_was_changed_just_now_is_not_written_down(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "new.png"
    for count in (2, 4):
        path.write_bytes(b"new")
        ask(path)
        assert len(read) == count
    assert not (tmp_path / "book").exists()


def test_a_file_that_changes_while_it_is_read_is_not_written_down(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_after(path: Path) -> str:
        digest = sha256_of(path)
        path.write_bytes(b"meanwhile")
        return digest

    monkeypatch.setattr(digests, "sha256_of", change_after)
    found = Digests(file.parent / "files.json")
    found.of(file)
    found.keep()
    assert not (file.parent / "files.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"schema": 2, "files": {}}',
        b'{"schema": 1, "files": {"a": [1, 2]}}',
        b"\xff",
        b"[" * 10**5,
    ],
)
def test_a_book_that_is_damaged_is_an_empty_one(file: Path, read: list[str], content: bytes) -> None:
    book = file.parent / "book" / "files.json"
    book.parent.mkdir()
    book.write_bytes(content)
    for _ in range(2):
        ask(file)
        assert read == [file.name]


def test_the_files_that_were_asked_for_last_are_kept(
    file: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "MOST", 3)
    files = [file.parent / f"{number}.png" for number in range(5)]
    for path in files:
        path.write_bytes(path.name.encode())
    for some in (files[:3], [files[0], *files[3:]]):
        found = Digests(file.parent / "files.json")
        for path in some:
            found.of(path)
        found.keep()
    read.clear()
    last = Digests(file.parent / "files.json")
    for path in files:
        last.of(path)
    assert read == ["1.png", "2.png"]


def test_without_a_book_every_file_is_read(file: Path, read: list[str]) -> None:
    found = Digests(None)
    assert found.of(file) == found.of(file) == sha256_of(file)
    found.keep()
    assert read == [file.name] * 2
