"""Metrics of predicted numbers: errors, explained variance and correlations, from sums over batches.

Numbers come standardized, (number - mean) / scale of those of the training, so that sums of squares lose no digits
where all numbers are large and near to one another.
"""

from __future__ import annotations

import math

import numpy as np

METRICS = {"r2": True, "pearson": True, "spearman": True, "rmse": False, "mae": False}
"""And whether larger is better."""
NOTHING = 1e-12
"""The share of a sum of squares below which what is left after its mean is subtracted is rounding."""


MOST_PAIRS = 1 << 16
"""Numbers, of each process, that are kept for their ranks: 1 MB."""
MILLIONTH = 1e-6


class NumberMeter:
    """RMSE, MAE, R² and the correlations of Pearson and Spearman of everything seen.

    Spearman's correlation needs the order of all numbers. Up to MOST_PAIRS are kept and give it exactly, what was found
    to a MILLIONTH of its deviation: rounding in another batch makes no order. Of more, counts of (wanted, found) in
    1,024 × 1,024 steps do, 8 MB, which are narrow near the mean of the training's numbers and wide far from it; those
    in one step count as equal, as ties do. Where those measured are spread like them it differs by less than 0.001;
    where a few are thousands of times as large as most (the exponential of a bell of standard deviation 2), by up to
    0.005; where they lie far from the training's, by anything.
    """

    STEPS = 1024

    def __init__(self) -> None:
        self.sums = np.zeros(6)
        """Of 1, x, x², y, y², (y - x)², x being what was wanted and y what was found, standardized."""
        self.products = 0.0
        self.absolute, self.squared = 0.0, 0.0
        """Of the errors in their own unit."""
        self.pairs: list[np.ndarray] = []
        """(x, y), each [2, N], of all that was seen, or nothing where that was too much."""
        self.steps = np.zeros((self.STEPS, self.STEPS), np.int64)

    def update(self, wanted: np.ndarray, found: np.ndarray, scale: np.ndarray) -> None:
        """Take in standardized numbers [N]; an error of 1 is one of `scale` [N] in the unit of the data."""
        x, y, one = (np.asarray(each, np.float64) for each in (wanted, found, scale))
        self.sums += [len(x), x.sum(), x @ x, y.sum(), y @ y, ((y - x) ** 2).sum()]
        self.products += float(x @ y)
        self.absolute += float((np.abs(y - x) * one).sum())
        self.squared += float((((y - x) * one) ** 2).sum())
        np.add.at(self.steps, (self._step(x), self._step(y)), 1)
        self._keep(np.stack([x, y]))

    def _keep(self, pairs: np.ndarray) -> None:
        if self.sums[0] > MOST_PAIRS:
            self.pairs = []
            return
        self.pairs.append(pairs)
        if len(self.pairs) > 256:  # of batches of one the arrays would take more than their numbers
            self.pairs = [np.concatenate(self.pairs, axis=1)]

    def _step(self, values: np.ndarray) -> np.ndarray:
        share = 0.5 + np.arctan(3 * values) / np.pi
        steps: np.ndarray = (share * self.STEPS).astype(np.int64).clip(0, self.STEPS - 1)
        return steps

    def compute(self) -> dict[str, float]:
        """Give the metrics and "count". What is undefined where all numbers are equal is 0."""
        count, x, xx, y, yy, residual = self.sums.tolist()
        size = max(count, 1.0)
        spread = _left(xx, xx - x * x / size)
        return {
            "count": int(count),
            "r2": 1 - residual / spread if spread else 0.0,
            "pearson": _correlation(spread, _left(yy, yy - y * y / size), self.products - x * y / size),
            "spearman": self._spearman(),
            "rmse": math.sqrt(self.squared / size),
            "mae": self.absolute / size,
        }

    def _spearman(self) -> float:
        """Give the correlation of ranks; of ties each has their mean rank."""
        pairs = np.concatenate([np.zeros((2, 0)), *self.pairs], axis=1)
        if pairs.shape[1] == self.sums[0]:
            wanted, found = pairs
            step = MILLIONTH * found.std() if len(found) else 0.0
            ranks, others = _ranks(wanted), _ranks((found / (step or 1.0)).round())
            return _correlation(ranks @ ranks, others @ others, ranks @ others)
        own, other = (self.steps.sum(axis=axis) for axis in (1, 0))
        middle = own.sum() / 2
        ranks, others = (each.cumsum() - each / 2 - middle for each in (own, other))
        return _correlation(own @ ranks**2, other @ others**2, ranks @ self.steps @ others)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Give the ranks of values around their mean."""
    _, where, many = np.unique(values, return_inverse=True, return_counts=True)
    return (many.cumsum() - many / 2 - len(values) / 2)[where.reshape(-1)]


def _left(whole: float, rest: float) -> float:
    return rest if rest > NOTHING * whole else 0.0


def _correlation(first: float, second: float, both: float) -> float:
    """Give the correlation from two sums of squares around the means and that of the products, 0 without any."""
    if first <= 0 or second <= 0:
        return 0.0
    return float(min(1.0, max(-1.0, both / math.sqrt(first) / math.sqrt(second))))
