"""One module from wherever a reference leads that is no name and no folder: archives, URLs, hf, git, paddlehub."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from hub import settings
from hub.errors import NotFoundError
from hub.registry.manifest import FILE_NAME
from hub.registry.reference import Reference
from hub.registry.sources.fetched import Fetched


def fetch(reference: Reference, work: Path) -> Fetched:
    """Put the module folder that a reference leads to below `work`; nothing of it is visible or recorded yet.

    Raises what the source raises: NotFoundError, TransferError, OfflineError, IntegrityError, UnsafeFileError, ….
    """
    from hub.registry.sources import git, huggingface, paddlehub

    match reference.kind:
        case "hf":
            return huggingface.fetch(reference, work)
        case "git":
            return git.fetch(reference, work)
        case "paddlehub":
            return paddlehub.fetch(reference, work)
        case _:
            return _unpacked(reference, work)


def _unpacked(reference: Reference, work: Path) -> Fetched:
    """Unpack an archive: of a module folder, or of one folder that is one."""
    from hub.registry.archive import unpack
    from hub.registry.credentials import redact
    from hub.registry.export import check_exported

    is_url = reference.kind == "url"
    archive = (
        _download(reference, work) if is_url else Path(os.path.expanduser(reference.location)).absolute()
    )
    if not archive.is_file():
        hint = f"for the folder write {reference}/" if archive.is_dir() else "give the path of an archive"
        raise NotFoundError(f"{archive}: no such file", hint=hint)
    _, marked, digest = reference.location.partition("#sha256=")
    origin = f"{redact(reference.location)}{marked}{digest}" if is_url else str(archive)
    folder = work / "unpacked"
    unpack(archive, folder)
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
    if not (folder / FILE_NAME).is_file():
        raise NotFoundError(
            f"{origin}: expected a module, found an archive without {FILE_NAME}",
            hint="hub export packs a module folder",
        )
    check_exported(folder, archive=origin)
    return Fetched(folder, origin)


def _download(reference: Reference, work: Path) -> Path:
    from hub.registry import download

    url, _, sha256 = reference.location.partition("#sha256=")
    to = work / f"archive{PurePosixPath(urlsplit(url).path).suffix}"
    return download.fetch(
        [url], to=to, partials=settings.home() / "tmp", sha256=sha256 or None, durable=False
    ).path
