"""What the registry needs to know of a module folder: the facts in its module.yaml and the bytes of its files.

The model arm reads the whole of module.yaml (hub/modules/spec.py); the registry looks at what it stores and shows,
so that a folder of any task can be published and installed on a machine without paddle. By the same rules
(hub/naming.py), but for keys and requirements that it does not know: a newer hub may have written them, and reads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NoReturn

from hub.errors import IntegrityError, NotFoundError, SpecError, StorageError, UnsafeFileError, did_you_mean
from hub.files import read_yaml, reading_errors, sha256_of
from hub.naming import A_NAME, is_module_name, is_safe_path
from hub.registry.index import MAX_FILES, File, Module, Release, confused_paths, read_requires
from hub.registry.reference import ARCHIVES
from hub.registry.strict import Place, one_line

FILE_NAME = "module.yaml"
MOST_BESIDE = 1000
"""Folders beside a missing one that are looked into for the module that was meant."""


@dataclass(frozen=True)
class Manifest:
    """The facts of a module.yaml that the registry stores and shows."""

    name: str
    version: str
    task: str
    summary: str
    license: str
    requires: Mapping[str, str]
    weights: tuple[File, ...]
    """The files whose bytes it promises: the weights, and what the preprocessing reads."""

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read folder/module.yaml.

        Raises NotFoundError when there is none, SpecError with the place that is wrong, StorageError for a folder that
        nobody may look into.
        """
        path = folder / FILE_NAME
        with reading_errors(path):
            is_there = path.is_file()
        if not is_there:
            found = "which has none" if folder.is_dir() else "which is no folder"
            hint = "module.save() writes them"
            if folder.is_file():
                hint = f"an archive ends in {', '.join(ARCHIVES)}"
            elif not folder.exists():
                hint = did_you_mean(folder.name, _beside(folder), before=f"{folder.parent}{os.sep}") or hint
            of_a_run = folder / "best"  # `hub finetune --output FOLDER` writes the module there
            if (of_a_run / FILE_NAME).is_file():
                hint = f"{of_a_run} is one"
            raise NotFoundError(
                f"expected a module folder with a {FILE_NAME}, found {folder}, {found}", hint=hint
            )
        top = Place(read_yaml(path), str(path), error=SpecError)
        if not is_module_name(top["name"].value):
            raise top["name"].fail(A_NAME)
        if not top["weights"].items():
            raise top["weights"].fail("a list of at least one file")
        license = _optional_line(top.get("license"))
        if not license:
            raise SpecError(
                f"{path}: license: expected the licence of the weights, found nothing",
                hint="write an SPDX name such as Apache-2.0",
            )
        further = top.get("files")
        return cls(
            name=str(top["name"].value),
            version=top["version"].version(),
            task=top["task"].task(),
            summary=_optional_line(top.get("summary")),
            license=license,
            requires=read_requires(top.get("requires")),
            weights=tuple(map(_promised, [*top["weights"].each(), *(further.each() if further else [])])),
        )

    @classmethod
    def of_release(
        cls, folder: Path, name: str, version: str, files: Sequence[File], *, where: str
    ) -> Manifest:
        """Read the module.yaml of a release that an index, or another source, promised with these files.

        Raises SpecError for one that is none, IntegrityError where it is another module's or promises other bytes.
        """
        try:
            facts = cls.read(folder)
        except SpecError as error:
            message = error.message.removeprefix(f"{folder}{os.sep}")
            raise SpecError(f"{where}: {message}", hint=error.hint) from None
        if (facts.name, facts.version) != (name, version):
            raise IntegrityError(
                f"{where}: expected {name} {version}, found {facts.name} {facts.version} (as {FILE_NAME} says)",
                hint="tell whoever made it",
            )
        facts.require_promised(folder, files, where=where)
        return facts

    def require_promised(self, folder: Path, files: Sequence[File], *, where: str) -> None:
        """Raise IntegrityError unless the files of the folder have the bytes that its module.yaml promises."""
        for promised in self.weights:
            if promised not in files:
                raise IntegrityError(
                    f"{where}: {problem(folder, promised)} (as {FILE_NAME} says)",
                    hint="save the module again",
                )

    def module(self, files: tuple[File, ...]) -> Module:
        """Give what an index would say about this folder: one release with these files."""
        release = Release(version=self.version, files=files, requires=self.requires)
        return Module(self.name, self.task, self.summary, self.license, (release,))


def _beside(folder: Path) -> list[str]:
    """Give the names of module folders in the parent of one, of at most so many as it takes no time to look into."""
    try:
        with os.scandir(folder.parent) as entries:
            others = islice((entry.name for entry in entries if entry.is_dir()), MOST_BESIDE)
            return [name for name in others if (folder.parent / name / FILE_NAME).is_file()]
    except OSError:  # it is for a hint alone
        return []


def list_files(folder: Path) -> tuple[File, ...]:
    """Give every file of a module folder with its sha256 and size, sorted by path; hidden ones do not belong to it.

    Raises UnsafeFileError for a link or a device, SpecError for a name that is not safe on every system and for two
    that some system confuses.
    """
    paths = sorted(_walk(folder))
    for path in paths:
        if (folder / path).is_symlink() or not (folder / path).is_file():
            raise UnsafeFileError(f"{folder / path}: expected a plain file, found a link or a device")
        if not is_safe_path(path):
            raise SpecError(
                f"{folder}: expected file names of plain letters, digits and ._+-, found {path!r}",
                hint="rename the file",
            )
    if confused := confused_paths(paths):
        raise SpecError(
            f"{folder}: expected files that every disk tells apart, found {confused[0]} and {paths[confused[1]]}",
            hint="rename one of them",
        )
    if len(paths) > MAX_FILES:
        raise SpecError(f"{folder}: expected at most {MAX_FILES:,} files, found {len(paths):,}")
    return tuple(described(folder, path) for path in paths)


def described(folder: Path, path: str) -> File:
    """Give a file of a folder with its sha256 and size. Raises StorageError where it cannot be read."""
    try:
        return File(path, sha256_of(folder / path), (folder / path).stat().st_size)
    except OSError as error:
        raise StorageError(f"{folder / path}: cannot be read: {error.strerror}") from error


def refuse_code(files: Iterable[File], where: str) -> None:
    """Raise UnsafeFileError for files that a program might run: a module is data, and nothing of it ever runs."""
    from hub.registry.archive import is_code

    code = [file.path for file in files if is_code(PurePosixPath(file.path))]
    if code:
        raise UnsafeFileError(
            f"{where}: a module is data, this is code: {', '.join(code[:5])}", hint="leave it out"
        )


def problems(folder: Path, files: Iterable[File]) -> list[str]:
    """Give what differs between a folder and the files that it must have: missing, changed, extra; reads each byte."""
    expected = {file.path: file for file in files}
    found = [wrong for path in sorted(expected) if (wrong := problem(folder, expected[path]))]
    try:
        extra = sorted(path for path in _walk(folder) if path not in expected)
    except StorageError as error:
        return [*found, str(error)]
    return found + [f"{path}: extra, hub did not put it there" for path in extra]


def problem(folder: Path, file: File) -> str:
    """Give what is wrong with one file, empty when its bytes are the promised ones."""
    path = folder / file.path
    try:
        if path.is_symlink() or not path.is_file():
            return f"{file.path}: missing"
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path}: changed, expected {file.size:,} bytes, found {size:,}"
        digest = sha256_of(path)
    except OSError as error:
        return f"{file.path}: cannot be read, {error.strerror}"
    if digest != file.sha256:
        return f"{file.path}: changed, expected sha256 {file.sha256}, found {digest}"
    return ""


def _walk(folder: Path) -> Iterator[str]:
    """Give the relative path of everything below that is no folder; hidden names and Python's caches left out."""
    for parent, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in [*links, *names]:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _stop(error: OSError) -> NoReturn:
    # Without this, os.walk would leave out a folder that it cannot read.
    raise StorageError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _optional_line(place: Place | None) -> str:
    if place is None:
        return ""
    return one_line(place.value) if isinstance(place.value, str) else place.line()


def _promised(place: Place) -> File:
    return File(place["file"].path(), place["sha256"].digest(), place["size"].whole_number())
