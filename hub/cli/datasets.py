"""`hub datasets`: the published data sets that can be given by name, and those that are here."""

from __future__ import annotations

import argparse

from hub.cli.output import human_size, say, table, write, write_json

COLUMNS = ("NAME", "TASK", "SIZE", "INSTALLED", "ABOUT")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The first `hub finetune MODULE NAME` or `hub evaluate MODULE NAME` fetches the set."


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each data set; the size of its archive is known where it was fetched once."""
    from hub.datasets.builtin import BUILT_IN, is_here, size_of

    records = [
        {
            "name": name, "task": each.task, "size_bytes": size_of(name), "installed": is_here(name),
            "about": each.about, "source": each.url,
        }
        for name, each in BUILT_IN.items()
    ]  # fmt: skip
    if arguments.json:
        write_json(records)
    else:
        rows = [
            (
                each["name"],
                each["task"],
                human_size(size_of(str(each["name"]))),
                each["installed"],
                each["about"],
            )
            for each in records
        ]
        write(table(rows, COLUMNS, cut="ABOUT"))
    say(f"{len(records)} data sets, {sum(bool(each['installed']) for each in records)} installed")
    return 0
