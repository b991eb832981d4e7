"""Batches in a seeded order: the same for any number of workers, and for the same seed in any process.

A `Source` gives the samples of chosen indices: read from files (`Read`) or taken from arrays that are in memory
already, such as cached features (`Stored`). `Batches` decides which indices come when. Nothing here keeps a random
state: what is drawn follows from (seed, epoch, index) and from how often that sample came before in the epoch, so that
a run can go on from any step of any epoch.

Workers are threads: reading, decoding and resizing release the interpreter's lock, so that two threads prepare
pictures as fast as two processes (benchmarks/workers.py), and no process is left behind by a run that was killed.
"""

from __future__ import annotations

import dataclasses
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from hub.contents import digest_of
from hub.errors import TrainingError
from hub.files import sha256_of
from hub.finetune.sampling import shard
from hub.tasks.base import Arrays, Examples, Sample

CACHE_BYTES = 1 << 30
"""What was read is kept up to this many bytes: 7,000 pictures of 224×224 in colour."""
ENTRY_BYTES = 200
"""What an item that is kept takes beside itself, its key and its place: measured 100 under texts, 270 under paths."""

PATIENCE = 600.0
"""Seconds that a batch may take to be read before the run gives up on it."""

Batch = tuple[Arrays, Arrays]
Order = Callable[[int], np.ndarray]
"""From the number of an epoch to the indices of its samples."""


class Samples(Protocol):
    """A dataset: samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class ItemCache:
    """Samples after the fixed steps of preprocessing, read once while they fit in memory."""

    def __init__(
        self, examples: Examples, limit: int = CACHE_BYTES, *, of_file: Callable[[Path], str] = sha256_of
    ) -> None:
        """Take how samples are read, the bytes to keep, and how the digest of a file is found."""
        self.examples, self._of_file = examples, of_file
        self.one_at_a_time = threading.Lock()
        """To be held while a dataset gives a sample: a user's object need not be safe to call from several threads."""
        self._kept: dict[Any, Any] = {}
        self._digests: dict[Path, str] = {}
        self._free = limit

    def item(self, sample: Sample) -> Any:
        """Give what `examples.read` makes of a sample. Raises InputError for one that cannot be read."""
        key = _key(sample)
        if key is None:
            return self.examples.read(sample)
        kept = self._kept.get(key)
        if kept is None:
            kept = self.examples.read(sample)
            size = ENTRY_BYTES + bytes_of(kept)
            if size <= self._free:
                self._free -= size
                self._kept[key] = kept
        return kept

    def digest(self, given: Any) -> str:
        """Give the sha256 of a file's bytes, found once, or `digest_of` another input."""
        if not isinstance(given, Path):
            return digest_of(given)
        if given not in self._digests:
            self._digests[given] = self._of_file(given)
        return self._digests[given]


def _key(sample: Sample) -> Any:
    """Give what a sample is kept under: its file or its text; None for what is in memory already, without a name."""
    given = sample.input
    if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
        return tuple(given), type(given), sample.label
    return (given, sample.label) if isinstance(given, Path | str) else None


class Source(Protocol):
    """Where batches come from."""

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray, epoch: int) -> Batch:
        """Give (inputs, targets) of the samples at `indices`, as they look in this epoch.

        There may be none of them, for a process that has no share of a small set. Where an order has a sample twice, a
        third argument says how often each of `indices` came before in the epoch.
        """


class Read:
    """Samples that are read from their files; with a `seed`, as random variants, others in every epoch.

    `whole` ones are as the task measures them, and not as it is trained. With `progress` a bar is drawn while all files
    are read for their digests, where a person looks at stderr.
    """

    def __init__(
        self,
        samples: Samples,
        items: ItemCache,
        targets: np.ndarray,
        *,
        seed: int | None = None,
        whole: bool = False,
        progress: bool = False,
    ) -> None:
        self.samples, self.items, self.targets, self.seed = samples, items, targets, seed
        self.whole, self.progress = whole, progress
        self._keys: list[str] | None = None
        self._sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, indices: np.ndarray, epoch: int, turns: np.ndarray | None = None) -> Batch:
        if not len(indices):
            return _emptied(self.take(FIRST, epoch))
        examples, items = self.items.examples, []
        for index, turn in _with_turns(indices, turns):
            item = self.items.item(self._sample(index))
            if self.seed is not None:
                again = (turn,) if turn else ()
                item = examples.vary(item, np.random.default_rng((self.seed, epoch, index, *again)))
            items.append(item)
        return (examples.whole if self.whole else examples.batch)(items, self.targets[indices])

    def _sample(self, index: int) -> Sample:
        with self.items.one_at_a_time:  # and a file is read when it is let go
            return self.samples[index]

    def lengths(self) -> np.ndarray | None:
        """Give how long every sample is, int64 [N], where batches are padded to their longest; else None."""
        return None if (sizes := self._measured()) is None else sizes[:, 0]

    def cut(self) -> tuple[int, int]:
        """Give how many samples have more than is read of one, and how many pieces that is; (0, 0) for none."""
        if (sizes := self._measured()) is None:
            return 0, 0
        return int(np.count_nonzero(sizes[:, 1])), int(sizes[:, 1].max())

    def _measured(self) -> np.ndarray | None:
        """Give the length of every sample and where it was cut, int64 [N, 2]; every one is read for it, once."""
        # The first one says for all whether they have lengths: no picture is decoded to learn that it has none.
        if self._sizes is None and len(self) and self._size(0)[0] is not None:
            self._sizes = np.array([self._size(index) for index in range(len(self))], np.int64)
        return self._sizes

    def _size(self, index: int) -> tuple[int | None, int]:
        examples, item = self.items.examples, self.items.item(self._sample(index))
        return examples.length(item), examples.cut(item)

    def keys(self) -> list[str]:
        """Give a digest of every sample's content: of its file's bytes, or of what is in memory."""
        if self._keys is None:
            shown = self.progress and sys.stderr is not None and sys.stderr.isatty()
            every = tqdm(range(len(self)), desc="digests", unit=" samples", disable=not shown, leave=False)
            self._keys = [self.items.digest(self._sample(index).input) for index in every]
        return self._keys


class Stored:
    """Arrays that are in memory already (or mapped from a file), one row a sample.

    Several `variants` of the same samples take turns: sample i in epoch e is that of variant (i + e) mod their number,
    and when it comes again in that epoch, that of the next.
    """

    def __init__(self, variants: Sequence[Arrays], targets: np.ndarray) -> None:
        self.variants, self.targets = variants, targets

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: np.ndarray, epoch: int, turns: np.ndarray | None = None) -> Batch:
        if not len(indices):
            return _emptied(self.take(FIRST, epoch))
        count = len(self.variants)
        if count == 1:
            return each(lambda array: array[indices], self.variants[0]), self.targets[indices]
        which = (indices + epoch + (0 if turns is None else turns)) % count
        rows = [
            each(lambda array, k=index: array[k], self.variants[variant])  # type: ignore[misc]
            for index, variant in zip(indices.tolist(), which.tolist(), strict=True)
        ]
        return stack(rows), self.targets[indices]


class Batches:
    """A source cut into steps of nearly equal size, none larger than `batch_size`.

    Nearly equal, so that no last batch of one or two samples upsets batch statistics. With `part` (n, of), a step
    is shared by `of` processes, and this one gives the n-th share of each. Every process has a sample of every step,
    for which a step of one sample a process may have a few more; where there are fewer samples than processes, some
    have none.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        order: Order | None = None,
        workers: int = 0,
        part: tuple[int, int] = (0, 1),
        finish: Callable[[Batch, np.ndarray, int], Batch] | None = None,
    ) -> None:
        """`order` None keeps the source's. `finish` has the last word on a batch: (batch, indices, epoch)."""
        self.source, self.order, self.workers, self.part, self.finish = source, order, workers, part, finish
        self.count = len(source)
        self.steps = max(1, min(-(-self.count // batch_size), self.count // part[1]))
        self.sizes = [len(each) for each in np.array_split(np.arange(self.count), self.steps)]
        """Samples of each step, over all processes."""

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """Give the batches of epoch `number` from step `start` on."""
        order = np.arange(self.count) if self.order is None else self.order(number)
        turns = _turns(order)
        repeats = bool(turns.any())
        places = np.array_split(np.arange(len(order)), self.steps)[start:]
        parts = [shard(step, *self.part) for step in places]

        def make(part: np.ndarray) -> Batch:
            return self._assemble(order[part], number, *([turns[part]] if repeats else []))

        yield from in_order(make, parts, self.workers)

    def _assemble(self, indices: np.ndarray, epoch: int, *turns: np.ndarray) -> Batch:
        batch = self.source.take(indices, epoch, *turns)
        return batch if self.finish is None else self.finish(batch, indices, epoch)


FIRST = np.zeros(1, np.int64)


def _emptied(batch: Batch) -> Batch:
    """Give a batch without its samples: what is left are the shapes and types that the others have."""
    inputs, targets = (each(lambda array: array[:0], part) for part in batch)
    return inputs, targets


def _turns(order: np.ndarray) -> np.ndarray:
    """Give for each entry of an order how often the same index stands before it, int64."""
    sorts = np.argsort(order, kind="stable")
    first = np.searchsorted(order, order[sorts], sorter=sorts)
    turns = np.empty(len(order), np.int64)
    turns[sorts] = np.arange(len(order)) - first
    return turns


def _with_turns(indices: np.ndarray, turns: np.ndarray | None) -> Iterator[tuple[int, int]]:
    return zip(indices.tolist(), [0] * len(indices) if turns is None else turns.tolist(), strict=True)


def in_order(
    make: Callable[[Any], Any], items: Sequence[Any], workers: int, *, patience: float = PATIENCE
) -> Iterator[Any]:
    """Give make(item) for each item in order, made ahead by `workers` threads, at most two a thread waiting.

    What `make` raises is raised here, in its place. Raises TrainingError when an item takes longer than
    `patience` seconds: reading it hangs.
    """
    if workers == 0:
        yield from map(make, items)
        return
    tasks: queue.SimpleQueue[tuple[int, _Slot] | None] = queue.SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            number, slot = task
            slot.fill(make, items[number])

    threads = [threading.Thread(target=work, daemon=True, name=f"hub-read-{n}") for n in range(workers)]
    for thread in threads:
        thread.start()
    waiting: deque[_Slot] = deque()
    try:
        for number in range(len(items)):
            waiting.append(_Slot())
            tasks.put((number, waiting[-1]))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result(patience)
        while waiting:
            yield waiting.popleft().result(patience)
    finally:  # also when the caller stops early: the threads end, and a hanging one holds nothing up
        for _ in threads:
            tasks.put(None)


class _Slot:
    """The place of one result that a thread is still making."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def fill(self, make: Callable[[Any], Any], item: Any) -> None:
        try:
            self._value = make(item)
        except BaseException as error:  # raised again where the result is taken
            self._error = error
        self._done.set()

    def result(self, patience: float) -> Any:
        if not self._done.wait(patience):
            raise TrainingError(
                f"a batch was not read within {patience:g} seconds",
                hint="a file on a drive that hangs, or a dataset whose __getitem__ waits for something?",
            )
        if self._error is not None:
            raise self._error
        return self._value


def each(change: Callable[[np.ndarray], Any], arrays: Arrays) -> Any:
    """Give the same with every array changed: of one array, or of a tuple of them."""
    return tuple(map(change, arrays)) if isinstance(arrays, tuple) else change(arrays)


def stack(rows: Sequence[Any]) -> Any:
    """Give rows put together along a new first axis."""
    if isinstance(rows[0], tuple):
        return tuple(np.stack(column) for column in zip(*rows, strict=True))
    return np.stack(rows)


def length(arrays: Arrays) -> int:
    """Give the number of samples in a batch."""
    return len(arrays[0] if isinstance(arrays, tuple) else arrays)


def bytes_of(item: Any) -> int:
    """Give what an item takes in memory: of arrays, lists, tuples and dataclasses all that they hold.

    Of a view that is all that it looks at. The objects count as well: those of a short text's four arrays take more
    than their numbers.
    """
    size = sys.getsizeof(item)
    if isinstance(item, np.ndarray):
        return size if item.base is None else size + bytes_of(item.base)
    if dataclasses.is_dataclass(item):
        item = [getattr(item, field.name) for field in dataclasses.fields(item)]
    return size + sum(map(bytes_of, item)) if isinstance(item, tuple | list) else size
