"""`hub install`: modules from an index, a folder or a file onto this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hub.cli.output import table, write, write_json

if TYPE_CHECKING:
    from hub.registry.client import Located


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("references", nargs="+", metavar="REF", help="a name, name@version, or ./folder")


def run(arguments: argparse.Namespace) -> int:
    """Install one after the other; what is done before a failure stays and is printed."""
    from hub.registry.client import install

    done: list[Located] = []
    try:
        for reference in arguments.references:
            done.append(install(reference))
    finally:
        print_located(done, as_json=arguments.json)
    return 0


def print_located(modules: Iterable[Located], *, as_json: bool) -> None:
    """Print where modules are, or were."""
    columns = ("name", "version", "source", "folder")
    rows = [(module.name, module.version, module.source, str(module.folder)) for module in modules]
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        write(table(rows, [column.upper() for column in columns]))
