"""The table that shows a person what is in a dataset."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.datasets.base import Dataset, Problem

MOST_ROWS = 20
"""Above this many classes only the largest ten and the smallest five are shown."""


def summarize(title: str, splits: Mapping[str, Dataset]) -> str:
    """Give a title line and a table of classes, with one column of counts for every split."""
    first = next(iter(splits.values()))
    samples = sum(len(split) for split in splits.values())
    heading = f"{title}: {several(samples, 'sample')}, {several(len(first.labels), 'class')}"
    if first.multi_label:
        heading += ", multi-label"
    counts = [split.counts() for split in splits.values()]
    rows = [["class", *splits]]
    rows += [[label, *(str(each[label]) for each in counts)] for label in first.labels]
    if len(first.labels) > MOST_ROWS:
        largest_first = sorted(rows[1:], key=lambda row: -int(row[1]))
        gap = [f"… {len(largest_first) - 15} more …", *("" for _ in splits)]
        rows = [rows[0], *largest_first[:10], gap, *largest_first[-5:]]
    if len(splits) > 1 and not first.multi_label:
        rows.append(["all", *(str(len(split)) for split in splits.values())])
    lines = [heading, *_aligned(rows)]
    ignored: Counter[str] = Counter()
    for shared in {id(each.ignored): each.ignored for each in splits.values()}.values():
        ignored.update(shared)  # the parts of one dataset share this object, which is counted once
    if ignored:
        lines.append(f"  ignored: {list_suffixes(ignored)}")
    problems = {id(each): each for split in splits.values() for each in split.problems}
    if problems:
        lines.append(f"  problems, which check() lists: {count_kinds(problems.values())}")
    return "\n".join(lines)


def count_kinds(problems: Iterable[Problem]) -> str:
    """Give "3 × missing file, 1 × empty line", the most frequent first."""
    kinds = Counter(problem.kind for problem in problems)
    return ", ".join(f"{count:,} × {kind}" for kind, count in kinds.most_common())


def list_suffixes(suffixes: Mapping[str, int]) -> str:
    """Give "17 .txt files, 1 .md file", the most frequent first."""
    ordered = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(several(count, f"{suffix or 'suffixless'} file") for suffix, count in ordered)


def several(count: int, noun: str) -> str:
    """Give "1 class", "2 classes", "1,000 images"."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(["", first + " " * (widths[0] - _width(first)), *cells]).rstrip())
    return lines


def _width(text: str) -> int:
    """Give the columns that the text takes in a terminal, where a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
