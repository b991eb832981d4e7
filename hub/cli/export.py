"""`hub export`: a module as one file, for a machine without a network."""

from __future__ import annotations

import argparse

from hub.cli.output import human_size, say, table, write, write_json


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="NAME", help="a module name, name@version or ./folder")
    parser.add_argument(
        "--to", required=True, metavar="FILE", help="the .tar.gz to write; replaced when it is there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Pack the module and print what the file is."""
    from hub.registry.export import export

    done = export(arguments.reference, arguments.to)
    if arguments.json:
        write_json({**done._asdict(), "file": str(done.file)})
    else:
        row = (done.name, done.version, human_size(done.size_bytes), done.sha256, str(done.file))
        write(table([row], ("NAME", "VERSION", "SIZE", "SHA256", "FILE")))
    say(f"on the other machine: hub install ./{done.file.name}")
    return 0
