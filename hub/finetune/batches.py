"""Batches in a seeded order: the same for any number of workers, and for the same seed in any process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hub.modules.preprocessor import Preprocessor

CACHE_BYTES = 1 << 30
"""Prepared pictures are kept up to this many bytes: 20,000 of 224×224 in colour."""

Batch = tuple[np.ndarray, np.ndarray]


class Sample(Protocol):
    """What a dataset gives for an index."""

    @property
    def input(self) -> Any: ...

    @property
    def label(self) -> Any: ...


class Samples(Protocol):
    """A dataset: samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class PictureCache:
    """Pictures after the fixed steps of preprocessing, read once while they fit in memory."""

    def __init__(self, preprocessor: Preprocessor, limit: int = CACHE_BYTES) -> None:
        self.preprocessor = preprocessor
        self._pictures: dict[Path, np.ndarray] = {}
        self._free = limit

    def picture(self, sample: Sample) -> np.ndarray:
        """Give the uint8 picture of a sample. Raises InputError for one that cannot be read."""
        source = sample.input
        if not isinstance(source, Path):  # it is in memory already, and has no name to keep it under
            return self.preprocessor.picture(source)
        kept = self._pictures.get(source)
        if kept is None:
            kept = self.preprocessor.picture(source)
            if kept.nbytes <= self._free:
                self._free -= kept.nbytes
                self._pictures[source] = kept
        return kept


class Batches:
    """A dataset cut into batches of nearly equal size, none larger than `batch_size`.

    Nearly equal, so that no last batch of one or two samples upsets batch statistics.
    """

    def __init__(
        self,
        samples: Samples,
        targets: np.ndarray,
        pictures: PictureCache,
        *,
        batch_size: int,
        seed: int | None = None,
        augment: bool = False,
        workers: int = 0,
    ) -> None:
        """`seed=None` keeps the dataset's order; otherwise every epoch has its own order and its own variants."""
        self.samples, self.targets, self.pictures = samples, targets, pictures
        self.seed, self.augment, self.workers = seed, augment, workers
        self.count = len(samples)
        self.steps = -(-self.count // batch_size)

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        """Give the batches of epoch `number` as (inputs float32 [n, C, H, W], targets [n, …])."""
        parts = np.array_split(_order(self.count, self.seed, number), self.steps)
        yield from in_order(lambda part: self._assemble(part, number), parts, self.workers)

    def _assemble(self, indices: np.ndarray, epoch: int) -> Batch:
        pictures = []
        for index in indices.tolist():
            picture = self.pictures.picture(self.samples[index])
            if self.augment and self.seed is not None:
                rng = np.random.default_rng((self.seed, epoch, index))
                picture = self.pictures.preprocessor.augmented(picture, rng)
            pictures.append(picture)
        return self.pictures.preprocessor.batch(pictures), self.targets[indices]


class ArrayBatches:
    """The same over arrays that are in memory already, such as cached features."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, *, batch_size: int, seed: int | None) -> None:
        self.inputs, self.targets, self.seed = inputs, targets, seed
        self.count = len(inputs)
        self.steps = -(-self.count // batch_size)

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        for part in np.array_split(_order(self.count, self.seed, number), self.steps):
            yield self.inputs[part], self.targets[part]


def _order(count: int, seed: int | None, epoch: int) -> np.ndarray:
    return np.arange(count) if seed is None else np.random.default_rng((seed, epoch)).permutation(count)


def in_order(make: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    """Give make(item) for each item in order, made ahead by `workers` threads, at most two a thread waiting."""
    if workers == 0:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
