"""`hub install`: modules from an index, a folder or a file onto this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hub.cli.output import table, write, write_json
from hub.cli.parser import path
from hub.errors import UsageError

if TYPE_CHECKING:
    from hub.registry.client import Located


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "references",
        nargs="*",
        metavar="REF",
        help="a name, name@version, ./folder, archive, https://, hf://, git+https:// or paddlehub:// reference",
    )
    parser.add_argument(
        "--locked", action="store_true", help="install what the lock file says, to the byte, and nothing else"
    )
    parser.add_argument(
        "--lock",
        type=path,
        metavar="FILE",
        help="with REF: write what was installed into this lock file; with --locked: read it (default: hub.lock)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Install one after the other; what is done before a failure stays and is printed."""
    if arguments.locked and arguments.references:
        raise UsageError(
            "hub install --locked: takes no REF, it installs all that the lock file says",
            hint="hub install REF --lock FILE changes the lock file",
        )
    if not arguments.locked and not arguments.references:
        raise UsageError(
            "hub install: the following arguments are required: REF",
            hint="hub install --help lists what it takes",
        )
    done: list[Located] = []
    try:
        for module in _locked(arguments) if arguments.locked else _asked(arguments):
            done.append(module)
    finally:
        print_located(done, as_json=arguments.json)
    return 0


def _locked(arguments: argparse.Namespace) -> Iterator[Located]:
    from hub.registry import lockfile

    lock_file = arguments.lock or Path(lockfile.FILE_NAME)
    for module in lockfile.read(lock_file):
        yield lockfile.install_locked(module, lock_file=lock_file)


def _asked(arguments: argparse.Namespace) -> Iterator[Located]:
    """Install what was asked for; the lock file is written when all of it is there."""
    from hub.registry.client import install

    if arguments.lock:
        from hub.registry import lockfile

        if arguments.lock.exists():
            lockfile.read(arguments.lock)  # what is wrong with it is said before anything is fetched
    done = []
    for reference in arguments.references:
        done.append(install(reference))
        yield done[-1]
    if arguments.lock:
        lockfile.add(arguments.lock, done)


def print_located(modules: Iterable[Located], *, as_json: bool) -> None:
    """Print where modules are, or were."""
    columns = ("name", "version", "source", "folder")
    rows = [(module.name, module.version, module.source, str(module.folder)) for module in modules]
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        write(table(rows, [column.upper() for column in columns]))
