"""Where nothing may be written: the folders of data that are read with every folder in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hub.datasets import tables, words
from hub.datasets.folders import RUNS, entries_of
from hub.datasets.mask_files import is_folder_of_masks
from hub.datasets.sounds import is_esc50
from hub.datasets.sources import ARRAYS, LIST_SUFFIXES, ROLES, part_folders
from hub.errors import DataError, UsageError

_LISTS = ("_list.txt", *LIST_SUFFIXES, ARRAYS, *tables.SUFFIXES, *words.OWN_SUFFIXES)
"""How the files end that name what is read of a folder, or hold it: of other folders in it nothing is then read."""


def require_outside(place: str | Path, *sources: Any) -> None:
    """Raise UsageError for a place to write to that is data the next time that one of `sources` is read.

    That is a folder of classes or of pictures, or one in it. Those in a folder called `runs`, where `finetune` makes
    its own, are no data. `sources` are what data is given as.
    """
    where = Path(os.path.realpath(os.path.expanduser(place)))
    for source in sources:
        if isinstance(source, Mapping):
            require_outside(place, *source.values())
        elif isinstance(source, str | os.PathLike) and source and os.path.isdir(os.path.expanduser(source)):
            data = Path(os.path.realpath(os.path.expanduser(source)))
            if not where.is_relative_to(data) or where.parent.name == RUNS:
                continue
            if any(where.is_relative_to(folder) for folder in _read_with_all_in_them(data)):
                raise UsageError(
                    f"{Path(os.path.expanduser(place)).absolute()}: expected a folder outside the data, "
                    f"found one in {data}",
                    hint="choose another output_dir (--output): the next run would read it as data",
                )


def _read_with_all_in_them(data: Path) -> list[Path]:
    """Give the folders of a data set in which each other folder is a class, or is looked through for pictures."""
    parts: Mapping[str, Path] = {}
    with suppress(OSError, DataError):  # whoever reads it says so
        files = {entry.name.lower() for entry in entries_of(data) if entry.is_file()}
        if any(name + ending in files for name in ROLES["train"] for ending in _LISTS):
            return []
        if is_esc50(data) or is_folder_of_masks(data):
            return []
        parts = part_folders(data)
    return [*parts.values()] if len(parts) > 1 else [data]
