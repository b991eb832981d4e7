"""Checkpoints on the disk: each appears whole or not at all, is checked before use, and survives a kill at any moment.

    checkpoints/
        step-000000120/     a checkpoint; saved again at the same step: step-000000120-1
            model.safetensors, optimizer.safetensors, …     one file for each group of arrays
            record.json     everything that is no array
            manifest.json   size and sha256 of every file, written last
        .lock, .owner       held by the process that trains here, and who that is

The order is that of the steps, never that of time or of text. No two checkpoints that are kept share a file, so a
damaged block on the disk costs one of them only. Nothing here imports paddle.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from filelock import FileLock, Timeout

from hub.errors import HubError, IntegrityError, NotFoundError, StorageError, UsageError, did_you_mean
from hub.files import dump_json, flush, read_text, require_space, sha256_of, storage_errors
from hub.modules import safetensors_writer
from hub.modules.safetensors_header import read_header

LOG = logging.getLogger(__name__)
Groups = Mapping[str, Mapping[str, np.ndarray]]

SCHEMA = 1
RECORD, MANIFEST, OWNER = "record.json", "manifest.json", ".owner"
DTYPES = {
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
    "complex64",
}  # fmt: skip

_FOLDER = re.compile(r"step-(\d{9,})(?:-([1-9]\d*))?", re.ASCII)
_GROUP = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_FILE = re.compile(rf"{_GROUP.pattern}\.safetensors|{re.escape(RECORD)}", re.ASCII)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def failpoint(moment: str) -> None:
    """Do nothing between two steps of a save. A test puts something in its place that kills the process."""


class Place(NamedTuple):
    """Where a checkpoint stands among the others: its step, and how often that step was saved before."""

    step: int
    again: int = 0

    @property
    def name(self) -> str:
        return f"step-{self.step:09d}" + (f"-{self.again}" if self.again else "")


class Promise(NamedTuple):
    """What the manifest says of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every byte was checked when it was opened."""

    folder: Path
    step: int
    record: dict[str, Any]
    files: Mapping[str, Promise]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(sorted(name.removesuffix(".safetensors") for name in self.files if name != RECORD))

    def load(self, group: str) -> dict[str, np.ndarray]:
        """Give the arrays of a group, in memory and writable.

        Raises NotFoundError for a group that it does not have, UnsafeFileError for a file that is not what it must
        be, StorageError when the checkpoint is gone.
        """
        if group not in self.groups:
            raise NotFoundError(
                f"{self.folder}: expected one of the groups {', '.join(self.groups)}, found {group!r}",
                hint=did_you_mean(group, self.groups),
            )
        path = self.folder / f"{group}.safetensors"
        read_header(path)
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
        return arrays


class Checkpoints:
    """The checkpoints of one run. Readers need no lock; who saves holds it, see `owned`."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 2,
        say: Callable[[str], object] = LOG.warning,
    ) -> None:
        """Keep the newest `keep` in `folder`; `say` is told of each checkpoint that is damaged."""
        if keep < 1:
            raise UsageError(f"keep: expected at least 1 checkpoint, found {keep}")
        self.folder, self.keep, self.say = folder.absolute(), keep, say
        self._promises: Mapping[str, Promise] = {}  # of the checkpoint that this object saved or opened last
        self._damaged: set[Path] = set()
        self._lockless = False
        self._lock = FileLock(self.folder / ".lock", thread_local=False)

    @contextmanager
    def owned(self, *, wait_s: float = 2.0) -> Iterator[None]:
        """Be the only process that saves here. The lock goes with the process, however it ends; it may be nested.

        `wait_s` is for a process that was just killed: the system needs a moment to take back what it held.
        Raises StorageError that names the owner when the lock is still taken then.
        """
        nested = self._lock.is_locked
        try:
            with storage_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=wait_s)
        except Timeout:
            raise StorageError(
                f"{self.folder}: {self._owner()} trains into this folder",
                hint="wait for it or end it, or choose another folder",
            ) from None
        except OSError as problem:
            if problem.errno not in _NO_LOCKS:
                raise StorageError(f"{self.folder}: no lock: {problem.strerror or problem}") from problem
            if not self._lockless:
                self.say(f"{self.folder}: this disk has no locks: let only one process train into it")
            self._lockless = True
        try:
            if not nested:
                with storage_errors(self.folder):
                    who = f"process {os.getpid()} on {socket.gethostname()}"
                    (self.folder / OWNER).write_text(who, encoding="utf-8")
            yield
        finally:
            if not nested:
                with suppress(OSError):  # a name that is left behind harms nobody
                    (self.folder / OWNER).unlink()
            self._lock.release()

    def _owner(self) -> str:
        try:
            return read_text(self.folder / OWNER)[:200] or "another process"
        except HubError:  # it has the lock and has not come to write its name
            return "another process"

    def newest(self) -> Checkpoint | None:
        """Give the newest checkpoint that is whole, None without one. Damaged ones are told of and passed over."""
        self._promises = {}
        for place, folder in reversed(self._listed()):
            try:
                checkpoint = _open(folder, place)
            except (HubError, OSError) as problem:
                if folder.exists():  # else its owner has removed it meanwhile
                    self._damaged.add(folder)
                    self.say(f"a checkpoint is passed over: {problem}")
            else:
                self._promises = checkpoint.files
                return checkpoint
        return None

    def save(
        self, step: int, groups: Groups, record: Mapping[str, Any], *, unchanged: Collection[str] = ()
    ) -> Path:
        """Write a checkpoint and give its folder; those before it stay as they are until it is complete.

        Then all go but the newest `keep`, and with them those that `newest` found damaged and those of a later step,
        which are of a run that was given up.

        Args:
            groups: arrays by group and name, in any memory order, of the types in DTYPES; bfloat16 is as paddle gives
                it to numpy, uint16.
            record: what JSON can hold; NaN and infinities are kept.
            unchanged: groups that are as in the checkpoint saved or opened last. Where an older file with just that
                content is about to go, it is linked into the new checkpoint and not written again.

        Raises StorageError when the disk has no room (before the first byte where that can be known), when it
        refuses, and when another process trains into the folder; UsageError for what cannot be stored.
        """
        text = _checked(step, groups, record, unchanged)
        with self.owned(), storage_errors(self.folder):
            failpoint("owned")
            for left in self.folder.glob(".step-*"):  # by killed processes
                shutil.rmtree(left, ignore_errors=True)
            listed = self._listed()
            place = Place(step, 1 + max((at.again for at, _ in listed if at.step == step), default=-1))
            outgoing = self._outgoing(place, listed)
            target = self.folder / place.name
            staging = target.with_name(f".{place.name}.{_mark()}.new")
            try:
                staging.mkdir()
                failpoint("folder made")
                taken = {
                    name: promise
                    for name in unchanged
                    if (promise := self._take_over(f"{name}.safetensors", staging, outgoing))
                }
                rest = {name: arrays for name, arrays in groups.items() if name not in taken}
                require_space(self.folder, size_of(rest) + len(text), "a checkpoint")
                files = {f"{name}.safetensors": promise for name, promise in taken.items()}
                _fill(staging, step, rest, text, files)
                os.replace(staging, target)
                failpoint("renamed")
                flush(self.folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            self._promises = files
            self._remove(outgoing)
        return target

    def clear(self) -> None:
        """Remove every checkpoint, because a new run begins here."""
        with self.owned():
            self._remove([folder for _, folder in self._listed()])

    def _listed(self) -> list[tuple[Place, Path]]:
        """Give every checkpoint, damaged or not, oldest first."""
        found = []
        for folder in self.folder.glob("step-*"):
            if match := _FOLDER.fullmatch(folder.name):
                place = Place(int(match[1]), int(match[2] or 0))
                if place.name == folder.name and folder.is_dir():
                    found.append((place, folder))
        return sorted(found)

    def _outgoing(self, place: Place, listed: list[tuple[Place, Path]]) -> list[Path]:
        """Give the checkpoints that are to go once there is one at `place`."""
        before = [folder for at, folder in listed if at < place and folder not in self._damaged]
        kept = before[max(0, len(before) - self.keep + 1) :]
        return [folder for _, folder in listed if folder not in kept]

    def _take_over(self, name: str, staging: Path, outgoing: list[Path]) -> Promise | None:
        """Link the file with the content that the last checkpoint has, from one that goes; None without such a one."""
        promise = self._promises.get(name)
        for folder in outgoing:
            try:
                if _keeps(promise, folder / name):
                    os.link(folder / name, staging / name)
                    failpoint(f"{name} linked")
                    return promise
            except OSError:  # a file that cannot be read, a disk without links: it is written again
                continue
        return None

    def _remove(self, folders: list[Path]) -> None:
        """Remove checkpoints; at no moment is there half a one under the name of a whole one."""
        for folder in folders:
            aside = folder.with_name(f".{folder.name}.{_mark()}.old")
            try:
                os.replace(folder, aside)
                failpoint("moved aside")
                shutil.rmtree(aside)
            except OSError as problem:  # the new checkpoint is there, and that is what matters
                self.say(f"{folder}: cannot be removed: {problem.strerror or problem}")
            failpoint("removed")


def size_of(groups: Groups) -> int:
    """Give how many bytes the files of these groups take, a little more rather than less."""
    return sum(
        4096 + sum(array.nbytes + len(json.dumps(name)) + 150 for name, array in arrays.items())
        for arrays in groups.values()
    )


def _checked(step: int, groups: Groups, record: Mapping[str, Any], unchanged: Collection[str]) -> bytes:
    """Give the record as JSON. Raises UsageError for anything that could not be read back as it is."""
    if step < 0:
        raise UsageError(f"step: expected 0 or more, found {step}")
    for group, arrays in groups.items():
        if not _GROUP.fullmatch(group):
            raise UsageError(f"group: expected small letters, digits and _, found {group!r}")
        for name, array in arrays.items():
            if array.dtype.name not in DTYPES:
                raise UsageError(
                    f"{group}, tensor {name!r}: expected one of the types {', '.join(sorted(DTYPES))}, "
                    f"found {array.dtype.name}"
                )
            if name == "__metadata__":
                raise UsageError(f"{group}: the name {name!r} means something else in a .safetensors file")
    if strange := set(unchanged) - set(groups):
        raise UsageError(
            f"unchanged: expected some of {', '.join(groups)}, found {', '.join(sorted(strange))}"
        )
    try:
        return json.dumps(record).encode()
    except (TypeError, ValueError) as problem:
        raise UsageError(f"record: expected what JSON can hold: {problem}") from problem


def _fill(staging: Path, step: int, groups: Groups, text: bytes, files: dict[str, Promise]) -> None:
    """Write the files and the manifest, and wait until all is on the disk. `files` has those that are there already."""
    for group, arrays in groups.items():
        path = staging / f"{group}.safetensors"
        safetensors_writer.write(path, arrays)
        files[path.name] = Promise(path.stat().st_size, sha256_of(path))
        failpoint(f"{path.name} written")
    (staging / RECORD).write_bytes(text)
    files[RECORD] = Promise(len(text), sha256_of(staging / RECORD))
    for name in files:
        flush(staging / name)
    failpoint("before the manifest")
    listed = {name: promise._asdict() for name, promise in sorted(files.items())}
    manifest = {"schema": SCHEMA, "step": step, "files": listed}
    (staging / MANIFEST).write_text(dump_json(manifest), encoding="utf-8")
    failpoint("after the manifest")
    flush(staging / MANIFEST)
    flush(staging)
    failpoint("before the rename")


def _open(folder: Path, place: Place) -> Checkpoint:
    """Give a checkpoint, every byte of it checked. Raises HubError or OSError that says what is wrong with it."""
    path = folder / MANIFEST
    manifest = _read_json(path)
    files = {}
    match manifest:
        case {"schema": 1, "step": place.step, "files": {"record.json": _, **_rest}}:
            for name, entry in manifest["files"].items():
                match entry:
                    case {"size": int(size), "sha256": str(sha256)} if _FILE.fullmatch(name):
                        files[name] = Promise(size, sha256)
                    case _:
                        raise IntegrityError(
                            f"{path}: expected size and sha256 of a file, found {name!r:.80}"
                        )
        case _:
            raise IntegrityError(f"{path}: expected the manifest of step {place.step}, schema {SCHEMA}")
    for name, promise in files.items():
        if not _keeps(promise, folder / name):
            raise IntegrityError(f"{folder / name}: missing or damaged: not what the manifest says")
    return Checkpoint(folder, place.step, _read_json(folder / RECORD), files)


def _read_json(path: Path) -> Any:
    if not _is_plain(path):
        raise IntegrityError(f"{path}: missing, or no file")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise IntegrityError(f"{path}: expected JSON: {problem}") from None


def _keeps(promise: Promise | None, path: Path) -> bool:
    """Say whether the file is there and is what was promised, to the last bit."""
    return (
        promise is not None
        and _is_plain(path)
        and path.stat().st_size == promise.size
        and sha256_of(path) == promise.sha256
    )


def _is_plain(path: Path) -> bool:
    """Say whether it is a file and no link, nor a pipe, which whoever opens it waits at for ever."""
    return path.is_file() and not path.is_symlink()


def _mark() -> str:
    return f"{os.getpid()}-{os.urandom(4).hex()}"
