"""Pretrain the bundled image module: `python recipes/glyphs/pretrain.py --output FOLDER`.

Trains a small residual network to tell apart the letters that render.py draws, and writes a module folder.
"""

from __future__ import annotations

import argparse
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import render
from numpy.typing import NDArray

from hub import tasks
from hub.finetune.batches import Batch
from hub.finetune.callbacks import Progress
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Trainer
from hub.modules import archs, bundle, golden, weights
from hub.modules.network import Network
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Head, ModuleSpec

Steps = tuple[dict[str, dict[str, Any]], ...]

PREPROCESS: Steps = (
    {"grayscale": {}},
    {"invert_light_background": {}},
    {"pad_square": {}},
    {"resize": {"size": render.SIDE}},
    {"autocontrast": {}},
    {"normalize": {"mean": [0.25], "std": [0.3]}},
)
AUGMENT: Steps = ({"random_affine": {"degrees": 10, "translate": 0.08, "scale": 0.1, "shear": 8}},)
EPOCHS = 6
PER_LETTER = 32  # pictures of each letter in an epoch, no picture twice
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05


class RenderedBatches:
    """Pictures of every letter in equal numbers, drawn afresh for each epoch, as the module preprocesses them."""

    def __init__(
        self,
        glyphs: render.Glyphs,
        preprocessor: PicturePreprocessor,
        *,
        per_letter: int,
        seed: int,
        fresh: bool,
    ) -> None:
        self.glyphs, self.preprocessor, self.seed, self.fresh = glyphs, preprocessor, seed, fresh
        self.targets = np.tile(np.arange(len(glyphs.letters)), per_letter)
        self.count = len(self.targets)
        self.steps = -(-self.count // BATCH)
        self.sizes = [len(part) for part in np.array_split(self.targets, self.steps)]
        self._faces = np.bincount(glyphs.targets)  # a letter's glyphs stand in a row
        self._first = np.cumsum(self._faces) - self._faces

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, number if self.fresh else 0))
        for step, targets in enumerate(np.array_split(rng.permutation(self.targets), self.steps)):
            batch = self._draw(targets, rng), targets  # also where it is skipped: the next one draws after it
            if step >= start:
                yield batch

    def _draw(self, targets: NDArray[np.int64], rng: np.random.Generator) -> np.ndarray:
        chosen = self._first[targets] + rng.integers(0, self._faces[targets])
        drawn = render.pictures(self.glyphs.fields[chosen], rng, render.SOURCE_WARP)
        return self.preprocessor.batch([self.preprocessor.read(picture) for picture in drawn])


def pretrain(output: Path, *, epochs: int, width: int, seed: int) -> None:
    """Train and write the module folder. The same seed gives the same weights on the same machine."""
    started = time.perf_counter()
    glyphs = render.source_glyphs()
    print(f"{len(glyphs.letters)} letters, {len(glyphs.fields)} glyphs", flush=True)
    spec = ModuleSpec.create(
        name="glyphs_cnn",
        task="image_classification",
        summary="Small residual network pretrained on rendered letters, for small grey pictures of shapes and strokes",
        arch={"name": "small_resnet", "width": width, "in_channels": 1, "depth": 1},
        preprocess=PREPROCESS,
        augment=AUGMENT,
        license="Apache-2.0",
        head=Head(bundle.LABELS_FILE),
    )
    labels = [unicodedata.name(letter).lower() for letter in glyphs.letters]
    task = tasks.create(spec.task, labels)
    preprocessor = PicturePreprocessor(spec.preprocess, spec.augment)
    paddle.seed(seed)
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    train = RenderedBatches(glyphs, preprocessor, per_letter=PER_LETTER, seed=seed, fresh=True)
    valid = RenderedBatches(glyphs, preprocessor, per_letter=4, seed=seed + 1, fresh=False)
    matrices = {parameter.name for parameter in network.parameters() if len(parameter.shape) > 1}
    optimizer = paddle.optimizer.AdamW(
        LEARNING_RATE,
        parameters=network.parameters(),
        weight_decay=WEIGHT_DECAY,
        apply_decay_param_fun=matrices.__contains__,
    )
    trainer = Trainer(
        network, task, optimizer=optimizer, loss=task.loss(), schedule=warmup_cosine,
        callbacks=[Progress(task.default_metric, train.count)],
    )  # fmt: skip
    last = trainer.fit(train, valid, epochs=epochs)[-1]
    network.eval()
    spec = replace(
        spec,
        source={
            "trained_on": f"{epochs * train.count:,} rendered pictures of {len(labels)} letters",
            "recipe": "recipes/glyphs/pretrain.py",
            "metrics": {"accuracy": round(last["valid_accuracy"], 4)},
        },
    )
    given = golden.example(tasks.kind(spec.task).inputs)
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec,
            labels=tuple(labels),
            backbone=backbone,
            head_state=weights.state_of(network.head),
            preprocessor=preprocessor,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, golden.answer(network, preprocessor, given)),
    )
    print(f"{output}: accuracy {last['valid_accuracy']:.3f}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pretrain(arguments.output, epochs=arguments.epochs, width=arguments.width, seed=arguments.seed)
