"""Small pictures that are easy to tell apart, and a module small enough to train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LABELS = ("bar", "dot", "frame")
SIDE = 16


def picture(label: str, seed: int) -> np.ndarray:
    """A noisy picture, uint8 [16, 16], of an upright bar, a dot or a frame."""
    rng = np.random.default_rng((seed, LABELS.index(label)))
    array = rng.normal(40, 15, (SIDE, SIDE))
    x, y = rng.integers(4, 12, 2)
    if label == "bar":
        array[:, x : x + 2] += 150
    elif label == "dot":
        array[y - 2 : y + 2, x - 2 : x + 2] += 150
    else:
        array[[1, -2], 1:-1] += 150
        array[1:-1, [1, -2]] += 150
    return array.clip(0, 255).astype(np.uint8)


def samples(each: int, *, seed: int = 0) -> list[tuple[np.ndarray, str]]:
    """`each` pictures of every label, as the simplest dataset there is: a list of (array, name)."""
    return [(picture(label, seed * 1000 + n), label) for n in range(each) for label in LABELS]


def folder(path: Path, each: int, *, seed: int = 0) -> Path:
    """The same as a folder of PNGs for each class."""
    for number, (array, label) in enumerate(samples(each, seed=seed)):
        (path / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path / label / f"{number:03d}.png")
    return path


def tiny_module(seed: int = 0, **changes: Any) -> Any:
    """A module with random weights, 1,800 parameters."""
    import hub

    settings: dict[str, Any] = {
        "task": "image_classification",
        "arch": {"name": "small_resnet", "width": 2},
        "labels": ["this", "that"],
        "preprocess": [
            {"grayscale": {}},
            {"resize": {"size": SIDE}},
            {"normalize": {"mean": [0.3], "std": [0.3]}},
        ],
        "augment": [{"random_affine": {"translate": 0.1}}],
        "license": "Apache-2.0",
    }
    return hub.Module.create("tiny", seed=seed, **(settings | changes))
