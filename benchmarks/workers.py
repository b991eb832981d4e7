"""How fast pictures are read, decoded, resized and varied: at once, by threads (what `workers=` does), by processes.

    python benchmarks/workers.py [--workers 2] [--rounds 5]

Makes 200 JPEG pictures of 640×480. In each round every way goes through all of them once, one after the other, so
that a machine that slows down slows all. Prints the median of the pictures a second of each way, with its range.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hub.finetune.batches import in_order
from hub.modules import preprocessor
from hub.modules.spec import Named

PICTURES, BATCH = 200, 8
STEPS = [Named("resize", {"short": 256}), Named("center_crop", {"size": 224}), Named("normalize", {})]
VARIANTS = [Named("random_affine", {"degrees": 10}), Named("random_flip", {})]


def make(folder: Path) -> list[Path]:
    files, rng = [], np.random.default_rng(0)
    for number in range(PICTURES):
        small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        files.append(folder / f"{number}.jpg")
        small.resize((640, 480), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def read(files: list[Path], batch: np.ndarray) -> np.ndarray:
    steps = preprocessor.build(STEPS, VARIANTS)
    return np.stack(
        [steps.augmented(steps.read(files[i]), np.random.default_rng((0, i))) for i in batch.tolist()]
    )


def timed(run: Callable[[], Iterable[np.ndarray]]) -> float:
    started = time.perf_counter()
    count = sum(len(batch) for batch in run())
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(arguments.workers) as processes:
        files = make(Path(folder))
        batches = np.array_split(np.arange(PICTURES), PICTURES // BATCH)
        one = partial(read, files)
        ways: dict[str, Callable[[], Iterable[np.ndarray]]] = {
            "at once": lambda: map(one, batches),
            f"{arguments.workers} threads": lambda: in_order(one, batches, arguments.workers),
            f"{arguments.workers} processes": lambda: processes.map(one, batches),
        }
        timed(ways[f"{arguments.workers} processes"])  # they start with the first work they get
        rates = np.array([[timed(way) for way in ways.values()] for _ in range(arguments.rounds)])
    for name, column in zip(ways, rates.T, strict=True):
        print(
            f"{name:12}  {np.median(column):6.0f} pictures/s  ({column.min():.0f} to {column.max():.0f})"
            f"  {np.median(column / rates[:, 0]):.2f} times"
        )


if __name__ == "__main__":
    main()
