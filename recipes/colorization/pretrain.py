"""Pretrain the bundled colorization module: `python recipes/colorization/pretrain.py --output FOLDER`.

Trains the small colorizer on scenes that scenes.py draws and on crops of china.jpg, one of the two photographs that
scikit-learn ships, and writes a module folder. The other photograph, flower.jpg, is never seen: it is the target of
benchmarks/transfer_colorization.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import scenes
from sklearn.datasets import load_sample_image

from hub import tasks
from hub.finetune.batches import Batch
from hub.finetune.callbacks import Progress
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Trainer
from hub.modules import archs, bundle, golden
from hub.modules.network import Network
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Head, ModuleSpec
from hub.tasks.colorization import rebalancing

PREPROCESS: tuple[dict[str, dict[str, Any]], ...] = (
    {"rgb": {}},
    {"resize": {"size": 128}},
    {"normalize": {}},
)
AUGMENT: tuple[dict[str, dict[str, Any]], ...] = (
    {"random_flip": {}},
    {"random_resized_crop": {"scale": 0.5}},
)
STEPS = 800
BATCH = 16
LEARNING_RATE = 2e-3
FROM_PHOTO = 0.15


class SceneBatches:
    """Scenes drawn afresh for every batch, some crops of a photograph among them."""

    def __init__(self, examples: Any, *, steps: int, seed: int) -> None:
        self.examples, self.steps, self.seed = examples, steps, seed
        self.count, self.sizes = steps * BATCH, [BATCH] * steps
        self.photo = load_sample_image("china.jpg")

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        for step in range(start, self.steps):
            rng = np.random.default_rng((self.seed, number, step))
            items = [self.examples.vary(self._picture(rng), rng) for _ in range(BATCH)]
            yield self.examples.batch(items, np.zeros(BATCH, np.int64))

    def _picture(self, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= FROM_PHOTO:
            return scenes.scene(rng)
        side = scenes.SIDE * int(rng.integers(1, 4))
        top, left = (int(rng.integers(0, size - side + 1)) for size in self.photo.shape[:2])
        crop = self.photo[top : top + side, left : left + side]
        return np.asarray(crop[:: side // scenes.SIDE, :: side // scenes.SIDE])


def pretrain(output: Path, *, steps: int, width: int, seed: int) -> None:
    """Train and write the module folder. The same seed gives the same weights on the same machine."""
    started = time.perf_counter()
    spec = ModuleSpec.create(
        name="scenes_colorizer",
        task="colorization",
        summary="Small network that colours grey pictures and takes hints, pretrained on drawn scenes",
        arch={"name": "small_colorizer", "width": width},
        preprocess=PREPROCESS,
        augment=AUGMENT,
        license="Apache-2.0",
        head=Head(bundle.LABELS_FILE),
    )
    spec = replace(spec, head=None)
    task = tasks.create(spec.task, ())
    examples = task.examples(PicturePreprocessor(spec.preprocess))
    paddle.seed(seed)
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    epochs = 10
    train = SceneBatches(examples, steps=steps // epochs, seed=seed)
    valid = SceneBatches(examples, steps=4, seed=seed + 1)
    trainer = Trainer(
        network, task, optimizer=paddle.optimizer.AdamW(LEARNING_RATE, parameters=network.parameters()),
        loss=task.loss(class_weight=rebalancing()), schedule=warmup_cosine,
        callbacks=[Progress(task.default_metric, train.count)],
    )  # fmt: skip
    last = trainer.fit(train, valid, epochs=epochs)[-1]
    network.eval()
    metrics = {name: round(last[f"valid_{name}"], 3) for name in task.metrics}
    spec = replace(
        spec,
        source={
            "trained_on": f"{epochs * train.count:,} drawn scenes and crops of scikit-learn's china.jpg",
            "recipe": "recipes/colorization/pretrain.py",
            "metrics": metrics,
        },
    )
    preprocessor = PicturePreprocessor(spec.preprocess, spec.augment)
    given = golden.example(task.inputs)
    outputs = golden.answer(network, preprocessor, given, task.answers)
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec, labels=(), backbone=backbone, head_state={}, preprocessor=preprocessor,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, {"output1": outputs["output1"]}),  # the colours; the logits of their bins would be 2 MB
    )  # fmt: skip
    print(f"{output}: {metrics}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pretrain(arguments.output, steps=arguments.steps, width=arguments.width, seed=arguments.seed)
