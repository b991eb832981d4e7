"""Where an installed or locked module came from, as a source to go to again: archives, folders, hf, git, paddlehub.

An index is no such place: it is asked by the name of the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hub.errors import BadReferenceError
from hub.registry import foreign_encoders
from hub.registry.index import File, Module, Release
from hub.registry.manifest import FILE_NAME
from hub.registry.reference import Reference
from hub.registry.sources.folder import FolderSource
from hub.registry.workspace import temporary


def origin_of(source: str) -> Reference | None:
    """Give the one place that a record or a lock names, None for an index and for files that are not there any more."""
    try:
        reference = Reference.parse(source)
        if reference.kind == "url" and "#sha256=" not in reference.location:  # an index has a URL too
            name = urlsplit(reference.location).path.rpartition("/")[2]
            return reference if Reference.parse(f"./{name}").kind == "archive" else None
    except BadReferenceError:
        return None
    path = Path(reference.location)
    is_module = (path / FILE_NAME).is_file() or foreign_encoders.is_published_folder(path)
    is_there = {"name": False, "folder": is_module, "archive": path.is_file()}
    return reference if is_there.get(reference.kind, True) else None


@contextmanager
def fetched(origin: Reference) -> Iterator[FolderSource]:
    """Give the module of one place as a source, for as long as the block lasts. Raises what that place raises."""
    if origin.kind == "folder":
        yield FolderSource(Path(origin.location))
        return
    from hub.registry.sources import afar

    with temporary(origin.kind) as work:
        found = afar.fetch(origin, work)
        yield FolderSource(found.folder, name=found.origin)


def release_of(module: Module, name: str, version: str, files: Sequence[File]) -> Release | None:
    """Give the release that a place has, if it is this version of this module with exactly these files."""
    release = module.release(version) if module.name == name else None
    return release if release and set(release.files) == set(files) else None
