"""Pretrain the bundled segmentation module: `python recipes/signs/pretrain.py --output FOLDER`.

Trains a small network with a feature pyramid to find the signs that signs.py draws, and writes a module folder.
Handwriting and scikit-learn's flower.jpg are never seen: they are the target of benchmarks/transfer_segmentation.py.
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
import signs

from hub import tasks
from hub.finetune.batches import Batch
from hub.finetune.callbacks import Progress
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Trainer
from hub.modules import archs, bundle, golden, weights
from hub.modules.network import Network
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Head, ModuleSpec

PREPROCESS: tuple[dict[str, dict[str, Any]], ...] = (
    {"rgb": {}},
    {"normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
)
ARCH = {"name": "fpn", "encoder": {"name": "small_resnet", "width": 16, "in_channels": 3}, "channels": 32}
STEPS = 2000
EPOCHS = 10
BATCH = 8
LEARNING_RATE = 2e-3


class DrawnBatches:
    """Scenes drawn afresh for each epoch, or the same ones every time."""

    def __init__(self, preprocessor: PicturePreprocessor, *, steps: int, seed: int, fresh: bool) -> None:
        self.preprocessor, self.steps, self.seed, self.fresh = preprocessor, steps, seed, fresh
        self.count, self.sizes = steps * BATCH, [BATCH] * steps

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        for step in range(start, self.steps):
            rng = np.random.default_rng((self.seed, number if self.fresh else 0, step))
            pictures, masks = zip(*(signs.source(rng) for _ in range(BATCH)), strict=True)
            yield self.preprocessor.batch(pictures), np.stack(masks).astype(np.int64)


def pretrain(output: Path, *, steps: int, seed: int) -> None:
    """Train and write the module folder. The same seed gives the same weights on the same machine."""
    started = time.perf_counter()
    spec = ModuleSpec.create(
        name="signs_fpn",
        task="semantic_segmentation",
        summary="Small feature pyramid pretrained on signs over textures, for marks and shapes on busy grounds",
        arch=ARCH,
        preprocess=PREPROCESS,
        license="Apache-2.0",
        head=Head(bundle.LABELS_FILE),
    )
    task = tasks.create(spec.task, signs.LABELS)
    preprocessor = PicturePreprocessor(spec.preprocess)
    paddle.seed(seed)
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    train = DrawnBatches(preprocessor, steps=steps // EPOCHS, seed=seed, fresh=True)
    valid = DrawnBatches(preprocessor, steps=16, seed=seed + 1, fresh=False)
    # The overlap in the loss: four pixels of five are ground, and by cross-entropy alone all become ground for long.
    trainer = Trainer(
        network, task, optimizer=paddle.optimizer.AdamW(LEARNING_RATE, parameters=network.parameters()),
        loss=task.loss("dice"), schedule=warmup_cosine, callbacks=[Progress(task.default_metric, train.count)],
    )  # fmt: skip
    last = trainer.fit(train, valid, epochs=EPOCHS)[-1]
    network.eval()
    metrics = {name: round(last[f"valid_{name}"], 3) for name in task.metrics}
    spec = replace(
        spec,
        source={
            "trained_on": f"{EPOCHS * train.count:,} drawn scenes with {sum(map(len, signs.KINDS))} different signs",
            "recipe": "recipes/signs/pretrain.py",
            "metrics": metrics,
        },
    )
    given = golden.example(task.inputs)
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec,
            labels=signs.LABELS,
            backbone=backbone,
            head_state=weights.state_of(network.head),
            preprocessor=preprocessor,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, golden.answer(network, preprocessor, given, task.answers)),
    )
    print(f"{output}: {metrics}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pretrain(arguments.output, steps=arguments.steps, seed=arguments.seed)
