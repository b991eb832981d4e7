"""What a source of modules is: it lists, finds and fetches, and is believed nothing; the cache checks every byte."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from hub.registry.index import File, Module, Summary


class Source(Protocol):
    """One place that modules come from."""

    name: str
    """What users see: a folder, or a URL without password."""

    needs_network: bool
    """Whether `fetch` opens a connection, so that HUB_OFFLINE can refuse before anything is done."""

    def search(self) -> list[Summary]:
        """Give one row for each module."""
        ...

    def find(self, name: str) -> Module | None:
        """Give all releases of a module, None when this source does not know it."""
        ...

    def fetch(
        self, name: str, version: str, files: Sequence[File], to: Path, *, advance: Callable[[int], object]
    ) -> Generator[tuple[File, Path], None, None]:
        """Give each file as soon as it is complete in the folder `to`; several may be under way at once.

        `advance` is called with the number of bytes that have arrived since the last call.
        """
        ...
