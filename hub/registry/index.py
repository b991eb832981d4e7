"""The index format, so that any folder, web server or bucket is a registry. Nothing runs on the server.

    config.json                      {"schema": 1}
    search.json                      {"schema": 1, "columns": ["name", "version", "task", "summary", "license", "size"],
                                      "modules": [["glyphs", "1.0.0", "image_classification", "…", "MIT", 1250000], …]}
    modules/<name>.json              {"schema": 1, "name", "task", "summary", "license", "releases": [
                                       {"version", "yanked": false or the reason, "requires": {"paddle": ">=3.1"},
                                        "files": [{"path", "sha256", "size"}, …]}, …]}
    files/<name>/<version>/<path>    the module folder, as it is

An index is written by strangers: everything is checked here, once, and becomes frozen values. What is wrong is said
with the file and the place in it (`releases[0].files[2].sha256: expected 64 hex digits, found 'abc'`).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

from hub.naming import NAME, is_module_name, is_size, is_task, is_version
from hub.registry.reference import newest
from hub.registry.strict import SCHEMA, Place, are_lines, check_schema, is_line, load_json

MAX_MODULE_BYTES = 5_000_000
MAX_SEARCH_BYTES = 100_000_000  # 100,000 modules take 15 MB
MAX_FILES = 10_000
COLUMNS = ("name", "version", "task", "summary", "license", "size")

_DISTRIBUTION = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"


class Summary(NamedTuple):
    """One row of search.json: the newest release of a module that is not yanked."""

    name: str
    version: str
    task: str
    summary: str
    license: str
    size: int


@dataclass(frozen=True)
class File:
    """A file of a release: a safe relative path with the bytes that it must have."""

    path: str
    sha256: str
    size: int

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True)
class Release:
    """One version of a module."""

    version: str
    files: tuple[File, ...]
    requires: Mapping[str, str] = field(default_factory=dict)
    """Distribution ("hub" and "paddle" for short) to the PEP 440 versions that will do."""
    yanked: str = ""
    """Why nobody should install it any more; empty when it is fine."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "yanked": self.yanked or False,
            "requires": dict(self.requires),
            "files": [file.to_dict() for file in self.files],
        }


@dataclass(frozen=True)
class Module:
    """What an index says about one module: the content of modules/<name>.json."""

    name: str
    task: str
    summary: str
    license: str
    releases: tuple[Release, ...]

    @classmethod
    def parse(cls, data: bytes, *, name: str, source: str) -> Module:
        """Read modules/<name>.json. Raises IndexFormatError, also when it is the file of another module."""
        from packaging.version import Version  # 5 ms that a listing does not need

        top = Place(load_json(data, source=source, most=MAX_MODULE_BYTES), source)
        check_schema(top)
        if top["name"].value != name:
            raise top["name"].fail(repr(name))
        releases = tuple(_release(place) for place in top["releases"].each())
        seen = set()
        for release, place in zip(releases, top["releases"].each(), strict=True):
            if Version(release.version) in seen:  # 1.0 and 1.0.0 are one version
                raise place["version"].fail("every version once")
            seen.add(Version(release.version))
        return cls(
            name=name,
            task=top["task"].task(),
            summary=top["summary"].line(),
            license=top["license"].line(),
            releases=releases,
        )

    def row(self) -> Summary | None:
        """Give the row of search.json for this module, None when every release is yanked."""
        version = newest(release.version for release in self.releases if not release.yanked)
        release = self.release(version) if version else None
        if release is None:
            return None
        return Summary(self.name, release.version, self.task, self.summary, self.license, release.size)

    def release(self, version: str) -> Release | None:
        """Give the release of exactly this version."""
        return next((release for release in self.releases if release.version == version), None)

    def to_dict(self) -> dict[str, Any]:
        """Give the plain value that `parse` reads back to an equal one."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "task": self.task,
            "summary": self.summary,
            "license": self.license,
            "releases": [release.to_dict() for release in self.releases],
        }


def parse_search(data: bytes, *, source: str) -> list[Summary]:
    """Read search.json. Raises IndexFormatError."""
    rows = _quick_rows(data)
    if rows is None:
        top = Place(load_json(data, source=source, most=MAX_SEARCH_BYTES), source)
        check_schema(top)
        if top["columns"].value != list(COLUMNS):
            raise top["columns"].fail(json.dumps(COLUMNS))
        for place in top["modules"].each():
            _check_row(place)
        rows = top["modules"].items()
    return list(map(Summary._make, rows))


def dump_search(rows: Iterable[Summary]) -> str:
    """Give the text of search.json, one module a line, sorted, so that two versions of it can be compared."""
    lines = ",\n".join(json.dumps(list(row), ensure_ascii=False) for row in sorted(rows))
    return f'{{"schema": {SCHEMA},\n"columns": {json.dumps(COLUMNS)},\n"modules": [\n{lines}\n]}}\n'


def check_config(data: bytes, *, source: str) -> None:
    """Refuse an index that this version of hub cannot read. Raises IndexFormatError."""
    check_schema(Place(load_json(data, source=source, most=MAX_MODULE_BYTES), source))


def read_files(place: Place) -> tuple[File, ...]:
    """Read a list of files: at least one, safe paths, no two for one place of some disk. Raises IndexFormatError."""
    places = place.each()
    if not 0 < len(places) <= MAX_FILES:
        raise place.fail(f"from 1 to {MAX_FILES:,} files")
    files = tuple(File(p["path"].path(), p["sha256"].digest(), p["size"].whole_number()) for p in places)
    # In small letters: of x/ and X/ such a disk makes one folder, with all of both. They are not published any more,
    # but may have been.
    if confused := confused_paths([file.path.lower() for file in files]):
        before, number = confused
        raise places[number]["path"].fail(f"no second file where {before} is")
    return files


def confused_paths(paths: Sequence[str]) -> tuple[str, int] | None:
    """Give a path, and the number of one that a disk could confuse with it; None where all are different.

    A disk that ignores case would put A.txt over a.txt, and x/ into X/; and a cannot be a file and a folder at once.
    """
    names = sorted((path.lower().split("/"), number) for number, path in enumerate(paths))
    for (before, first), (after, second) in itertools.pairwise(names):
        if after[: len(before)] == before:
            return paths[first], second
        # All that is in one folder, however that is written, stands together in this order.
        depth = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
        )
        if paths[first].split("/")[:depth] != paths[second].split("/")[:depth]:
            return paths[first], second
    return None


def read_requires(place: Place | None) -> dict[str, str]:
    """Read requirements: distribution to versions. Raises IndexFormatError."""
    if place is None:
        return {}
    if not isinstance(place.value, dict):
        raise place.fail("an object {…}")
    for name in place.value:
        if not re.fullmatch(_DISTRIBUTION, name):
            raise replace(place, value=name).fail("the name of a distribution")
    return {name: _specifier(place[name]) for name in place.value}


def _release(place: Place) -> Release:
    yanked = place.get("yanked")
    if yanked is not None and yanked.value is not False and not (is_line(yanked.value) and yanked.value):
        raise yanked.fail("false or the reason")
    files = read_files(place["files"])
    if not any(file.path == "module.yaml" for file in files):
        raise place["files"].fail("a module.yaml among the files")
    return Release(
        version=place["version"].version(),
        files=files,
        requires=read_requires(place.get("requires")),
        yanked=str(yanked.value) if yanked is not None and yanked.value else "",
    )


def _quick_rows(data: bytes) -> list[Any] | None:
    """Read a search.json such as `dump_search` writes; None means "look closer", not that anything is wrong."""
    if len(data) > MAX_SEARCH_BYTES:
        return None
    try:
        # As pairs, an object cannot hide a key that stands in it twice, nor pass for a row's text or number.
        top = json.loads(data.decode("utf-8"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    match top:
        case (("schema", int(schema)), ("columns", columns), ("modules", list(rows))):
            known = type(schema) is int and schema == SCHEMA and columns == list(COLUMNS)
            return rows if known and _all_right(rows) else None
    return None


def _all_right(rows: list[Any]) -> bool:
    """Say quickly, column by column and mostly in C, that all rows are right; False means "look closer"."""
    if not rows:
        return True
    try:
        names, versions, tasks, licenses = (map(itemgetter(n), rows) for n in (0, 1, 2, 4))
        summaries, sizes = [row[3] for row in rows], [row[5] for row in rows]
        return (
            set(map(type, rows)) == {list}
            and set(map(len, rows)) == {len(COLUMNS)}
            and all(map(NAME.fullmatch, names))
            and all(map(is_version, set(versions)))
            and all(map(is_task, set(tasks)))
            and are_lines(summaries)
            and are_lines(list(set(licenses)))
            and set(map(type, sizes)) == {int}
            and is_size(min(sizes))
            and is_size(max(sizes))
        )
    except (TypeError, IndexError):
        return False


def _check_row(place: Place) -> None:
    values = place.each()
    if len(values) != len(COLUMNS):
        raise place.fail(f"{len(COLUMNS)} columns")
    name, version, task, summary, license, size = values
    if not is_module_name(name.value):
        raise name.fail("a module name")
    version.version(), task.task(), summary.line(), license.line(), size.whole_number()


def _specifier(place: Place) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return str(SpecifierSet(place.line()))
    except InvalidSpecifier:
        raise place.fail('versions by PEP 440 such as ">=3.1,<4"') from None
