"""Files that others may have written, read with suspicion; files that others will read, written in one step."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hub.errors import HubError, SpecError, StorageError

MAX_TEXT_BYTES = 1_000_000
SYNCS_AT_ONCE = 16


def read_text(path: Path, error: type[HubError] = SpecError, *, most: int = MAX_TEXT_BYTES) -> str:
    """Give the text of a small UTF-8 file, or raise `error` with what is wrong with it."""
    try:
        if path.stat().st_size > most:
            raise error(f"{path}: expected at most {most:,} bytes, found {path.stat().st_size:,}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except UnicodeDecodeError as problem:
        raise error(
            f"{path}: expected UTF-8 text, found the byte {problem.object[problem.start]:#04x} "
            f"at position {problem.start}"
        ) from None
    except OSError as problem:
        raise error(f"{path}: {problem.strerror or problem}") from problem


def read_yaml(path: Path) -> Any:
    """Give what a YAML file holds: mappings, lists, texts, numbers, nothing that runs. Raises SpecError."""
    import yaml  # 12 ms that `hub list` need not pay

    from hub import plain_yaml

    text = read_text(path, most=plain_yaml.MAX_BYTES)
    try:
        return plain_yaml.load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{path}{where}: {getattr(problem, 'problem', problem)}") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Give a JSON object, as json.loads(object_pairs_hook=…) asks for it.

    Raises ValueError for a key that is in it twice: one reader takes the first value, and another one the last.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r:.60} stands twice in one object")
            seen.add(key)
    return found


def dump_json(value: object) -> str:
    """Give JSON the way all our files have it: indented, in the order given, UTF-8, no NaN."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sha256_of(path: Path) -> str:
    """Give the sha256 of a file's bytes, 64 hex digits."""
    import hashlib  # loads OpenSSL, which `hub list` has no use for

    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the ways in which writing fails (full disk, no permission) into a StorageError that names the path."""
    try:
        yield
    except OSError as problem:
        hint = "choose another folder"
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            cause = f"the disk is full ({_free_bytes(path):,} bytes free)"
            hint = "free some space, or choose another folder"
        elif isinstance(problem, PermissionError) or problem.errno == errno.EROFS:
            cause = "no permission to write"
        else:
            cause = problem.strerror or str(problem)
        raise StorageError(f"{path}: {cause}", hint=hint) from problem


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn the ways in which looking fails (no permission, too long a name) into a StorageError that names the path."""
    try:
        yield
    except OSError as problem:
        raise StorageError(
            f"{problem.filename or path}: cannot be read: {problem.strerror or problem}",
            hint="let your user read it, or choose another folder",
        ) from problem


def require_space(folder: Path, need: int, what: str) -> None:
    """Raise StorageError unless the disk has room for `need` more bytes and a margin of 5 % and 1 MB."""
    need, have = need + need // 20 + 1_000_000, _free_bytes(folder)
    if need > have:
        raise StorageError(
            f"{folder}: {what} needs {need:,} bytes of disk space, has {have:,}",
            hint="free some space, or choose an output_dir on another disk",
        )


def _free_bytes(path: Path) -> int:
    import shutil  # loads three compressors, which a listing has no use for

    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def is_unfinished(name: str) -> bool:
    """Say whether a file has the name of one that was to appear whole, and whose writer was killed before it did."""
    return re.fullmatch(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp", name) is not None


@contextmanager
def _appearing(path: Path, *, parents: bool = True) -> Iterator[Path]:
    """Give the name of a temporary file, which is renamed over `path` when the block ends well, else removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    with storage_errors(path):
        try:
            if parents and not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            put(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def put(temporary: Path, path: Path) -> None:
    """Rename a file over another one, also over one that is read-only, which Windows by itself refuses."""
    if os.name == "nt":
        with suppress(FileNotFoundError):
            path.chmod(0o666)
    os.replace(temporary, path)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file appear whole or not at all: `write` fills a temporary one, which is then renamed over `path`."""
    with _appearing(path) as temporary:
        write(temporary)
        flush(temporary)


def write_bytes(
    path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True, parents: bool = True
) -> None:
    """Write a file whole or not at all, with permissions `mode`, in as few system calls as possible.

    Without `durable` that holds for killed processes but not for a power cut, and takes no wait for the disk. Without
    `parents` its folder is not made: where there is none, that is a StorageError.
    """
    with _appearing(path, parents=parents) as temporary:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        number = os.open(temporary, flags, mode)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(number, rest) :]
            if durable:
                os.fsync(number)
        finally:
            os.close(number)


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a power cut cannot empty what a rename made visible."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sync_all(paths: Iterable[Path]) -> None:
    """Wait until many files are on the disk: several at once, since a disk writes down together what waits together."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
        for _ in pool.map(flush, paths):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; of names that are not UTF-8, bytes become escapes as in JSON."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def is_line(text: str) -> bool:
    """Say whether a text can be a line of a UTF-8 file: one that is not empty, and not a file's name in other bytes.

    For `str.splitlines`, that is: U+2028 parts lines too.
    """
    return text.splitlines() == [text] and not any("\ud800" <= character <= "\udfff" for character in text)


def license_of(folder: Path) -> str:
    """Give the licence that the front matter of README.md names, as model hubs write it, or "unknown"."""
    path = folder / "README.md"
    front = re.match(r"---[ \t]*\n(.*?)\n---", read_text(path), re.DOTALL) if path.is_file() else None
    found = re.search(r"^license:[ \t]*[\"']?([\w.+-]{1,100})", front[1], re.MULTILINE) if front else None
    return found[1] if found else "unknown"


def run_record(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Give what config.json says of the run in a folder, "environment" and "command" included; None for no run's."""
    path = os.path.join(folder, "config.json")
    if not os.path.lexists(path):  # as in nearly all of the thousands of folders that a set may have
        return None
    try:
        record = json.loads(read_text(Path(path)))
    except (SpecError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"environment", "command"} <= record.keys() else None


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` when the block ends well and vanishes when it does not.

    A folder that stands there already is replaced, and stays as it was until the new one is complete. Where the system
    can do that only in two steps (see `exchange`), a process killed between them leaves the old one as .NAME.….old.
    A link stays one: the folder that it leads to is replaced.
    """
    import shutil

    if "\0" in str(folder):
        raise StorageError(
            f"{str(folder.absolute())!r}: no name has a NUL in it", hint="choose another folder"
        )
    folder = Path(os.path.realpath(folder))
    mark = f"{os.getpid()}-{os.urandom(4).hex()}"
    staging = folder.with_name(f".{folder.name}.{mark}.tmp")
    replaced = folder.with_name(f".{folder.name}.{mark}.old")
    with storage_errors(folder):
        try:
            staging.mkdir(parents=True)
            yield staging
            _sync_all(path for path in staging.rglob("*") if path.is_file())
            if not (folder.exists() and exchange(staging, folder)):
                if folder.exists():
                    os.replace(folder, replaced)
                os.replace(staging, folder)
            with suppress(OSError):  # some network disks cannot, and the folder is there
                flush(folder.parent)
        finally:
            there = os.path.exists  # unlike Path, also for what is no name
            if there(replaced) and not there(folder):
                os.replace(replaced, folder)
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change names in one step, and say whether the system did: Linux does, not on every disk."""
    import ctypes  # what only replacing a folder needs

    here, exchanging = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):  # another system
        return False
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchanging) == 0)
