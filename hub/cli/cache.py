"""`hub cache ls | verify | prune | rm`: what is kept on this machine, whether it is right, and how to get rid of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.cli.output import human_size, say, table, write, write_json
from hub.cli.parser import choice, named
from hub.errors import UsageError, did_you_mean, one_of

if TYPE_CHECKING:
    from hub.registry.survey import Remnant

# What each action takes besides --json and --quiet.
ACTIONS = {
    "ls": frozenset[str](),
    "verify": frozenset({"names", "repair"}),
    "prune": frozenset({"all", "dry_run"}),
    "rm": frozenset({"names", "dry_run"}),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        type=choice("action", ACTIONS),
        metavar="ACTION",
        help="ls: what is kept and what it takes; verify: read every byte again; "
        "prune: remove what no module needs; rm: remove modules and data sets",
    )
    parser.add_argument(
        "names",
        nargs="*",
        default=[],
        metavar="NAME",
        help="verify, rm: a name or name@version; rm: also a data set",
    )
    parser.add_argument(
        "--repair", action="store_true", help="verify: remove what is damaged, so that hub install fetches it"
    )
    parser.add_argument("--all", action="store_true", help="prune: also downloads and blobs of the last day")
    parser.add_argument("--dry-run", action="store_true", help="prune, rm: only say what would be removed")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    for option in ("names", "repair", "all", "dry_run"):
        if getattr(arguments, option) and option not in ACTIONS[arguments.action]:
            what = "NAME" if option == "names" else f"--{option.replace('_', '-')}"
            takers = [action for action, taken in ACTIONS.items() if option in taken]
            raise UsageError(
                f"hub cache {arguments.action}: takes no {what}",
                hint=f"hub cache {' and '.join(takers)} takes it",
            )
    if arguments.action == "rm" and not arguments.names:
        raise UsageError(
            "hub cache rm: expected NAME or NAME@VERSION, found nothing", hint="hub cache ls lists them"
        )
    return {"ls": _ls, "verify": _verify, "prune": _prune, "rm": _rm}[arguments.action](arguments)


def _ls(arguments: argparse.Namespace) -> int:
    from hub import settings
    from hub.registry.survey import survey

    found = survey()
    if arguments.json:
        modules = [
            {
                "name": module.name,
                "version": module.version,
                "folder": str(module.folder),
                "disk_bytes": module.disk_bytes,
                "frees_bytes": module.frees_bytes,
                "shares_with": list(module.shares_with),
                "used_at": _date(module.used_at),
            }
            for module in found.modules
        ]
        remnants = [_remnant(item) for item in found.remnants]
        write_json(
            {
                "home": str(settings.home()),
                "disk_bytes": found.disk_bytes,
                "modules": modules,
                "remnants": remnants,
            }
        )
        return 0
    if found.modules:
        rows = [
            (
                module.name,
                module.version,
                human_size(module.disk_bytes),
                human_size(module.frees_bytes),
                _date(module.used_at),
                ", ".join(module.shares_with) or "-",
            )
            for module in found.modules
        ]
        write(table(rows, ("NAME", "VERSION", "ON DISK", "RM FREES", "LAST USE", "SHARES FILES WITH")))
    if found.remnants:
        kinds = sorted({item.kind for item in found.remnants})
        groups = [[item for item in found.remnants if item.kind == kind] for kind in kinds]
        counted = [
            (
                group[0].kind,
                len(group),
                sum(item.busy for item in group),
                human_size(sum(item.disk_bytes for item in group)),
            )
            for group in groups
        ]
        gap = "\n" if found.modules else ""
        write(gap + table(counted, ("OF NO MODULE", "COUNT", "IN USE", "ON DISK")))
    count = len(found.modules)
    say(
        f"{settings.home()}: {count} module{'' if count == 1 else 's'}, {human_size(found.disk_bytes)} on disk"
    )
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from hub.registry.housekeeping import verify

    for name in filter(_has_capitals, arguments.names):
        from hub.datasets.builtin import BUILT_IN

        if name in BUILT_IN:
            raise UsageError(
                f"hub cache verify: expected a module, found the data set {name}",
                hint=f"hub cache rm {name} removes it, and what uses it fetches it again",
            )
    done = verify(named("cache verify", arguments.names), repair=arguments.repair)
    if arguments.json:
        write_json({"files": done.files, "findings": [finding._asdict() for finding in done.findings]})
    elif done.findings:
        rows = [(finding.path, finding.problem, finding.removed) for finding in done.findings]
        write(table(rows, ("PATH", "PROBLEM", "REMOVED")))
    wrong = len(done.findings)
    say(f"{done.files} files read, {wrong or 'no'} problem{'' if wrong == 1 else 's'}")
    if any(finding.removed for finding in done.findings):
        say("hub install brings back what was removed")
    return 1 if done.findings else 0


def _prune(arguments: argparse.Namespace) -> int:
    from hub.registry.housekeeping import prune

    removed = prune(everything=arguments.all, dry_run=arguments.dry_run)
    frees_bytes = sum(item.frees_bytes for item in removed)
    if arguments.json:
        items = [_remnant(item) for item in removed]
        write_json({"dry_run": arguments.dry_run, "frees_bytes": frees_bytes, "removed": items})
    elif removed:
        rows = [
            (item.kind, human_size(item.frees_bytes), _date(item.changed_at), str(item.path))
            for item in removed
        ]
        write(table(rows, ("KIND", "FREES", "LAST CHANGE", "PATH")))
    _say_freed(len(removed), frees_bytes, dry_run=arguments.dry_run)
    return 0


def _rm(arguments: argparse.Namespace) -> int:
    from hub.registry.housekeeping import remove
    from hub.registry.survey import disk_bytes

    sets = _data_sets(arguments.names)
    modules = named("cache rm", [name for name in arguments.names if name not in sets])
    frees_bytes = disk_bytes(sets.values())
    done = remove(modules, dry_run=arguments.dry_run)
    frees_bytes += done.frees_bytes
    if sets and not arguments.dry_run:
        from hub.datasets import builtin

        for name in sets:
            builtin.remove(name)
    rows: list[tuple[str, str | None, str]] = [
        *((record.name, record.version, str(record.folder)) for record in done.modules),
        *((name, None, str(place)) for name, place in sets.items()),
    ]
    if arguments.json:
        items = [{"name": name, "version": version, "folder": folder} for name, version, folder in rows]
        write_json({"dry_run": arguments.dry_run, "frees_bytes": frees_bytes, "removed": items})
    else:
        write(table(rows, ("NAME", "VERSION", "FOLDER")))
    _say_freed(len(rows), frees_bytes, dry_run=arguments.dry_run)
    return 0


def _data_sets(names: Sequence[str]) -> dict[str, Path]:
    """Give the folders of those that are names of data sets. Raises UsageError for one that is nearly such a name."""
    from hub.registry.cache import installed
    from hub.registry.survey import data_sets

    folders = {path.name for path in data_sets()}
    near = [name for name in names if _has_capitals(name) or (name in folders and not installed(name))]
    if not near:
        return {}
    from hub.datasets.builtin import BUILT_IN, place_of

    for name in near:
        if name not in BUILT_IN and did_you_mean(name, BUILT_IN):
            raise one_of("NAME", name, BUILT_IN)
    return {name: place_of(name) for name in near if name in BUILT_IN}


def _has_capitals(name: str) -> bool:
    """Say whether a name has letters that every data set's has, and no module's."""
    return name != name.lower()


def _say_freed(count: int, size: int, *, dry_run: bool) -> None:
    did = "would be removed, which would free" if dry_run else "removed, which freed"
    say(f"{count} {did} {human_size(size)}")


def _remnant(item: Remnant) -> dict[str, object]:
    return {
        "kind": item.kind,
        "path": str(item.path),
        "disk_bytes": item.disk_bytes,
        "frees_bytes": item.frees_bytes,
        "changed_at": _date(item.changed_at),
        "in_use": item.busy,
    }


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
