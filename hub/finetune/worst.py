"""The samples that a model is most wrong about, found while it is measured."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from hub.tasks import Task
from hub.tasks.base import Arrays

KEPT = 24


@dataclass(frozen=True, order=True)
class Miss:
    """A sample by its index: how sure the model was of `found`, 0 to 1, and what was expected."""

    score: float
    index: int
    expected: str
    found: str


class Worst:
    """Takes in the outputs of a set, batch by batch, and keeps the few wrong answers that were given most surely."""

    def __init__(self, task: Task, *, order: np.ndarray | None = None) -> None:
        """`order` has the index of each sample in the order in which they come; None is that of the set."""
        self._task, self._order = task, order
        self._heap: list[Miss] = []
        self._seen = 0

    def update(self, outputs: Arrays, targets: Arrays) -> None:
        """Take in a batch, for a task that can tell right from wrong sample by sample."""
        find = getattr(self._task, "misses", None)
        if find is None:
            return
        for row, expected, found, score in find(outputs, targets):
            at = self._seen + int(row)
            index = at if self._order is None else int(self._order[at])
            heapq.heappush(self._heap, Miss(float(score), index, expected, found))
            if len(self._heap) > KEPT:
                heapq.heappop(self._heap)
        self._seen += len(targets[0] if isinstance(targets, tuple) else np.asarray(targets))

    def misses(self) -> list[Miss]:
        """Give what was kept, the surest first."""
        return sorted(self._heap, reverse=True)
