"""A linear head in closed form: ridge regression on features, with exact leave-one-out predictions.

With centred features F = U diag(s) Vᵀ and centred targets Y, the weights for a penalty λ are
V diag(s / (s² + λ)) Uᵀ Y = Fᵀ U diag(1 / (s² + λ)) Uᵀ Y, and the residual of sample i when it is left out is its
residual over 1 - hᵢ, where hᵢ = Σⱼ Uᵢⱼ² sⱼ² / (sⱼ² + λ) + 1/N (Allen 1974, the PRESS statistic). λ is the one of a
fixed range with the smallest squared leave-one-out residual. The range has a floor: with fewer samples than features
and λ → 0, 1 - hᵢ goes to 0 and any labels at all seem predictable.

Samples of equal features are left out together: one whose copy stays in is not left out. Of k of them with residuals
eᵢ that of each is eᵢ + h (e₁ + … + eₖ) / (1 - k h), the same formula for a block of the hat matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

PENALTIES = np.logspace(-3, 3, 13)

BLOCK = 1 << 22
"""Numbers of targets that are looked at together: 32 MB."""
LEAST_ROWS = 256
"""Samples that are looked at together even where they have more numbers."""

Rows = slice | np.ndarray


class Targets(Protocol):
    """What is to be predicted: an array [N, L], or what makes the same rows of it whenever they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class RidgeHead:
    """weight [D, L] and bias [L] such that features @ weight + bias approximates the targets, and what each of
    `rows` would have been predicted had it been left out [n, L].

    These are all samples, or where their targets are more than BLOCK numbers as many, drawn, as have no more.
    """

    weight: np.ndarray
    bias: np.ndarray
    left_out: np.ndarray
    rows: Rows


def fit(features: np.ndarray, targets: Targets) -> RidgeHead:
    """Fit targets [N, L] (0 and 1, or any real numbers) from features [N, D], holding no more than a block of them."""
    count, labels = targets.shape
    middle = features.mean(axis=0, dtype=np.float64)
    centred = features - middle
    copies = _Copies(centred)
    parts = copies.kept_together(blocks(count, labels))
    level = sum(targets[part].sum(axis=0, dtype=np.float64) for part in parts) / count
    squared, left = _singular(centred)

    def wanted(rows: Rows) -> np.ndarray:
        return targets[rows] - level

    def residuals(penalty: float, rows: Rows, wanted: np.ndarray, projected: np.ndarray) -> np.ndarray:
        shrink = squared / (squared + penalty)
        leverage = left[rows] ** 2 @ shrink + 1 / count
        return copies.left_out(wanted - left[rows] @ (shrink[:, None] * projected), leverage, rows)

    projected = sum(left[part].T @ wanted(part) for part in parts)
    goal: Callable[[Any], np.ndarray] = wanted
    span = projected
    if len(parts) > 1 and labels > len(squared):
        pairs = ((own, copies.averaged(own, part)) for part in parts for own in [wanted(part)])
        short, span = _shortened(pairs, projected)
        near = np.empty_like(short)
        near[np.concatenate([np.arange(count)[part] for part in parts])] = short
        goal = near.__getitem__

    def error(penalty: float) -> float:
        return sum(float((residuals(penalty, part, goal(part), span) ** 2).sum()) for part in parts)

    best = min(PENALTIES * squared.sum() / count, key=error)
    scaled = projected / (squared + best)[:, None]
    weight = sum(centred[part].T @ (left[part] @ scaled) for part in parts)
    rows = parts[0] if len(parts) == 1 else copies.drawn(blocks(count, labels)[0].stop)
    left_out = targets[rows] - residuals(best, rows, wanted(rows), projected)
    return RidgeHead(weight, level - middle @ weight, left_out, rows)


NEAR = 1e-3
"""Of the deviation of projections: in such steps those of one sample in two batches nearly always agree."""


class _Copies:
    """Which samples have the same features as others."""

    def __init__(self, centred: np.ndarray) -> None:
        """Tell samples apart by eight projections: whole rows would be sorted by numbers that rounding changes."""
        seen = centred @ np.random.default_rng(0).normal(size=(centred.shape[1], 8))
        rounded = np.round(seen / (NEAR * seen.std() or 1.0))
        _, first, where, many = np.unique(
            rounded, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        self._one: np.ndarray = where.reshape(-1)
        """The number of what a sample is a copy of."""
        self._many, self._any = many, len(first) < len(centred)

    def kept_together(self, parts: list[slice]) -> list[Rows]:
        """Give parts of about the size of these that have all copies of a sample, one behind the other."""
        if not self._any:
            return [*parts]
        ends = self._many.cumsum()
        cuts = ends[np.searchsorted(ends, [part.start for part in parts[1:]])]
        return [part for part in np.split(np.argsort(self._one, kind="stable"), cuts) if len(part)]

    def drawn(self, count: int) -> np.ndarray:
        """Give about `count` samples, with all copies of each."""
        chance = np.random.default_rng(0)
        if not self._any:
            return np.sort(chance.choice(len(self._one), count, replace=False))
        order = chance.permutation(len(self._many))
        chosen = order[: 1 + np.searchsorted(self._many[order].cumsum(), count)]
        rows = np.flatnonzero(np.isin(self._one, chosen))
        return rows[np.argsort(self._one[rows], kind="stable")]

    def averaged(self, values: np.ndarray, rows: Rows) -> np.ndarray:
        """Give for each of the samples [n, L] the mean over its copies."""
        if not self._any:
            return values
        return self._sums(values, rows) / self._many[self._one[rows]][:, None]

    def _sums(self, values: np.ndarray, rows: Rows) -> np.ndarray:
        """Give for each sample the sum over its copies, which stand behind one another in `rows`."""
        first = np.flatnonzero(np.diff(self._one[rows], prepend=-1))
        return np.add.reduceat(values, first, axis=0).repeat(self._many[self._one[rows]][first], axis=0)

    def left_out(self, residuals: np.ndarray, leverage: np.ndarray, rows: Rows) -> np.ndarray:
        """Give the residuals [n, L] of samples that are predicted without themselves and their copies."""
        if not self._any:
            return residuals / (1 - leverage)[:, None]
        many = self._many[self._one[rows]]
        share = leverage / (1 - many * leverage).clip(min=1e-9)  # 0 where all samples are copies of one
        return residuals + share[:, None] * self._sums(residuals, rows)


def _singular(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the squares of the singular values that are not 0, [R], and their left singular vectors, [N, R]."""
    # The eigenvectors of the smaller of FᵀF and FFᵀ give them.
    if centred.shape[0] >= centred.shape[1]:
        squared, right = np.linalg.eigh(centred.T @ centred)
        keep = squared > squared[-1] * 1e-10
        squared, right = squared[keep], right[:, keep]
        return squared, centred @ right / np.sqrt(squared)
    squared, left = np.linalg.eigh(centred @ centred.T)
    keep = squared > squared[-1] * 1e-10
    return squared[keep], left[:, keep]


def blocks(count: int, labels: int) -> list[slice]:
    """Give which samples are looked at together where each has so many labels."""
    size = max(LEAST_ROWS, BLOCK // labels)
    return [slice(first, first + size) for first in range(0, count, size)]


def _shortened(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], projected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give targets [N, R + 1] and projections [R, R + 1] by which the same penalty is chosen as by those of L labels.

    All that is predicted lies in the span of the projections. The last number is how far targets are from it: where
    samples have copies their mean, from which they differ by the same whatever is predicted. Parts have both.
    """
    basis = np.linalg.qr(projected.T)[0]
    rows = []
    for wanted, mean in parts:
        far = (mean**2).sum(axis=1) - ((mean @ basis) ** 2).sum(axis=1)
        rows.append(np.column_stack([wanted @ basis, np.sqrt(far.clip(min=0))]))
    return np.concatenate(rows), np.column_stack([projected @ basis, np.zeros(len(projected))])
