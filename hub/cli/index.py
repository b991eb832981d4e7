"""`hub index check`: an index folder before it goes to a server, every byte of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hub.cli.output import say, table, write, write_json
from hub.cli.parser import choice
from hub.errors import HubError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hub.registry.index import Module, Summary


# What stands at the top of a folder that is kept in git or shown by a web server, besides hidden names.
BESIDE = {"index.html", "404.html", "robots.txt", "README.md", "LICENSE", "CNAME"}


class Finding(NamedTuple):
    """What is wrong in an index, and where in it."""

    path: str
    problem: str


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", type=choice("action", ["check"]), metavar="check", help="check an index folder"
    )
    parser.add_argument(
        "index", metavar="INDEX", help="the folder, as `hub publish FOLDER --to INDEX` makes it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every problem; 1 when there is one."""
    if "://" in arguments.index:
        raise UsageError(
            "hub index check: expected an index folder, found a URL",
            hint="check the folder before it is copied",
        )
    findings = check_index(Path(os.path.expanduser(arguments.index)))
    if arguments.json:
        write_json([finding._asdict() for finding in findings])
    elif findings:
        write(table(findings, ("PATH", "PROBLEM")))
    say(f"{arguments.index}: {len(findings) or 'no'} problem{'' if len(findings) == 1 else 's'}")
    return 1 if findings else 0


def check_index(folder: Path) -> list[Finding]:
    """Give everything that is wrong with an index folder; every byte of it is read.

    Every document must be valid, every file of every release there with its size and sha256, and each module.yaml that
    of its release; search.json must say what the pages of the modules say, and nothing else may be there but what git
    and web servers keep at the top.
    Raises NotFoundError when it is no index.
    """
    from hub.registry.index import Module, check_config
    from hub.registry.manifest import Manifest, problem
    from hub.registry.reference import module_name

    config = folder / "config.json"
    if not os.path.isfile(config):  # a Path raises for one that nobody can look at
        found = "no config.json in it" if os.path.isdir(folder) else "no folder"
        raise NotFoundError(
            f"{folder}: expected an index folder, found {found}",
            hint="`hub publish FOLDER --to INDEX` makes an index",
        )
    findings: list[Finding] = []
    with _noting(findings, "config.json"):
        check_config(config.read_bytes(), source="config.json")
    modules: dict[str, Module | None] = {}
    for page in sorted((folder / "modules").glob("*.json")):
        modules[page.stem] = None
        place = f"modules/{page.name}"
        with _noting(findings, place):
            module_name(page.stem)
            modules[page.stem] = Module.parse(page.read_bytes(), name=page.stem, source=place)
    with _noting(findings, "search.json"):
        findings += _check_search(folder, modules)
    expected = {"config.json", "search.json", *(f"modules/{name}.json" for name in modules)}
    for name, module in modules.items():
        for release in module.releases if module else ():
            before, place = len(findings), f"files/{name}/{release.version}"
            for file in release.files:
                promised = replace(file, path=f"{place}/{file.path}")
                expected.add(promised.path)
                if wrong := problem(folder, promised):
                    findings.append(Finding(promised.path, wrong.removeprefix(f"{promised.path}: ")))
            if len(findings) == before:  # else it is plain why module.yaml does not fit
                with _noting(findings, place):
                    Manifest.of_release(folder / place, name, release.version, release.files, where=place)
    unread = tuple(f"files/{name}/" for name, module in modules.items() if module is None)
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if place.startswith(".") or place in BESIDE:
            continue
        if place not in expected and not place.startswith(unread):
            findings.append(Finding(place, "extra, no page names it"))
    return findings


def _check_search(folder: Path, modules: dict[str, Module | None]) -> Iterator[Finding]:
    """Compare search.json with the pages of the modules; None stands for a page that could not be read."""
    from hub.registry.index import parse_search

    place = "search.json"
    listed: dict[str, Summary] = {}
    for row in parse_search((folder / place).read_bytes(), source=place):
        if row.name in listed:
            yield Finding(place, f"{row.name} stands in it twice")
        listed[row.name] = row
    for name in sorted({*listed, *modules}):
        module = modules.get(name)
        expected, found = module.row() if module else None, listed.get(name)
        if (name in modules and module is None) or expected == found:
            continue
        if found is None:
            yield Finding(place, f"{name} is missing")
        elif expected is None:
            why = "every release of it is withdrawn" if module else f"there is no modules/{name}.json"
            yield Finding(place, f"{name} stands in it, but {why}")
        else:
            differing = [
                field for field in expected._fields if getattr(expected, field) != getattr(found, field)
            ]
            yield Finding(place, f"{name}: other than in modules/{name}.json: {', '.join(differing)}")


@contextmanager
def _noting(findings: list[Finding], place: str) -> Iterator[None]:
    """Turn what is wrong with a document, or the reading of it, into a finding."""
    try:
        yield
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        findings.append(Finding(place, "missing" if missing else f"cannot be read, {error.strerror}"))
    except HubError as error:
        findings.append(Finding(place, error.message.removeprefix(f"{place}: ")))
