"""A linear head in closed form: ridge regression on features, with exact leave-one-out predictions.

With centred features F = U diag(s) Vᵀ and centred targets Y, the weights for a penalty λ are
V diag(s / (s² + λ)) Uᵀ Y = Fᵀ U diag(1 / (s² + λ)) Uᵀ Y, and the residual of sample i when it is left out is its
residual over 1 - hᵢ, where hᵢ = Σⱼ Uᵢⱼ² sⱼ² / (sⱼ² + λ) + 1/N (Allen 1974, the PRESS statistic). λ is the one of a
fixed range with the smallest squared leave-one-out residual. The range has a floor: with fewer samples than features
and λ → 0, 1 - hᵢ goes to 0 and any labels at all seem predictable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = np.logspace(-3, 3, 13)


@dataclass(frozen=True)
class RidgeHead:
    """weight [D, L] and bias [L] such that features @ weight + bias approximates the targets, and what each
    sample would have been predicted had it been left out [N, L]."""

    weight: np.ndarray
    bias: np.ndarray
    left_out: np.ndarray


def fit(features: np.ndarray, targets: np.ndarray) -> RidgeHead:
    """Fit targets [N, L] (0 and 1, or any real numbers) from features [N, D]."""
    count = len(features)
    middle, level = features.mean(axis=0, dtype=np.float64), targets.mean(axis=0, dtype=np.float64)
    centred, wanted = features - middle, targets - level
    # The eigenvectors of the smaller of FᵀF and FFᵀ give the singular vectors of F.
    if centred.shape[0] >= centred.shape[1]:
        squared, right = np.linalg.eigh(centred.T @ centred)
        keep = squared > squared[-1] * 1e-10
        squared, right = squared[keep], right[:, keep]
        left = centred @ right / np.sqrt(squared)
    else:
        squared, left = np.linalg.eigh(centred @ centred.T)
        keep = squared > squared[-1] * 1e-10
        squared, left = squared[keep], left[:, keep]
    projected, lengths = left.T @ wanted, left**2

    def residuals(penalty: float) -> np.ndarray:
        shrink = squared / (squared + penalty)
        leverage = lengths @ shrink + 1 / count
        return (wanted - left @ (shrink[:, None] * projected)) / (1 - leverage)[:, None]

    penalties = PENALTIES * squared.sum() / count
    best = min(penalties, key=lambda penalty: float((residuals(penalty) ** 2).sum()))
    weight = centred.T @ (left @ (projected / (squared + best)[:, None]))
    return RidgeHead(weight, level - middle @ weight, targets - residuals(best))
