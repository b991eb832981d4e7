"""Features on the disk: rows of arrays by the content of the sample that they are of.

    features/
        3f0c…/              an entry: what one way of computing features gave
            rows-0.npy      float32, a row a sample; several files where there are several outputs
            index.json      the sample of each row, and the sha256 of the files; written last
        files.json          the digests of files of samples, by their times

An entry appears whole by a rename, is checked before it is used, and the least recently used ones go when all of
them together are larger than a bound. What cannot be kept is computed again: nothing depends on what is here, but for
the last digits of texts, whose batches are as long as the longest text of those that were not kept.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hub.errors import HubError
from hub.files import dump_json, sha256_of, staged_folder, write_text
from hub.finetune.digests import Digests

LIMIT = 4 << 30
"""Bytes of all entries together."""

ABANDONED_S = 24 * 3600.0
"""The age of an unfinished entry that nobody writes any more."""

BLOCK = 16 << 20
"""Bytes of rows that are copied at a time."""

INDEX = "index.json"
BOOK = "files.json"
SCHEMA = 1
Rows = tuple[np.ndarray, ...]


class FeatureStore:
    """Entries in a folder; without one, nothing is kept."""

    def __init__(self, folder: Path | None, *, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self.digests = Digests(folder / BOOK if folder else None)

    def rows(
        self, key: str, samples: Sequence[str], compute: Callable[[np.ndarray], Rows], *, about: str = ""
    ) -> Rows:
        """Give a row for each sample, from the entry `key` where it has one, else by `compute(indices)`.

        What is computed is added to the entry, which forgets rows of other samples, the oldest first, where all of them
        would be larger than the bound. `samples` are digests of contents. The arrays may be mapped from files: they
        are not to be written to. `about` says by what preprocessing the samples were read, for `readable`.
        """
        names, there = self._open(key) or ([], ())
        arrays: Sequence[_Rows] = there
        known = set(names)
        new: dict[str, int] = {}
        for i, sample in enumerate(samples):
            if sample not in known:
                new.setdefault(sample, i)
        if new:
            fresh = compute(np.array(list(new.values()), np.int64))
            arrays = [_Joined(*both) for both in zip(there, fresh, strict=True)] if names else fresh
            names = [*names, *new]
            kept = self._open(key) if self._keep(key, names, arrays, set(samples), about) else None
            if kept and set(kept[0]).issuperset(samples):  # another process may have put its own there since
                names, arrays = kept  # what is mapped takes no memory of its own
        row_of = {sample: row for row, sample in enumerate(names)}
        chosen = np.array([row_of[sample] for sample in samples], np.int64)
        return tuple(_taken(array, chosen) for array in arrays)

    def readable(self, about: str) -> set[str]:
        """Give the samples that were read before by this preprocessing: they can be read."""
        found: set[str] = set()
        for path in self.folder.glob(f"*/{INDEX}") if self.folder else ():
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                index = json.loads(path.read_bytes())
                if index["schema"] == SCHEMA and index["about"] == about:
                    found.update(index["samples"])
        return found

    def _open(self, key: str) -> tuple[list[str], Rows] | None:
        """Give the samples and rows of an entry; None when there is none that is whole."""
        if self.folder is None:
            return None
        place = self.folder / key
        try:
            index = json.loads((place / INDEX).read_bytes())
            if index["schema"] != SCHEMA:
                return None
            for name, digest in index["files"].items():
                if sha256_of(place / name) != digest:
                    return None
            rows = tuple(
                np.load(place / name, mmap_mode="r", allow_pickle=False) for name in sorted(index["files"])
            )
            samples = [str(sample) for sample in index["samples"]]
            if any(len(array) != len(samples) for array in rows):
                return None
            os.utime(place / INDEX)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, HubError):
            return None  # absent, cut short or of another making: it is computed again
        return samples, rows

    def _keep(
        self, key: str, names: Sequence[str], arrays: Sequence[_Rows], asked: set[str], about: str
    ) -> bool:
        """Write an entry if there is room, and say so; that it cannot be kept harms nobody.

        What has no room are rows that were not asked for now, the oldest of them; those that were stand last.
        """
        row_bytes = sum(array[:1].nbytes for array in arrays)
        wanted = [row for row, name in enumerate(names) if name in asked]
        others = [row for row, name in enumerate(names) if name not in asked]
        room = self.limit // max(1, row_bytes) - len(wanted)
        if self.folder is None or room < 0:
            return False
        order = np.array(others[max(0, len(others) - room) :] + wanted, np.int64)
        size = len(order) * row_bytes
        with suppress(HubError, OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size, but=key)
            if shutil.disk_usage(self.folder).free < 2 * size:
                return False
            with staged_folder(self.folder / key) as staging:
                files = {}
                for number, array in enumerate(arrays):
                    path = staging / f"rows-{number}.npy"
                    _write(path, array, order)
                    files[path.name] = sha256_of(path)
                index: dict[str, Any] = {
                    "schema": SCHEMA,
                    "about": about,
                    "files": files,
                    "samples": [names[row] for row in order.tolist()],
                }
                write_text(staging / INDEX, dump_json(index))
            return True
        return False

    def _make_room(self, size: int, *, but: str) -> None:
        assert self.folder is not None
        for left in self.folder.glob(".*.tmp"):  # by killed processes
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(left, ignore_errors=True)
        entries = []
        for index in self.folder.glob(f"*/{INDEX}"):
            with suppress(OSError):
                total = sum(path.stat().st_size for path in index.parent.iterdir())
                entries.append((index.stat().st_mtime, total, index.parent))
        used = sum(total for _, total, place in entries if place.name != but)
        for _, total, place in sorted(entries):
            if used + size <= self.limit:
                return
            if place.name != but:
                shutil.rmtree(place, ignore_errors=True)
                used -= total


class _Joined:
    """The rows of two arrays, one behind the other, which are put together when they are asked for."""

    def __init__(self, old: np.ndarray, new: np.ndarray) -> None:
        self.old, self.new = old, new

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Give the rows of a slice, or of an array of their numbers."""
        rows = np.arange(len(self.old) + len(self.new))[rows]
        is_new = rows >= len(self.old)
        found = np.empty((len(rows), *self.new.shape[1:]), self.new.dtype)
        for start in range(0, len(rows), step := _at_once(self.new)):
            part, own = rows[start : start + step], is_new[start : start + step]
            found[start : start + step][~own] = self.old[part[~own]]
            found[start : start + step][own] = self.new[part[own] - len(self.old)]
        return found


_Rows = np.ndarray | _Joined


def _at_once(array: np.ndarray) -> int:
    """Give how many rows make up BLOCK bytes."""
    return max(1, BLOCK // max(1, array[:1].nbytes))


def _taken(array: _Rows, rows: np.ndarray) -> np.ndarray:
    """Give the rows of these numbers, without a copy where they follow one another in an array."""
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return array[rows[0] : rows[0] + len(rows)]
    return array[rows]


def _write(path: Path, array: _Rows, rows: np.ndarray) -> None:
    """Write rows as an .npy file, a few at a time: all of them may not fit into memory."""
    one = array[:1]
    shape = (len(rows), *one.shape[1:])
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(one.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), step := _at_once(one)):
            file.write(np.ascontiguousarray(array[rows[start : start + step]]).tobytes())
