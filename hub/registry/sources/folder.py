"""A module folder on this machine as a source of one module in one version, so that it installs like any other."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from hub.errors import NotFoundError
from hub.registry import foreign_encoders
from hub.registry.index import File, Module, Summary
from hub.registry.manifest import FILE_NAME, Manifest, list_files


class FolderSource:
    """The module in a folder, or the encoder that others published: that one gets a module.yaml on its way.

    Raises NotFoundError, SpecError or UnsafeFileError when there is neither in it.
    """

    needs_network = False

    def __init__(self, folder: Path, *, name: str = "") -> None:
        self.name = name or str(folder)
        self.folder = folder
        self._made: dict[str, bytes] = {}
        self._facts: Manifest | None = None
        if foreign_encoders.is_published_folder(folder):
            self.module, self._made = foreign_encoders.module(folder)
        else:
            self._facts = Manifest.read(folder)
            self.module = self._facts.module(list_files(folder))

    def require_promised(self) -> None:
        """Raise IntegrityError for files that are not the ones that the folder's own module.yaml promises."""
        if self._facts:
            [release] = self.module.releases
            self._facts.require_promised(self.folder, release.files, where=self.name)

    def search(self) -> list[Summary]:
        row = self.module.row()
        return [row] if row else []

    def find(self, name: str) -> Module | None:
        return self.module if name == self.module.name else None

    def fetch(
        self, name: str, version: str, files: Sequence[File], to: Path, *, advance: Callable[[int], object]
    ) -> Generator[tuple[File, Path], None, None]:
        import shutil  # loads three compressors, which a listing has no use for

        for file in files:
            if file.path in self._made:
                (to / file.sha256).write_bytes(self._made[file.path])
            else:
                shutil.copyfile(self.folder / file.path, to / file.sha256)
            advance(file.size)
            yield file, to / file.sha256


def module_folder(location: str) -> Path:
    """Give the absolute path of a folder of the user.

    Raises UnsafeFileError for a module of PaddleHub's, which is a program, and NotFoundError where nobody can look.
    """
    folder = existing(location)
    if (folder / "module.py").is_file() and not (folder / FILE_NAME).is_file():
        from hub.registry.sources.paddlehub import no_module_of_ours

        raise no_module_of_ours(folder, folder.name, str(folder))
    return folder


def existing(location: str) -> Path:
    """Give the absolute path of a folder or file of the user. Raises NotFoundError, also where nobody can look."""
    path = Path(os.path.expanduser(location)).absolute()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # the caller says what it expected there
    except (OSError, ValueError) as error:  # no permission, links in a circle, too long a name, a NUL in it
        why = getattr(error, "strerror", None) or error
        raise NotFoundError(f"{path}: {why}", hint="give a path that exists and that you may read") from None
    return path
