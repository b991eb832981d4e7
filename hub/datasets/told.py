"""Data with what cannot be guessed of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, repr=False)
class Table:
    """A table, or a folder of tables, with the names of its columns. It may stand wherever a path of data may:

        module.finetune(hub.datasets.Table("reviews.csv", text_column="comment", label_column="stars"))

    What is None is found by its usual names. `text_column` are two for pairs of texts. With `label_separator` a cell
    has several labels; `encoding` is that of files of texts which are not UTF-8.
    """

    path: str | Path
    path_column: str | None = None
    text_column: str | tuple[str, str] | None = None
    label_column: str | None = None
    label_separator: str | None = None
    encoding: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What is said of it, as the arguments of `load`."""
        named = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {name: value for name, value in named.items() if value is not None}

    def __repr__(self) -> str:
        words = [repr(str(self.path)), *(f"{name}={value!r}" for name, value in self.told.items())]
        return f"hub.datasets.Table({', '.join(words)})"
