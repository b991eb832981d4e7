"""`hub publish`: a module folder into an index folder, after its golden example was replayed."""

from __future__ import annotations

import argparse
from pathlib import Path

from hub.cli.list import print_records
from hub.cli.loading import load_paddle
from hub.cli.output import say
from hub.errors import IntegrityError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="a module folder, as Module.save() writes it")
    parser.add_argument(
        "--to", required=True, metavar="INDEX", help="the index folder; made when it is not there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify the module, add it to the index and print its record."""
    load_paddle()
    from hub.module import Module
    from hub.registry.client import publish

    folder = Path(arguments.folder).absolute()
    report = Module(str(folder)).verify()
    if not report.ok:
        raise IntegrityError(
            f"{folder}: {report}", hint="save the module again: Module.save() writes a new golden example"
        )
    record = publish(folder, arguments.to)  # a Path would make a folder of a URL
    print_records([record], as_json=arguments.json)
    say(f"{record.name} {record.version} is in {arguments.to}")
    return 0
