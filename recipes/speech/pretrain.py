"""Pretrain the bundled sound module: `python recipes/speech/pretrain.py --output FOLDER`.

Trains a small residual network to tell apart the words that speak.py has spoken, and writes a module folder.
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
import speak

from hub import tasks
from hub.finetune.batches import Batch
from hub.finetune.callbacks import Progress
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Trainer
from hub.modules import archs, bundle, golden, preprocessor, weights
from hub.modules.network import Network
from hub.modules.sound_preprocessor import SoundPreprocessor
from hub.modules.spec import Head, ModuleSpec, Named

Steps = tuple[dict[str, dict[str, Any]], ...]

PREPROCESS: Steps = (
    {"clip": {"seconds": speak.SECONDS}},
    {"level": {"peak": 0.9}},
    {"log_mel": {
        "rate": speak.RATE, "window": 512, "hop": 160, "mels": 40, "low": 50, "high": 7600, "amin": 1e-6,
        "mean": -40.0, "std": 20.0,
    }},
)  # fmt: skip
AUGMENT: Steps = ({"random_shift": {"seconds": 0.1}}, {"random_noise": {"low": 15, "high": 40}})
HARDER: Steps = (
    {"random_shift": {"seconds": 0.15}},
    {"random_noise": {"low": 3, "high": 40}},
    {"mask_spectrogram": {"times": 1, "frames": 0.15, "bands": 0.2}},
)
"""What the words are changed by in pretraining."""
EACH = 48
"""Clips of each word; five more are to measure on."""
EPOCHS = 8
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05


class SpokenBatches:
    """Clips in a seeded order, other random variants in every epoch; without `varied` as they are."""

    def __init__(self, clips: speak.Clips, steps: SoundPreprocessor, *, seed: int, varied: bool) -> None:
        self.clips, self.preprocessor, self.seed, self.varied = clips, steps, seed, varied
        self.count = len(clips.targets)
        self.steps = -(-self.count // BATCH)
        self.sizes = [len(part) for part in np.array_split(np.arange(self.count), self.steps)]

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(self.count) if self.varied else np.arange(self.count)
        for chosen in np.array_split(order, self.steps)[start:]:
            items = [self._item(index, rng) for index in chosen.tolist()]
            yield self.preprocessor.batch(items), self.clips.targets[chosen]

    def _item(self, index: int, rng: np.random.Generator) -> np.ndarray:
        samples = self.preprocessor.read((self.clips.samples[index], speak.RATE))
        return self.preprocessor.augmented(samples, rng) if self.varied else samples


def pretrain(output: Path, *, epochs: int, each: int, width: int, seed: int) -> None:
    """Train and write the module folder. The same seed gives the same weights on the same machine."""
    started = time.perf_counter()
    clips, held = speak.source(each, seed=seed), speak.source(5, seed=seed + 1000)
    print(
        f"{len(clips.words)} words, {len(clips.targets):,} clips, sha256 {speak.digest(clips)[:16]}",
        flush=True,
    )
    spec = ModuleSpec.create(
        name="speech_cnn",
        task="audio_classification",
        summary="Small residual network pretrained on spoken words, for words, commands and short sounds",
        arch={"name": "small_audio_cnn", "width": width},
        preprocess=PREPROCESS,
        augment=AUGMENT,
        license="Apache-2.0",
        head=Head(bundle.LABELS_FILE),
    )
    task = tasks.create(spec.task, clips.words)
    harder = SoundPreprocessor(spec.preprocess, [Named(*item) for step in HARDER for item in step.items()])
    paddle.seed(seed)
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    train = SpokenBatches(clips, harder, seed=seed, varied=True)
    valid = SpokenBatches(held, harder, seed=seed, varied=False)
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
            "trained_on": f"{len(clips.targets):,} clips of {len(clips.words)} words in {len(speak.SOURCE)} languages, "
            f"spoken by espeak-ng in {len(speak.SOURCE_VOICES)} voices",
            "recipe": "recipes/speech/pretrain.py",
            "metrics": {"accuracy": round(last["valid_accuracy"], 4)},
        },
    )
    steps = preprocessor.build(spec.preprocess, spec.augment)
    given = golden.example(task.inputs)
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec,
            labels=clips.words,
            backbone=backbone,
            head_state=weights.state_of(network.head),
            preprocessor=steps,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, golden.answer(network, steps, given)),
    )
    print(f"{output}: accuracy {last['valid_accuracy']:.3f}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--each", type=int, default=EACH, help="clips of each word")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pretrain(
        arguments.output,
        epochs=arguments.epochs,
        each=arguments.each,
        width=arguments.width,
        seed=arguments.seed,
    )
