"""What pretraining brings to style transfer: `python benchmarks/transfer_style.py FOLDER`.

The same network learns the same style for the same number of steps from the module's weights and from random ones,
three times with other styles. Both are measured by the module's encoder, on crops of scikit-learn's flower.jpg, which
the module has never seen. Lower is better.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import paddle
from sklearn.datasets import load_sample_image

from hub.finetune.schedules import warmup_cosine
from hub.modules import archs, bundle
from hub.modules.network import Network, infer
from hub.tasks.style_transfer import StyleTransfer

SIDE, BATCH, STEPS, LEARNING_RATE, SEEDS, TESTED = 64, 4, 40, 1e-3, (0, 1, 2), 8


def crops(name: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Give float32 [count, 3, SIDE, SIDE] of every third pixel."""
    photo, reach = load_sample_image(name), 3 * SIDE
    places = [
        (rng.integers(0, photo.shape[0] - reach), rng.integers(0, photo.shape[1] - reach))
        for _ in range(count)
    ]
    found = np.stack([photo[y : y + reach : 3, x : x + reach : 3] for y, x in places])
    return found.transpose(0, 3, 1, 2).astype(np.float32) / 255


def style(seed: int) -> np.ndarray:
    """Give a chequered picture in two random colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:128, 0:128] // int(rng.integers(4, 12))
    colours = rng.integers(0, 256, (2, 3))
    return colours[(x + y) % 2].astype(np.uint8)


def main(module: bundle.Bundle) -> None:
    print("total loss, after the same steps: from scratch, pretrained; pretrained before any step")
    rows = []
    for seed in SEEDS:
        paddle.seed(seed)
        task = StyleTransfer(style=style(seed))
        task.attach(copy.deepcopy(module.backbone))  # measures, and is not trained
        loss = task.loss()
        test = crops("flower.jpg", TESTED, np.random.default_rng(99)), np.zeros(TESTED, np.int64)
        row = []
        for backbone in (
            archs.build(module.spec.arch.name, **module.spec.arch.arguments), copy.deepcopy(module.backbone),
        ):  # fmt: skip
            backbone.keep(task.styles)
            network = Network(backbone, paddle.nn.Identity())
            untrained = score(task, network, test)
            train(network, loss, seed)
            row.append(score(task, network, test))
        rows.append([*row, untrained])
        print(seed, " ".join(f"{value:.3f}" for value in rows[-1]), flush=True)
    means, deviations = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
    print("mean", "   ".join(f"{m:.2f} ± {d:.2f}" for m, d in zip(means, deviations, strict=True)))


def train(network: Network, loss: object, seed: int) -> None:
    optimizer = paddle.optimizer.Adam(LEARNING_RATE, parameters=network.parameters())
    network.train()
    for step in range(STEPS):
        content = crops("china.jpg", BATCH, np.random.default_rng((seed, step)))
        given = paddle.to_tensor(content), paddle.zeros([BATCH], "int64")
        optimizer.set_lr(LEARNING_RATE * warmup_cosine(step / STEPS))
        loss(network(given), given).backward()  # type: ignore[operator]
        optimizer.step()
        optimizer.clear_grad()


def score(task: StyleTransfer, network: Network, test: tuple[np.ndarray, np.ndarray]) -> float:
    meter = task.meter()
    meter.update(infer(network, test), test)
    return float(meter.compute()["total_loss"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the folder that recipes/style/pretrain.py wrote")
    main(bundle.load(parser.parse_args().module))
