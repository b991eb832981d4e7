"""What pretraining brings to colorization: `python benchmarks/transfer_colorization.py FOLDER`.

The target is scikit-learn's flower.jpg, which the bundled module has never seen: a few crops of its left half to learn
from, crops of its right half to be measured on. The same network is trained with the same settings from the module's
weights and from random ones, three times each with other crops. PSNR of the colour planes in dB, higher is better; the
mean colour of the training crops is the answer that needs no network.
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
from hub.tasks.colorization import Colorization, ColourMeter
from hub.tasks.picture_metrics import psnr
from hub.transforms import lab

SIDE, BATCH, STEPS, LEARNING_RATE = 64, 4, 50, 1e-3
CROPS, SEEDS, TESTED = (2, 8), (0, 1, 2), 16


def crops(half: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Give crops of 192×192 pixels, every third pixel of them."""
    rng = np.random.default_rng(seed)
    places = [
        (rng.integers(0, half.shape[0] - 192), rng.integers(0, half.shape[1] - 192)) for _ in range(count)
    ]
    return [np.ascontiguousarray(half[y : y + 192 : 3, x : x + 192 : 3]) for y, x in places]


def score(network: Network, pictures: list[np.ndarray]) -> float:
    """Give the mean psnr_ab without hints."""
    examples, meter = Colorization.examples(PREPROCESSOR), ColourMeter()
    given, targets = examples.batch(pictures, np.zeros(len(pictures), np.int64))
    meter.update(infer(network, given), np.asarray(targets))
    return float(meter.compute()["psnr_ab"])


def train(network: Network, pictures: list[np.ndarray], seed: int) -> None:
    """Train for STEPS steps on random variants of the crops."""
    task = Colorization()
    examples, loss = task.examples(PREPROCESSOR), task.loss()
    optimizer = paddle.optimizer.AdamW(LEARNING_RATE, parameters=network.parameters())
    network.train()
    for step in range(STEPS):
        rng = np.random.default_rng((seed, step))
        chosen = [pictures[k] for k in rng.integers(0, len(pictures), BATCH)]
        given, targets = examples.batch(
            [examples.vary(one, rng) for one in chosen], np.zeros(BATCH, np.int64)
        )
        optimizer.set_lr(LEARNING_RATE * warmup_cosine(step / STEPS))
        loss(network(tuple(map(paddle.to_tensor, given))), paddle.to_tensor(targets)).backward()
        optimizer.step()
        optimizer.clear_grad()


def main(module: bundle.Bundle) -> None:
    photo = load_sample_image("flower.jpg")
    left, right = photo[:, :320], photo[:, 320:]
    test = crops(right, TESTED, seed=99)
    pretrained = Network(module.backbone, paddle.nn.Identity())
    print(f"without any training: {score(pretrained, test):.2f} dB")
    print("crops  from scratch   pretrained     mean colour")
    for count in CROPS:
        rows = []
        for seed in SEEDS:
            pictures = crops(left, count, seed)
            paddle.seed(seed)
            scratch = Network(
                archs.build(module.spec.arch.name, **module.spec.arch.arguments), paddle.nn.Identity()
            )
            tuned = Network(copy.deepcopy(module.backbone), paddle.nn.Identity())
            for network in (scratch, tuned):
                train(network, pictures, seed)
            mean = np.mean([lab.from_rgb(one)[..., 1:] for one in pictures], axis=(0, 1, 2))
            constant = np.mean(
                [
                    psnr(np.broadcast_to(mean, (SIDE, SIDE, 2)), lab.from_rgb(x)[..., 1:], peak=110)
                    for x in test
                ]
            )
            rows.append((score(scratch, test), score(tuned, test), float(constant)))
        means, deviations = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
        print(
            f"{count:5d}  "
            + "   ".join(f"{m:5.2f} ± {d:4.2f}" for m, d in zip(means, deviations, strict=True)),
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the folder that recipes/colorization/pretrain.py wrote")
    loaded = bundle.load(parser.parse_args().module)
    PREPROCESSOR = loaded.preprocessor
    main(loaded)
