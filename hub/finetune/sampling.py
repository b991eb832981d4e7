"""In which order an epoch goes through the samples: indices that follow from the seed and the epoch alone."""

from __future__ import annotations

import numpy as np

from hub.errors import UsageError


def shuffled_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Give every index below `count` once, int64 [count], in another order in every epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def balanced_order(targets: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Give as many indices as there are samples, drawn so that small classes come as often as large ones.

    Epochs count from 1.

    `targets` are class numbers [N], or 0 and 1 [N, L] for several labels. With class numbers, every class is drawn
    equally often, give or take one, and anew every few samples. No sample of a class comes again before all of them
    have come, and a class that fills several epochs goes on in the next one with those that have not. With several
    labels, which cannot all be balanced at once, samples are drawn in proportion to 1 over the frequency of their
    rarest label (that of having none, for those without any). Raises UsageError for other targets.
    """
    if targets.ndim == 2:
        return _by_rarest_label(targets, np.random.default_rng((seed, epoch)))
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise UsageError(
            f"sampler='balanced': expected class numbers [N] or 0 and 1 [N, L], found {targets.dtype} {targets.shape}"
        )
    classes, numbers = np.unique(targets, return_inverse=True)
    rounds = -(-len(targets) // len(classes))
    rng = np.random.default_rng((seed, epoch))
    turns = rng.permuted(np.tile(np.arange(len(classes)), (rounds, 1)), axis=1)  # each class once a round
    drawn = np.empty_like(turns)
    for number in range(len(classes)):
        members = np.flatnonzero(numbers == number)
        drawn[turns == number] = _cycle(members, rounds, (seed, number), epoch)
    return drawn.reshape(-1)[: len(targets)]


def _cycle(members: np.ndarray, count: int, seed: tuple[int, int], epoch: int) -> np.ndarray:
    """Give `count` members for an epoch: shuffled, and shuffled anew when all have come."""
    parts = max(1, len(members) // count)  # epochs that share one shuffle of a large class
    shared, turn = divmod(epoch - 1, parts)
    rng = np.random.default_rng((*seed, shared))
    start = turn * count
    shuffles = [rng.permutation(members) for _ in range(-(-(start + count) // len(members)))]
    return np.concatenate(shuffles)[start : start + count]


def _by_rarest_label(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = np.column_stack([targets, ~targets.any(axis=1)]).astype(bool)
    wanted = np.where(chosen, 1 / np.maximum(1, chosen.sum(axis=0)), 0).max(axis=1)
    # Evenly spaced points on the cumulative weights: a sample comes as often as its weight says, give or take one.
    count, order = len(targets), rng.permutation(len(targets))
    reach = np.cumsum(wanted[order])
    points = (np.arange(count) + rng.random()) * (reach[-1] / count)
    drawn = order[np.searchsorted(reach, points, side="right").clip(max=count - 1)]
    return rng.permutation(drawn)


WINDOW = 50
"""Steps whose samples are sorted by length together: enough for little padding, and few enough to stay random."""


def by_length(order: np.ndarray, lengths: np.ndarray, *, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Give the same indices so that each of `steps` nearly equal parts has samples of like length.

    The samples of every WINDOW parts are sorted by length (equal lengths stay in their random order), and then the
    parts are shuffled, so that an epoch does not go from short to long.
    """
    ends = np.cumsum([len(part) for part in np.array_split(order, steps)])
    parts: list[np.ndarray] = []
    for first in range(0, steps, WINDOW):
        inner = ends[first : first + WINDOW]
        start = ends[first - 1] if first else 0
        window = order[start : inner[-1]]
        window = window[np.argsort(lengths[window], kind="stable")]
        parts += np.split(window, inner[:-1] - start)
    sizes = np.array([len(part) for part in parts])
    turns = np.arange(steps)
    for size in np.unique(sizes):  # the n-th step has the same size in every epoch
        turns[sizes == size] = rng.permutation(turns[sizes == size])
    return np.concatenate([parts[turn] for turn in turns])


def shard(step: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """Give the part of one step's indices that belongs to a process.

    The parts of all processes, put together, are the step in its order, and their sizes differ by at most one: cut an
    epoch into steps of the whole batch first, and every process takes as many steps as a single one would.
    """
    return np.array_split(step, ranks)[rank]
