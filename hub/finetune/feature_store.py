"""Features on the disk: rows of arrays by the content of the sample that they are of.

    features/
        3f0c…/              an entry: what one way of computing features gave
            rows-0.npy      float32, a row a sample; several files where there are several outputs
            index.json      the sample of each row, and the sha256 of the files; written last
        files.json          the digests of files of samples, by their times

An entry appears whole by a rename, is checked before it is used, and the least recently used ones go when all of
them together are larger than a bound. What cannot be kept is computed again: nothing depends on what is here.
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

        What is computed is added to the entry. `samples` are digests of contents. The arrays may be mapped from files:
        they are not to be written to. `about` says by what preprocessing the samples were read, for `readable`.
        """
        kept, there = self._open(key) or ([], ())
        if kept == list(samples):
            return there
        row_of = {sample: row for row, sample in enumerate(kept)}
        missing = [i for i, sample in enumerate(samples) if sample not in row_of]
        if missing:
            row_of |= {samples[i]: len(kept) + n for n, i in enumerate(missing)}
            fresh = compute(np.array(missing, np.int64))
            there = tuple(map(np.concatenate, zip(there, fresh, strict=True))) if there else fresh
            self._keep(key, [*kept, *(samples[i] for i in missing)], there, about)
            if not kept and (opened := self._open(key)):  # what is mapped takes no memory of its own
                return opened[1]
        chosen = np.array([row_of[sample] for sample in samples], np.int64)
        return tuple(array[chosen] for array in there)

    def readable(self, about: str) -> set[str]:
        """Give the samples that were read before by this preprocessing: they can be read."""
        found: set[str] = set()
        for path in self.folder.glob(f"*/{INDEX}") if self.folder else ():
            with suppress(OSError, ValueError, KeyError, TypeError):
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
        except (OSError, ValueError, KeyError, TypeError, AttributeError, HubError):
            return None  # absent, cut short or of another making: it is computed again
        return samples, rows

    def _keep(self, key: str, samples: Sequence[str], rows: Rows, about: str) -> None:
        """Write an entry if there is room; that it cannot be kept harms nobody."""
        size = sum(array.nbytes for array in rows)
        if self.folder is None or size > self.limit:
            return
        with suppress(HubError, OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size, but=key)
            if shutil.disk_usage(self.folder).free < 2 * size:
                return
            with staged_folder(self.folder / key) as staging:
                files = {}
                for number, array in enumerate(rows):
                    path = staging / f"rows-{number}.npy"
                    np.save(path, array, allow_pickle=False)
                    files[path.name] = sha256_of(path)
                index: dict[str, Any] = {
                    "schema": SCHEMA,
                    "about": about,
                    "files": files,
                    "samples": list(samples),
                }
                write_text(staging / INDEX, dump_json(index))

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
