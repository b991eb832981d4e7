"""`hub list`: the modules of every index and the installed ones, without loading any."""

from __future__ import annotations

import argparse
import gc
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.cli.examples import LINES
from hub.cli.output import human_size, say, table, terminal_width, write
from hub.errors import did_you_mean

if TYPE_CHECKING:
    from hub.registry.listing import Record

COLUMNS = ("NAME", "VERSION", "TASK", "SIZE", "SOURCE", "INSTALLED", "SUMMARY")
AT_ONCE = 1000
_DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{28,52}")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", help="only modules for this task, for example image_classification")
    parser.add_argument("--installed", action="store_true", help="only modules that are on this machine")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each module."""
    from hub.registry.listing import list_modules

    with without_collecting():
        print_for_task(
            list_modules(installed_only=arguments.installed), arguments.task, as_json=arguments.json
        )
    return 0


@contextmanager
def without_collecting() -> Iterator[None]:
    """Switch the garbage collector off: among 100,000 rows it searches for a fifth of the time and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def print_for_task(found: Sequence[Record], task: str | None, *, as_json: bool) -> None:
    """Print those of the modules that are for the task, and on stderr their number.

    A task that is none of hub's may be misspelt, or one of a module elsewhere: what it may have been is said.
    """
    records = [record for record in found if task in (None, record.task)]
    print_records(records, as_json=as_json)
    here = sum(record.installed for record in records)
    say(f"{len(records)} module{'' if len(records) == 1 else 's'}, {here} installed")
    if not task or records or task in LINES:
        return
    if hint := did_you_mean(task, {*LINES, *(record.task for record in found)}, most=1):
        say(f"{task!r} is no task of hub: {hint}")


def print_records(records: Sequence[Record], *, as_json: bool) -> None:
    """Print modules as a table or as JSON, one record a line, so that a large list needs little memory and time."""
    if as_json:
        encode = json.JSONEncoder(sort_keys=True, allow_nan=False).encode
        for start in range(0, len(records), AT_ONCE):
            lines = ",\n".join(encode(record.to_dict()) for record in records[start : start + AT_ONCE])
            write(f"{',' if start else '['}\n{lines}")
        write("]" if records else "[]")
    elif records:
        if terminal_width():
            records = [_told(record) if len(record.source) > 40 else record for record in records]
        rows = [
            (r.name, r.version, r.task, human_size(r.size_bytes or None), r.source, r.installed, r.summary)
            for r in records
        ]
        write(table(rows, COLUMNS, cut="SUMMARY"))


def _told(record: Record) -> Record:
    """Give a record with the beginning of a digest, or of a commit, in its source: the whole would fill the line."""
    return record._replace(source=_DIGEST.sub(r"\1…", record.source))
