"""How much time Trainer adds to a bare loop over the same model, batches, loss and optimizer.

    python benchmarks/trainer_overhead.py [--epochs 24]

One run of Trainer with the callbacks that every run has (history, best weights, progress); after each of its epochs
the bare loop goes through the same batches, so that a machine that slows down slows both. Prints the median of the
ratios of each pair, with the middle half of them, of wall time and of processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle

from hub.finetune.batches import Batches, Stored
from hub.finetune.callbacks import Callback, KeepBest, Progress, WriteHistory
from hub.finetune.sampling import shuffled_order
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Trainer
from hub.modules import archs
from hub.modules.network import Network
from hub.tasks import create

SAMPLES, BATCH, CLASSES = 512, 32, 10


def build() -> tuple[Network, paddle.optimizer.Optimizer]:
    paddle.seed(0)
    task = create("image_classification", [str(n) for n in range(CLASSES)])
    backbone = archs.build("small_resnet", width=16)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    return network, paddle.optimizer.AdamW(5e-4, parameters=network.parameters(), weight_decay=1e-4)


def bare_epoch(network: Network, optimizer: paddle.optimizer.Optimizer, data: Batches, epoch: int) -> None:
    """One epoch as anybody would write it, the loss read once at every step for a progress line."""
    loss_of = paddle.nn.functional.cross_entropy
    network.train()
    for inputs, targets in data.epoch(epoch):
        loss = loss_of(network(paddle.to_tensor(inputs)), paddle.to_tensor(targets))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        float(loss)


class Interleave(Callback):
    """Times each epoch of the trainer, and after it one of the bare loop."""

    def __init__(self, bare: Callable[[int], None]) -> None:
        self.bare = bare
        self.ratios: list[np.ndarray] = []

    def on_epoch_begin(self, trainer: Trainer) -> None:
        self.started = clocks()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, object]) -> None:
        between = clocks()
        self.bare(trainer.epoch)
        self.ratios.append((between - self.started) / (clocks() - between))


def clocks() -> np.ndarray:
    """Give (wall, processor) seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=24)
    epochs = parser.parse_args().epochs

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(SAMPLES, 1, 32, 32)).astype(np.float32)
    data = Batches(
        Stored([inputs], rng.integers(0, CLASSES, SAMPLES)), batch_size=BATCH,
        order=lambda epoch: shuffled_order(SAMPLES, seed=0, epoch=epoch),
    )  # fmt: skip
    bare, optimizer = build()
    network, own_optimizer = build()
    task = create("image_classification", [str(n) for n in range(CLASSES)])
    interleave = Interleave(lambda epoch: bare_epoch(bare, optimizer, data, epoch))
    keeper = KeepBest("accuracy", larger_is_better=True, save=lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            network,
            task,
            optimizer=own_optimizer,
            loss=task.loss(),
            schedule=warmup_cosine,
            callbacks=[keeper, WriteHistory(Path(folder), keeper), Progress("accuracy", SAMPLES), interleave],
        ).fit(data, None, epochs=epochs + 2)
    for name, ratios in zip(("wall time", "processor time"), np.array(interleave.ratios[2:]).T, strict=True):
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(
            f"{name}: Trainer / bare loop {middle:.3f} (middle half {low:.3f} to {high:.3f}, {epochs} pairs)"
        )


if __name__ == "__main__":
    main()
