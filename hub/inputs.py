"""What a user may hand to predict: a path, a folder, a glob, a picture, an array, a sound, or a list of these."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hub.datasets.kinds import PICTURES, Kind
from hub.errors import InputError


def expand(given: Any, kind: Kind = PICTURES) -> list[Any]:
    """Give one item for each input, in order: folders and globs become their files of the kind, sorted by name.

    A path that does not exist stays as it is: it becomes an error entry of its own. A folder without such files
    and a glob without matches are each an InputError, since they would vanish.
    """
    if isinstance(given, str | Path):
        return list(_expand_path(given, kind))
    if isinstance(given, Iterable) and not hasattr(given, "__array__") and kind.in_memory(given) is None:
        return [
            item
            for one in given
            for item in (_expand_path(one, kind) if isinstance(one, str | Path) else [one])
        ]
    return [given]


def describe(given: Any, position: int) -> str:
    """Give the text that stands for an input in results and messages."""
    if isinstance(given, str | Path):
        return str(given)
    name = getattr(given, "filename", None)
    return str(name) if name else f"input {position}"


def _expand_path(given: str | Path, kind: Kind) -> list[str | Path]:
    path = Path(given)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in kind.suffixes and p.is_file())
        if not found:
            raise InputError(f"{path}: no {kind.name} in this folder ({', '.join(sorted(kind.suffixes))})")
        return list(found)
    if not path.exists() and any(sign in str(given) for sign in "*?["):
        matches = sorted(Path(match) for match in glob.glob(str(given), recursive=True))
        if not matches:
            raise InputError(f"{given}: no file matches")
        return list(matches)
    return [given]
