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


class Reader:
    """Reads files and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, file: Path) -> str:
        self.read.append(file.name)
        return sha256_of(file)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written a minute ago, by the clock that is asked."""
    now = digests.time.time_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: now() + 60 * 10**9)
    path = tmp_path / "sample \udcff.png" if os.name == "posix" else tmp_path / "sample.png"
    path.write_bytes(b"first")
    return path


def ask(file: Path) -> list[str]:
    """Give what a later run reads to know a file, and keep what it learns."""
    reader = Reader()
    found = Digests(file.parent / "book" / "files.json", read=reader)
    assert found.of(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.of(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    found.keep()
    return reader.read


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
def test_a_file_is_read_again_when_it_was_changed(file: Path, change: Callable[[Path], None]) -> None:
    assert ask(file) == [file.name]
    assert ask(file) == []
    assert ask(file) == []
    change(file)
    assert ask(file) == [file.name]
    assert ask(file) == []


def test_a_file_that_was_changed_just_now_is_not_written_down(tmp_path: Path) -> None:
    path = tmp_path / "new.png"
    for _ in range(2):
        path.write_bytes(b"new")
        assert ask(path) == ["new.png", "new.png"]
    assert not (tmp_path / "book").exists()


def test_a_file_that_changes_while_it_is_read_is_not_written_down(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        digest = sha256_of(path)
        path.write_bytes(b"meanwhile")
        return digest

    found = Digests(file.parent / "files.json", read=read)
    found.of(file)
    found.keep()
    assert not (file.parent / "files.json").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"schema": 2, "files": {}}', b'{"schema": 1, "files": {"a": [1, 2]}}', b"\xff"],
)
def test_a_book_that_is_damaged_is_an_empty_one(file: Path, content: bytes) -> None:
    book = file.parent / "book" / "files.json"
    book.parent.mkdir()
    book.write_bytes(content)
    assert ask(file) == [file.name]
    assert ask(file) == []


def test_the_files_that_were_asked_for_last_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MOST", 3)
    files = [file.parent / f"{number}.png" for number in range(5)]
    for path in files:
        path.write_bytes(path.name.encode())
    first = Digests(file.parent / "files.json")
    for path in files[:3]:
        first.of(path)
    first.keep()
    second = Digests(file.parent / "files.json")
    for path in (files[0], *files[3:]):
        second.of(path)
    second.keep()
    reader = Reader()
    third = Digests(file.parent / "files.json", read=reader)
    for path in files:
        third.of(path)
    assert reader.read == ["1.png", "2.png"]


def test_without_a_book_every_file_is_read(file: Path) -> None:
    reader = Reader()
    found = Digests(None, read=reader)
    assert found.of(file) == found.of(file) == sha256_of(file)
    found.keep()
    assert reader.read == [file.name] * 2
