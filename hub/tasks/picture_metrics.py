"""How alike two pictures are."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

BEST = 100.0
"""The PSNR of equal pictures, which would be infinite: means over pictures stay finite."""


def psnr(found: np.ndarray, wanted: np.ndarray, *, peak: float = 255.0) -> float:
    """Give 20 log10(peak / rms of the difference) in dB, at most 100."""
    error = np.mean((found.astype(np.float64) - wanted.astype(np.float64)) ** 2)
    return min(BEST, float(10 * np.log10(peak**2 / error))) if error else BEST


def ssim(found: np.ndarray, wanted: np.ndarray) -> float:
    """Give the mean structural similarity of uint8 pictures [H, W, C], at most 1.

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of σ 1.5 cut at 11 pixels, K 0.01 and
    0.03, the mean over channels and over the pixels whose window lies within the picture.
    """
    x, y = found.astype(np.float64), wanted.astype(np.float64)

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (1.5, 1.5, 0), truncate=3.5)

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    both = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    alike /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    edge = min(5, (min(alike.shape[:2]) - 1) // 2)
    return float(alike[edge : alike.shape[0] - edge, edge : alike.shape[1] - edge].mean())
