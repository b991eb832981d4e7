"""What was read of samples is kept in memory, and no more of it than there is room for."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub.datasets import Sample
from hub.finetune.batches import ItemCache
from hub.modules.preprocessor import build
from hub.modules.spec import Named
from hub.tasks.base import Examples
from hub.tasks.segmentation import SemanticSegmentation
from hub.tasks.sequence_labeling import SequenceLabeling
from hub.tasks.text_matching import TextMatching
from tests import sounds
from tests.small_texts import reader

LIMIT = 200_000
ROUNDING = 1.1
"""What is held beside what is counted: the table of what is kept doubles as it grows."""
LOG_MEL = Named(
    "log_mel", {"rate": 8000, "window": 256, "hop": 100, "mels": 20, "low": 50, "high": 4000, "amin": 1e-6}
)
Case = tuple[Examples, list[Sample]]
clear_caches: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def of_sounds(folder: Path, step: Named) -> Case:
    """A tenth of each sound of a second is loud."""
    wave = np.random.default_rng(0).normal(0, 1e-4, 8000).astype(np.float32)
    wave[4000:4800] *= 1000
    paths = [sounds.write(folder / f"{n}.wav", wave, 8000) for n in range(120)]
    return Examples(build([step, LOG_MEL])), [Sample(path, 0) for path in paths]


def of_pictures(folder: Path, size: int, step: Named) -> Case:
    paths = [folder / f"{n}.png" for n in range(250)]
    for path in paths:
        Image.new("L", (size, size), 9).save(path)
    return Examples(build([step, Named("normalize")])), [Sample(path, 0) for path in paths]


def of_masks(folder: Path) -> Case:
    examples, samples = of_pictures(folder, 28, Named("rgb"))
    return SemanticSegmentation(("a", "b")).examples(examples.preprocessor), [
        Sample(sample.input, str(sample.input)) for sample in samples
    ]


def of_texts(task: Any, given: Callable[[int], Any], label: Any) -> Case:
    samples = [Sample(given(number), label) for number in range(400)]
    return (Examples(reader(True)) if task is None else task.examples(reader(True))), samples


CASES: dict[str, Callable[[Path], Case]] = {
    "sounds, cut": lambda folder: of_sounds(folder, Named("clip", {"seconds": 0.1})),
    "sounds, trimmed": lambda folder: of_sounds(folder, Named("trim_silence")),
    "small pictures": lambda folder: of_pictures(folder, 28, Named("grayscale")),
    "cropped pictures": lambda folder: of_pictures(folder, 300, Named("center_crop", {"size": 30})),
    "pictures with masks": of_masks,
    "texts": lambda folder: of_texts(None, lambda n: f"ann waits {n}", 0),
    "pairs of texts": lambda folder: of_texts(
        TextMatching(("no", "yes")), lambda n: ("ann waits", f"bob {n}"), 0
    ),
    "tagged words": lambda folder: of_texts(
        SequenceLabeling(("O", "B-x")), lambda n: ["ann", "waits", str(n)], (1, 0, 0)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_of_samples_takes_no_more_memory_than_its_limit(name: str, tmp_path: Path) -> None:
    examples, samples = CASES[name](tmp_path)
    items = ItemCache(examples, LIMIT)
    for sample in samples:  # what libraries and paths make when they are first used stays with them
        examples.read(sample)
        if isinstance(sample.input, Path):
            hash(sample.input)
    gc.collect()
    tracemalloc.start()
    for sample in samples:
        items.item(sample)
    clear_caches()  # of Python's own: names that Pillow makes anew for each picture, some thousands at most
    gc.collect()
    held, most = tracemalloc.get_traced_memory()[0], tracemalloc.take_snapshot().statistics("lineno")[:5]
    tracemalloc.stop()
    assert LIMIT / 2 < held < LIMIT * ROUNDING, "\n".join(map(str, most))
