"""A module folder into an index folder, so that no reader ever sees half of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from hub.errors import IndexFormatError, IntegrityError, NotFoundError, SpecError, UsageError
from hub.files import dump_json, staged_folder, storage_errors, write_text
from hub.registry.credentials import redact
from hub.registry.index import MAX_MODULE_BYTES, Module, Release, check_config, dump_search, parse_search
from hub.registry.manifest import FILE_NAME, Manifest, list_files, problems, refuse_code
from hub.registry.reference import newest
from hub.registry.strict import SCHEMA
from hub.registry.workspace import locked, remove_file

CARD, SEARCH = "README.md", "search.json"


def publish(folder: Path, index: str) -> tuple[Module, Release]:
    """Add a module folder to an index folder, which is made when it is empty; give what the index says of it now.

    Files come first, then the module's page, then the search list: a reader finds the old state or the new one.
    Publishing the same bytes again changes nothing.

    Raises SpecError for a module without card or licence, IntegrityError for weights that are not the ones
    module.yaml names and for other files under a version that is there already, UsageError for a URL.
    """
    if "://" in index:
        raise UsageError(
            f"expected an index folder, found {redact(index)}",
            hint="publish into a folder, then copy it to the server",
        )
    index_folder = Path(os.path.expanduser(index))
    if index_folder.absolute().is_relative_to(folder.absolute()):
        raise UsageError(f"expected an index outside of the module folder {folder}, found {index_folder}")
    facts = _checked(folder)
    offered = facts.module(list_files(folder))
    [release] = offered.releases
    refuse_code(release.files, str(folder))
    facts.require_promised(folder, release.files, where=str(folder))
    with storage_errors(index_folder):
        index_folder.mkdir(parents=True, exist_ok=True)
        with locked(index_folder / ".lock"):
            page = index_folder / "modules" / f"{facts.name}.json"
            files = index_folder / "files" / facts.name / facts.version
            _tidy(index_folder / "config.json", index_folder / SEARCH, page, files)
            _open_index(index_folder)
            module = _merged(offered, release, index_folder)
            text = _page_of(module)
            _store_files(folder, release, files)
            write_text(page, text)
            _update_search(index_folder, module)
    return module, release


def _checked(folder: Path) -> Manifest:
    facts = Manifest.read(folder)
    if facts.license == "unknown":
        raise SpecError(
            f"{folder / FILE_NAME}: license: expected the licence of the weights, found unknown",
            hint="write an SPDX name such as Apache-2.0",
        )
    card = folder / CARD
    if not card.is_file() or not card.stat().st_size:
        raise SpecError(
            f"{card}: expected the module card, found {'an empty file' if card.is_file() else 'no file'}",
            hint="say what it was trained on, how well it does, its licence and its limits",
        )
    return facts


def _tidy(*targets: Path) -> None:
    """Remove what publishers that were killed left of theirs beside these files and folders; the lock is held."""
    for target in targets:
        for left in target.parent.glob(f".{target.name}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                remove_file(left)


def _open_index(folder: Path) -> None:
    config = folder / "config.json"
    if config.is_file():
        check_config(config.read_bytes(), source=str(config))
        return
    if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
        raise NotFoundError(
            f"{folder}: expected an index or an empty folder, found no config.json but {', '.join(others[:5])}",
            hint="choose an empty folder to begin an index",
        )
    write_text(config, dump_json({"schema": SCHEMA}))


def _merged(offered: Module, release: Release, index_folder: Path) -> Module:
    """Give the module's page with the release on it; the newest release's words about the module count."""
    path = index_folder / "modules" / f"{offered.name}.json"
    if not path.is_file():
        return offered
    there = Module.parse(path.read_bytes(), name=offered.name, source=str(path))
    same = next((old for old in there.releases if newest([old.version], within=f"=={release.version}")), None)
    if same is None:
        releases = (*there.releases, release)
        latest = newest(each.version for each in releases) == release.version
        return replace(offered if latest else there, releases=releases)
    if set(same.files) != set(release.files) or same.requires != release.requires:
        old, new = set(same.files), set(release.files)
        differing = ", ".join(sorted({file.path for file in old ^ new})[:5]) or "other requirements"
        raise IntegrityError(
            f"{offered.name} {same.version} is published already, with other content ({differing})",
            hint="raise the version in module.yaml: what others have installed must not change under its name",
        )
    return there


def _page_of(module: Module) -> str:
    """Give the text of a module's page. Raises UsageError for one that no reader would take."""
    text = dump_json(module.to_dict())
    if len(text.encode()) > MAX_MODULE_BYTES:
        raise UsageError(
            f"{module.name}: expected a page of at most {MAX_MODULE_BYTES:,} bytes, found {len(text.encode()):,}: "
            f"{len(module.releases)} releases with {sum(len(each.files) for each in module.releases):,} files",
            hint="pack many small files into one, or go on under another name",
        )
    return text


def _store_files(folder: Path, release: Release, target: Path) -> None:
    """Copy the files to where the index keeps them, in one rename, unless they are there already."""
    if target.is_dir() and not problems(target, release.files):
        return
    with staged_folder(target) as staged:
        for file in release.files:
            copy = staged / file.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.path, copy)
        if wrong := problems(staged, release.files):
            raise IntegrityError(
                f"{folder} changed while it was published: {'; '.join(wrong[:3])}", hint="try again"
            )


def _update_search(index_folder: Path, module: Module) -> None:
    """Put the module's row into the search list, which is made again from the pages where it is lost or damaged."""
    path = index_folder / SEARCH
    row = module.row()
    try:
        before = {each.name: each for each in parse_search(path.read_bytes(), source=str(path))}
    except (FileNotFoundError, IndexFormatError):
        pages = sorted((index_folder / "modules").glob("*.json"))
        modules = [Module.parse(page.read_bytes(), name=page.stem, source=str(page)) for page in pages]
        write_text(path, dump_search(each for other in modules if (each := other.row())))
        return
    if row != before.get(module.name):
        others = [each for each in before.values() if each.name != module.name]
        write_text(path, dump_search([*others, *([row] if row else [])]))  # no row: all of it is withdrawn
