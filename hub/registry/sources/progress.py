"""A progress bar for bytes that arrive: where a person looks at stderr, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Give what to call with the number of bytes that have arrived since the last call."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm  # 15 ms that a script does not need

    with tqdm(desc=title, total=total, unit="B", unit_scale=True, file=sys.stderr, leave=False) as bar:
        yield bar.update


def steps(advance: Callable[[int], object]) -> Callable[[int, int | None], None]:
    """Give what to call with the number of bytes that have arrived so far, and the size, as downloads do."""
    before = 0

    def progress(done: int, size: int | None) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return progress
