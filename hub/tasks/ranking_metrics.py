"""How well scores rank: the usual measures of search, over queries with one or more right answers each.

`scores` are [Q, N], larger is better, `relevant` is bool [Q, N] and has a right answer for every query. Of equal scores
the right answer counts as the last, so that a model that scores everything alike does not look good.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from hub.errors import UsageError


def mean_reciprocal_rank(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Give the mean over queries of 1 / (rank of the first right answer)."""
    return float((1 / _ranks(scores, relevant).min(axis=1)).mean())


def recall_at(scores: np.ndarray, relevant: np.ndarray, *, k: int) -> float:
    """Give the mean over queries of the share of right answers that are among the first `k`."""
    if k < 1:
        raise UsageError(f"k: expected at least 1, found {k!r}")
    return float(((_ranks(scores, relevant) <= k).sum(axis=1) / np.asarray(relevant).sum(axis=1)).mean())


def mean_average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Give the mean over queries of the mean precision at the ranks of the right answers (MAP)."""
    each = []
    for row in _ranks(scores, relevant):
        ranks = np.sort(row[np.isfinite(row)])
        # at the rank of the n-th right answer, n answers are right, and of equal ones all
        each.append(float((np.searchsorted(ranks, ranks, side="right") / ranks).mean()))
    return float(np.mean(each))


def _ranks(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Give the rank of every right answer from 1 on, and infinity for the others, float64 [Q, N]."""
    scores, relevant = np.asarray(scores), np.asarray(relevant, bool)
    if scores.ndim != 2 or scores.shape != relevant.shape:
        raise UsageError(
            f"scores and relevant: expected two arrays [queries, answers], found {scores.shape} and {relevant.shape}"
        )
    without = np.flatnonzero(~relevant.any(axis=1))
    if len(without) or not len(scores):
        where = f"none for query {without[0]}" if len(without) else "no queries"
        raise UsageError(f"relevant: expected a right answer for every query, found {where}")
    ranks: np.ndarray = np.where(relevant, rankdata(-scores, method="max", axis=1), np.inf)
    return ranks
