"""A module as one file, for a machine without a network: `hub export NAME --to FILE`, there `hub install FILE`.

The file is a tar.gz of the module folder with a page about it, `.module.json`, in the format of an index: which files
there must be, with their sha256 and size. The same module gives the same bytes, on every machine and every day.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from hub.errors import IndexFormatError, IntegrityError, StorageError, UsageError
from hub.files import dump_json, sha256_of, storage_errors, write_text
from hub.registry import client, foreign_encoders, owner, resolve
from hub.registry.credentials import redact
from hub.registry.index import MAX_MODULE_BYTES, Module
from hub.registry.manifest import FILE_NAME, Manifest, list_files, problem, problems, refuse_code

PAGE = ".module.json"
SUFFIXES = (".tar.gz", ".tgz")


class Exported(NamedTuple):
    """A module in a file."""

    name: str
    version: str
    file: Path
    sha256: str
    size_bytes: int


def export(reference: str | Path, to: str | Path) -> Exported:
    """Pack a module into the file `to`, which is replaced: a name (installed first when it is not here) or a folder.

    Raises what client.locate raises, IntegrityError for a module whose bytes are not the promised ones, UsageError
    for a URL and for a file that `hub install` would not take, UnsafeFileError for a module with code or links,
    StorageError.
    """
    if "://" in str(to):
        raise UsageError(
            f"--to: expected a file, found {redact(str(to))}",
            hint="export into a file, then copy it to the server",
        )
    to = Path(os.path.expanduser(to)).absolute()
    if not to.name.endswith(SUFFIXES):
        name = re.sub(r"\.(tar(\.\w+)?|tbz2?|txz)$", "", to.name)  # a tar of another kind
        raise UsageError(
            f"--to: expected a file that ends in {' or '.join(SUFFIXES)}, found {to.name!r}",
            hint=f"write {to / 'NAME.tar.gz' if to.is_dir() else name + '.tar.gz'}",
        )
    from hub.registry.archive import pack

    located = client.locate(reference)
    folder = located.folder
    if foreign_encoders.is_published_folder(folder):
        raise UsageError(
            f"{folder}: expected a module folder, found an encoder as others publish it, without {FILE_NAME}",
            hint=f"hub install {folder}/, which makes one, then hub export {located.name}",
        )
    here = resolve.versions_here(located.name).get(located.version)
    promised = here.release.files if here and here.folder == folder else list_files(folder)
    refuse_code(promised, str(folder))
    with storage_errors(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        _sweep(to)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.{owner.mark()}-", dir=to.parent) as work:
            staged = Path(work, "module")
            for file in promised:
                path = staged / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                _link(folder / file.path, path)
            facts = Manifest.read(staged)
            wrong = problems(staged, promised)
            wrong += [problem(staged, weights) for weights in facts.weights if weights not in promised]
            if wrong:
                raise IntegrityError(
                    f"{folder}: {'; '.join(wrong[:3])}",
                    hint=f"hub install {facts.name} puts right what was changed, module.save() what you changed",
                )
            page = facts.module(tuple(sorted(promised, key=attrgetter("path"))))
            write_text(staged / PAGE, dump_json(page.to_dict()))
            packed = Path(work, "packed")
            pack(staged, packed)
            os.replace(packed, to)
    return Exported(facts.name, facts.version, to, sha256_of(to), to.stat().st_size)


def _sweep(to: Path) -> None:
    """Remove what killed exports to this file left beside it."""
    begins = f".{to.name}."
    for left in to.parent.iterdir():
        if left.name.startswith(begins) and owner.is_gone(left.name.removeprefix(begins).rpartition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)


def check_exported(folder: Path, *, archive: str) -> None:
    """Refuse an unpacked export that is not what its page says; a module without a page passes.

    Raises IntegrityError, with what is missing, changed or extra.
    """
    page = folder / PAGE
    if not page.is_file():
        return
    if page.stat().st_size > MAX_MODULE_BYTES:
        raise IntegrityError(f"{archive}: {PAGE}: expected at most {MAX_MODULE_BYTES:,} bytes")
    hint = "export it again, or copy the file again"
    name = Manifest.read(folder).name
    try:
        module = Module.parse(page.read_bytes(), name=name, source=f"{archive}: {PAGE}")
    except IndexFormatError as error:
        raise IntegrityError(error.message, hint=hint) from None
    if len(module.releases) != 1:
        raise IntegrityError(f"{archive}: {PAGE}: expected one release, found {len(module.releases)}")
    if wrong := problems(folder, module.releases[0].files):
        raise IntegrityError(f"{archive} is not what was exported: {'; '.join(wrong[:3])}", hint=hint)


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # another disk, or somebody else's file
        try:
            shutil.copyfile(file, to)
        except FileNotFoundError:
            raise StorageError(f"{file}: no such file", hint="install the module again") from None
