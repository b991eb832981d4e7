"""Unpack archives that strangers made, and pack the ones that we hand out.

`tarfile` and `zipfile` can extract too, but on the Pythons that we support a crafted archive leaves the target
folder even through tarfile's "data" filter. So the members are read by our own readers (archive_tar.py,
archive_zip.py), which know nothing but regular files and folders; every name is judged here by the rules of all
systems at once; sizes are counted while they are written; and nothing appears under its final name before the
whole archive has been unpacked.
"""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from hub.errors import StorageError, UnsafeFileError, UsageError
from hub.files import staged_folder, write_file
from hub.registry.archive_reader import HINT, Member
from hub.registry.archive_tar import TarReader
from hub.registry.archive_zip import ZipReader

FREE_BYTES = 32 * 2**20  # what may come out before it is compared with what went in
MOST_PARTS = 16
MOST_PATH_BYTES = 1024

_MAGIC = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2"}
_SUFFIXES = {
    ".zip": "zip", ".tar": "tar", ".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".tbz2": "bzip2",
}  # fmt: skip
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}
# What some program would run, import, or hand to an interpreter or an installer.
_CODE_SUFFIXES = {
    ".py", ".pyc", ".pyd", ".pyw", ".pyx", ".pth", ".egg", ".whl", ".so", ".dll", ".dylib", ".exe", ".bat", ".cmd",
    ".com", ".ps1", ".sh", ".bash", ".jar", ".js", ".pkl", ".pickle", ".joblib", ".dill",
}  # fmt: skip
_CODE_NAMES = {"requirements.txt", "setup.cfg", "pyproject.toml", "makefile"}


@dataclass(frozen=True)
class Limits:
    """The most that an archive may unpack to. All of it is counted, none of it believed."""

    members: int = 10_000
    member_bytes: int = 20 * 2**30
    total_bytes: int = 20 * 2**30
    ratio: int = 100
    """Bytes out for each byte in, once more than FREE_BYTES have come out."""


def unpack(
    archive: Path,
    to: Path,
    *,
    limits: Limits | None = None,
    code: Literal["refuse", "skip", "keep"] = "refuse",
) -> list[Path]:
    """Unpack a tar, tar.gz, tar.bz2 or zip archive into the folder `to`, all of it or nothing.

    `to` must not exist yet, its parent must. Owners, modes and times are not taken over. `code` says what becomes
    of files that a program might run (.py, .so, requirements.txt, …); nothing here ever runs them.
    Returns the paths of the files, sorted. Raises UnsafeFileError for an archive that is hostile, too large or
    carries code, IntegrityError for a damaged one, StorageError when reading or writing fails; nothing is left
    behind then.
    """
    if to.exists() or to.is_symlink():
        raise StorageError(f"{to}: expected a folder that does not exist yet", hint="remove it first")
    if not to.parent.is_dir():
        raise StorageError(f"{to.parent}: no such folder to unpack into")
    try:
        with archive.open("rb") as file, staged_folder(to) as staging:
            tree = _Tree(archive, staging, code)
            for member in _members(archive, file, limits or Limits()):
                tree.add(member)
    except OSError as problem:
        raise StorageError(f"cannot unpack {archive} into {to}: {problem.strerror or problem}") from problem
    return [to / path for path in sorted(tree.files)]


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder into a .tar.gz that is the same for the same files: sorted, without times, owners and modes.

    It is not compressed: weights would lose a few percent, and `unpack` takes any content this way (a megabyte of
    zeros, compressed, looks like a bomb). Raises UnsafeFileError for links, devices and names that `unpack` would
    refuse, StorageError when reading or writing fails.
    """
    if archive.absolute().is_relative_to(folder.absolute()):
        raise UsageError(f"{archive}: expected an archive outside of the folder that it holds, {folder}")
    if not folder.is_dir():
        raise StorageError(f"{folder}: no such folder to pack")
    members: dict[str, Path] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = safe_relative_path(path.relative_to(folder).as_posix())
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise UnsafeFileError(f"{path}: expected plain files and folders, found a link or a device")
        if members.setdefault(_folded(name), path) != path:
            raise UnsafeFileError(f"{path}: on some systems the same place as {members[_folded(name)]}")
    try:
        write_file(archive, lambda temporary: _write_tar(folder, list(members.values()), temporary))
    except OSError as problem:
        raise StorageError(f"cannot pack {folder} into {archive}: {problem.strerror or problem}") from problem


def safe_relative_path(text: str) -> PurePosixPath:
    """Give a path that names the same place below a folder on every system.

    At most 16 parts separated by /; none is empty, `.` or `..`, ends in a dot or a blank, is a Windows device or
    has a character that Windows forbids or nobody sees. Raises UnsafeFileError for any other text.
    """
    fault = _fault_of(text)
    if fault:
        raise UnsafeFileError(f"unsafe path {text[:80]!a}: {fault}")
    return PurePosixPath(text)


def _fault_of(text: str) -> str:
    parts = text.split("/")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text):
        return "it has a character that nobody sees"
    if any(character in '\\:<>"|?*' for character in text):
        return 'it has one of \\ : < > " | ? *'
    if text.startswith("/"):
        return "it is absolute"
    if len(parts) > MOST_PARTS or len(text.encode()) > MOST_PATH_BYTES:
        return f"it has more than {MOST_PARTS} parts or {MOST_PATH_BYTES:,} bytes"
    for part in parts:
        if part in {"", ".", ".."}:
            return f"it has the part {part!r}"
        if len(part.encode()) > 255:
            return "it has a part of more than 255 bytes"
        if part.endswith(".") or part[-1].isspace():
            return "it has a part that ends in a dot or a blank"
        if part.split(".")[0].rstrip().lower() in _DEVICES:
            return f"{part!r} is a device on Windows"
    return ""


def is_code(path: PurePosixPath) -> bool:
    """Say whether a program might run, import or install from a file of that name."""
    return path.suffix.lower() in _CODE_SUFFIXES or path.name.lower() in _CODE_NAMES


def _members(archive: Path, file: IO[bytes], limits: Limits) -> Iterator[Member]:
    """Yield the members of an archive of any kind, within the limits."""
    total = 0

    def count(size: int) -> None:
        nonlocal total
        total += size
        most = min(limits.total_bytes, FREE_BYTES + limits.ratio * file.tell())
        if total > most:
            raise UnsafeFileError(
                f"{archive}: its first {file.tell():,} bytes unpack to more than {most:,}",
                hint="this is how a decompression bomb looks; if it is your own, pack it without compression",
            )

    kind = _kind_of(archive, file)
    if kind == "zip":
        members = ZipReader(file, archive, count).members(limits.members)
    elif kind == "gzip":
        members = TarReader(gzip.GzipFile(fileobj=file), archive, count).members()
    else:
        members = TarReader(bz2.BZ2File(file) if kind == "bzip2" else file, archive, count).members()
    for number, member in enumerate(members, start=1):
        if number > limits.members:
            raise UnsafeFileError(f"{archive}: more than {limits.members:,} members", hint=HINT)
        if member.size > limits.member_bytes:
            raise UnsafeFileError(f"{archive}: member {member.name[:80]!a}: {member.size:,} bytes", hint=HINT)
        yield member


def _kind_of(archive: Path, file: IO[bytes]) -> str:
    start = file.read(262)
    file.seek(0)
    kind = "tar" if start[257:] == b"ustar" else ""
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), kind)
    if not kind:
        raise UnsafeFileError(
            f"{archive}: expected a tar, tar.gz, tar.bz2 or zip archive, found a file that starts with {start[:8]!r}",
            hint="pack it as .tar.gz or .zip",
        )
    if _SUFFIXES.get(archive.suffix.lower(), kind) != kind:
        raise UnsafeFileError(
            f"{archive}: its name ends in {archive.suffix}, its content is {kind}",
            hint="do not use it unless you know who made it; then give it the right ending",
        )
    return kind


class _Tree:
    """The files and folders that have been unpacked, by the names under which any system would find them."""

    def __init__(self, archive: Path, root: Path, code: str) -> None:
        self.files: list[PurePosixPath] = []
        self._archive = archive
        self._root = root
        self._code = code
        self._taken: dict[str, tuple[PurePosixPath, bool]] = {}

    def add(self, member: Member) -> None:
        """Write one member below the root."""
        path = self._path_of(member)
        code = path is not None and not member.is_folder and is_code(path)
        if code and self._code == "refuse":
            hint = "hub runs nothing of a module's author, and no switch changes that; pack the module without it"
            self._refuse(member.name, "a module is data, this is code", hint)
        if path is not None and not (code and self._code == "skip"):
            for parent in path.parents[-2::-1]:
                self._claim(parent, is_folder=True, member=member)
            self._claim(path, is_folder=member.is_folder, member=member)
            if not member.is_folder:
                self._write(path, member)
        for _ in member.chunks:  # of a folder, or of what is left out: checked all the same
            pass

    def _write(self, path: PurePosixPath, member: Member) -> None:
        self.files.append(path)
        with (self._root / path).open("xb") as file:
            for chunk in member.chunks:
                file.write(chunk)

    def _path_of(self, member: Member) -> PurePosixPath | None:
        """Give the path of a member, None for the root itself; `tar czf … .` writes ./ before every name."""
        name = member.name
        if name == "." and member.is_folder:
            return None
        fault = _fault_of(name.removeprefix("./"))
        if fault:
            self._refuse(name, f"unsafe name: {fault}")
        return PurePosixPath(name.removeprefix("./"))

    def _claim(self, path: PurePosixPath, *, is_folder: bool, member: Member) -> None:
        """Take a place once, and make it if it is a folder; a folder may come again, but in no other spelling."""
        key = _folded(path)
        taken = self._taken.get(key)
        if taken is None:
            self._taken[key] = (path, is_folder)
            if is_folder:
                (self._root / path).mkdir()
        elif not is_folder or taken != (path, True):
            self._refuse(member.name, f"on some systems the same place as {str(taken[0])[:80]!a}")

    def _refuse(self, name: str, why: str, hint: str = HINT) -> None:
        raise UnsafeFileError(f"{self._archive}: member {name[:80]!a}: {why}", hint=hint)


def _folded(path: PurePosixPath) -> str:
    """Give the same text for paths that a system may take for one: by case, or by the form of its Unicode."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", str(path)).casefold())


def _write_tar(folder: Path, paths: list[Path], target: Path) -> None:
    with (
        target.open("xb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0, compresslevel=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in paths:
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
                continue
            with path.open("rb") as source:
                info.size = os.fstat(source.fileno()).st_size
                tar.addfile(info, source)
