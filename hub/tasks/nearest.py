"""Search: which vectors are nearest to one, by the cosine, among all of them?"""

from __future__ import annotations

import numpy as np

from hub.errors import UsageError
from hub.tasks.base import is_whole

UNSURE = 1e-5
"""More than a cosine from a product of matrices in float32 is wrong by."""
ROWS_AT_ONCE = 1 << 16


def nearest(
    query_vectors: np.ndarray, corpus_vectors: np.ndarray, top_k: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Give (rows of the corpus int64 [Q, k], their cosines float32 [Q, k]) for each query, the nearest first.

    Nothing is approximated: every query [Q, D] is compared with all of the corpus [N, D]; k is `top_k` or N where that
    is less. Of those whose cosines agree to six digits the earlier comes first; a vector of zeros is at cosine 0 from
    all. Raises UsageError for arrays that do not belong together.
    """
    queries, corpus = (np.atleast_2d(np.asarray(v, np.float32)) for v in (query_vectors, corpus_vectors))
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise UsageError(
            f"nearest: expected vectors [Q, D] and [N, D], found {queries.shape} and {corpus.shape}"
        )
    if not is_whole(top_k) or top_k < 1:
        raise UsageError(f"top_k: expected at least 1, found {top_k!r}")
    queries, corpus = _of_length_1(queries), _of_length_1(corpus)
    count = min(top_k, len(corpus))
    rows, cosines = np.zeros((len(queries), count), np.int64), np.zeros((len(queries), count), np.float32)
    at_once = max(1, (1 << 25) // max(1, len(corpus)))  # 128 MB of cosines
    for start in range(0, len(queries) if count else 0, at_once):
        for number, row in enumerate(queries[start : start + at_once] @ corpus.T, start):
            least = np.partition(row, len(row) - count)[len(row) - count]
            near = np.flatnonzero(row >= least - UNSURE)
            found = _cosines(corpus, near, queries[number])
            best = np.argsort(-found, kind="stable")[:count]
            rows[number], cosines[number] = near[best], found[best]
    return rows, cosines


def _cosines(corpus: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Give what equal rows have as equal numbers: in a product of matrices the last bit depends on their place."""
    parts = np.split(rows, range(ROWS_AT_ONCE, len(rows), ROWS_AT_ONCE))
    wide = query.astype(np.float64)
    return np.concatenate([(corpus[part] * wide).sum(axis=1) for part in parts]).round(6)


def _of_length_1(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
