"""Layouts in which sounds are published: ESC-50's folder, and PaddleHub's arrays in .npz files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from hub.datasets.base import Rows
from hub.datasets.kinds import SOUNDS
from hub.datasets.lists import read_names
from hub.datasets.tables import Columns, read_table
from hub.errors import DataError, UsageError
from hub.transforms import audio

ESC50_TABLE = Path("meta", "esc50.csv")
TEST_FOLD = 5
"""Of ESC-50, where none is asked for. Clips of one recording are all in one fold."""
MOST_TIMES = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""How many times a method of zip can make data smaller: https://zlib.net/zlib_tech.html. The others have no limit."""
BLOCK = 1 << 20
"""Bytes that are unpacked at once where a file has to be read to know how many it holds."""


def is_esc50(folder: Path) -> bool:
    """Say whether a folder has ESC-50's layout: meta/esc50.csv beside audio/."""
    return (folder / ESC50_TABLE).is_file() and (folder / "audio").is_dir()


def read_esc50(folder: Path, *, fold: int = TEST_FOLD) -> dict[str, Rows]:
    """Give one fold as test and the others as train. Raises UsageError for a fold that the table does not have."""
    table = folder / ESC50_TABLE
    rows = read_table(
        table, Columns("filename", "category"), SOUNDS, folder=folder / "audio", extra=("fold",)
    )
    folds = rows.extra.get("fold", [])
    known = sorted(set(folds))
    if str(fold) not in known:
        raise UsageError(f"fold: expected one of {', '.join(known) or '(there are none)'}, found {fold}")
    parts = {}
    for role in ("train", "test"):
        chosen = [k for k, each in enumerate(folds) if (each == str(fold)) == (role == "test")]
        parts[role] = rows.part(chosen)
    parts["test"].problems = []  # they are those of the table, which train has
    return parts


def read_arrays(path: Path, *, rate: int | None = None) -> Rows:
    """Give the sounds of an .npz file with `waveforms` [N, samples] and `labels` [N], as PaddleHub has them.

    The file may say its sample rate as `sample_rate`; else `rate` must. Class numbers count the lines of
    label_list.txt beside the file. Nothing is unpickled. Raises DataError for other contents.
    """
    _require_honest(path)
    hint = "save the waveforms as one array of numbers, or as a folder of .wav files"
    with (
        _damage_named(path, "cannot be read without running code, or is damaged", hint),
        np.load(path, allow_pickle=False) as arrays,
    ):
        missing = [name for name in ("waveforms", "labels") if name not in arrays]
        if missing:
            raise DataError(f"{path}: expected arrays called waveforms and labels, found {', '.join(arrays)}")
        waveforms, labels = arrays["waveforms"], arrays["labels"]
        stored = _rate_of(path, arrays["sample_rate"]) if "sample_rate" in arrays else None
    if waveforms.ndim != 2 or labels.shape != waveforms.shape[:1] or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{path}: expected waveforms [N, samples] and labels [N] as class numbers or names, found shapes "
            f"{list(waveforms.shape)} and {list(labels.shape)} ({labels.dtype})"
        )
    if rate is not None and stored is not None and rate != stored:
        raise UsageError(f"rate: {path} says {stored} Hz, found {rate}")
    known = stored or rate
    if known is None:
        raise DataError(
            f"{path}: does not say its sample rate",
            hint='give it: load(…, kind="sounds", rate=44100)',
        )
    rows = Rows(str(path), kind=SOUNDS, numbers=list(range(len(labels))))
    rows.labels = read_names(path.parent, rows.problems)
    rows.paths, rows.raw = [None] * len(labels), labels.tolist()
    rows.fetch = lambda number: (waveforms[number], known)
    return rows


def _require_honest(path: Path) -> None:
    """Raise DataError for an array whose header promises more bytes than its file holds: it would all be allocated."""
    with (
        _damage_named(path, "expected an .npz file, found one that is damaged"),
        zipfile.ZipFile(path) as archive,
    ):
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
                promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
                there = _most_in(file, member, promised)
            if not dtype.hasobject and promised > there:
                raise DataError(
                    f"{path}: {member.filename} promises {promised:,} bytes, found at most {there:,}"
                )


def _most_in(file: IO[bytes], member: zipfile.ZipInfo, wanted: int) -> int:
    """Give how many bytes a member can hold at most, or at least `wanted`: its directory may lie as well."""
    if member.compress_type in MOST_TIMES:
        return min(member.file_size, member.compress_size * MOST_TIMES[member.compress_type])
    there = 0
    while there < wanted and (block := file.read(BLOCK)):
        there += len(block)
    return there


@contextmanager
def _damage_named(path: Path, what: str, hint: str = "") -> Iterator[None]:
    """Raise DataError for whatever zipfile, what it unpacks with and numpy raise for a damaged file: a dozen types."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as problem:
        raise DataError(f"{path}: {what}: {problem}", hint=hint) from None


def _rate_of(path: Path, stored: np.ndarray) -> int:
    low, high = audio.RATES
    rate = float(stored.item()) if stored.size == 1 and stored.dtype.kind in "iuf" else math.nan
    if not (rate.is_integer() and low <= rate <= high):
        raise DataError(
            f"{path}: sample_rate: expected a whole number from {low:,} to {high:,} Hz, found {stored.tolist()!r}"
        )
    return int(rate)
