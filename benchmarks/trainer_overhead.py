"""How much time Trainer adds to a bare loop over the same model, batches, loss and optimizer.

    python benchmarks/trainer_overhead.py [--rounds 7]

Both run in one process, epoch by epoch in turn, so that a machine that slows down slows both. Prints the median
of the ratios of each pair, and their range. The callbacks are those of every run: progress, history, best weights.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import paddle

from hub.finetune.batches import ArrayBatches
from hub.finetune.callbacks import KeepBest, Progress, WriteHistory
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


def bare_epoch(
    network: Network, optimizer: paddle.optimizer.Optimizer, data: ArrayBatches, epoch: int
) -> float:
    """One epoch as anybody would write it, the loss read once at every step for a progress line."""
    loss_of = paddle.nn.functional.cross_entropy
    started = time.perf_counter()
    network.train()
    for inputs, targets in data.epoch(epoch):
        loss = loss_of(network(paddle.to_tensor(inputs)), paddle.to_tensor(targets))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        float(loss)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(SAMPLES, 1, 32, 32)).astype(np.float32)
    data = ArrayBatches(inputs, rng.integers(0, CLASSES, SAMPLES), batch_size=BATCH, seed=0)
    bare, optimizer = build()
    network, own_optimizer = build()
    task = create("image_classification", [str(n) for n in range(CLASSES)])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            network,
            task,
            optimizer=own_optimizer,
            loss=task.loss(),
            schedule=warmup_cosine,
            callbacks=[
                KeepBest("accuracy", larger_is_better=True, save=lambda: None),
                WriteHistory(Path(folder)),
                Progress("accuracy", SAMPLES),
            ],
        )
        pairs = []
        for number in range(rounds + 2):
            trainer.step = 0
            plain = bare_epoch(bare, optimizer, data, number)
            started = time.perf_counter()
            trainer.fit(data, None, epochs=1)
            pairs.append((plain, time.perf_counter() - started))
            trainer.history.clear()
    pairs = pairs[2:]  # the first rounds warm up
    ratios = [ours / plain for plain, ours in pairs]
    print(f"bare loop   {statistics.median(plain for plain, _ in pairs):.3f} s an epoch", file=sys.stderr)
    print(f"Trainer     {statistics.median(ours for _, ours in pairs):.3f} s an epoch", file=sys.stderr)
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, {rounds} pairs)")


if __name__ == "__main__":
    main()
