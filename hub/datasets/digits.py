"""Real handwritten digits for tutorials and benchmarks, from scikit-learn: no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def export_digits(folder: str | Path, *, train_each: int | None = None) -> Path:
    """Write the 1,797 digits that ship with scikit-learn as PNGs, a folder per digit, and give the folder.

    With `train_each` there are two parts: train with that many of each digit, always the same ones, and test with the
    others. The pictures are 8×8 grey pixels; source: Alpaydin & Kaynak 1998, UCI Optical Recognition of
    Handwritten Digits.
    """
    from sklearn.datasets import load_digits

    folder = Path(folder)
    digits = load_digits()
    seen = dict.fromkeys(range(10), 0)
    # In scikit-learn's order the first digits are of a few people: a random choice has all 43 in both parts.
    for number in np.random.RandomState(0).permutation(len(digits.target)).tolist():
        pixels, digit = digits.images[number], int(digits.target[number])
        part = "" if train_each is None else "train" if seen[digit] < train_each else "test"
        seen[digit] += 1
        path = folder / part / str(digit) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(path)
    return folder
