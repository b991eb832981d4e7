"""Training samples made of two others, with a target of both: mixup and CutMix, on the arrays of a batch."""

from __future__ import annotations

import numpy as np

from hub.errors import UsageError
from hub.tasks.base import Arrays

HINT = "mixing is for classification of pictures, sounds and features: leave it out here"


def one_hot(targets: np.ndarray, count: int) -> np.ndarray:
    """Give float32 [N, count] with a 1 at each class number [N]. Raises UsageError for what are no class numbers."""
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        found = f"{targets.dtype} {targets.shape}"
        raise UsageError(f"mixup and cutmix: expected class numbers [N] as targets, found {found}", hint=HINT)
    return np.eye(count, dtype=np.float32)[targets]


def mix(
    inputs: Arrays,
    targets: np.ndarray,
    *,
    rng: np.random.Generator,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Arrays, np.ndarray]:
    """Give a batch in which every sample is mixed with another one of it, targets float32 [N, L] likewise.

    mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) takes λ of a sample and 1 - λ of its partner, for
    float inputs of any shape. cutmix (Yun et al. 2019, https://arxiv.org/abs/1905.04899) puts a box of the partner
    into a picture of [N, C, H, W]; the targets follow the area of the box to the pixel. λ is drawn once a batch from
    Beta(alpha, alpha), alpha being the number given: 0 is off, and with both on each batch is given to one of them by
    chance. The arrays that were given stay as they are. Raises UsageError for inputs that cannot be mixed.
    """
    if not mixup and not cutmix:
        return inputs, targets
    inputs = mixable(inputs, cutmix=bool(cutmix))
    cut = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cut else mixup
    keep = float(rng.beta(alpha, alpha))
    partner = rng.permutation(len(inputs))
    if cut:
        height, width = inputs.shape[2:]
        rows, columns = _box(height, width, keep, rng)
        mixed = inputs.copy()
        mixed[:, :, rows, columns] = inputs[partner, :, rows, columns]
        keep = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    else:
        mixed = _blend(inputs, inputs[partner], keep)
    soft = targets.astype(np.float32)
    return mixed, _blend(soft, soft[partner], keep)


def mixable(inputs: Arrays, *, cutmix: bool) -> np.ndarray:
    """Give the inputs of a batch. Raises UsageError for those that cannot be mixed, or not by `cutmix`."""
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind != "f":
        found = inputs.dtype if isinstance(inputs, np.ndarray) else type(inputs).__name__
        raise UsageError(f"mixup and cutmix: expected inputs of real numbers, found {found}", hint=HINT)
    if cutmix and inputs.ndim != 4:
        raise UsageError(
            f"cutmix: expected pictures [N, C, H, W], found inputs of shape {inputs.shape}", hint=HINT
        )
    return inputs


def _blend(own: np.ndarray, other: np.ndarray, keep: float) -> np.ndarray:
    return keep * own + (1 - keep) * other


def _box(height: int, width: int, keep: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Give rows and columns of a box of 1 - keep of the area around a random pixel, cut off at the border."""
    side = np.sqrt(1 - keep)

    def span(length: int) -> slice:
        middle, size = int(rng.integers(length)), int(length * side)
        return slice(max(0, middle - size // 2), min(length, middle + size // 2))

    return span(height), span(width)
