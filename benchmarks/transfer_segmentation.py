"""What pretraining brings to segmentation: `python benchmarks/transfer_segmentation.py FOLDER`.

The target is scikit-learn's handwritten digits on crops of its flower.jpg, neither of which the bundled module has ever
seen: a few pictures to learn from, with digits and the half of the photograph that the pictures to be measured on do
not have. The same network is trained for the same number of steps from random weights, from the module's, and from the
module's with nothing but the head trained, three times each with other pictures. Mean IoU of ground and ink, higher is
better; calling everything ground is the answer that needs no network.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import paddle

from hub.finetune.schedules import warmup_cosine
from hub.modules import archs, bundle, weights
from hub.modules.network import Network, infer
from hub.tasks.segmentation import SemanticSegmentation

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "signs"))
import signs

BATCH, STEPS = 4, 100
LEARNING_RATE, OF_HEAD = 3e-3, 3e-2
PICTURES, SEEDS, TESTED = (3, 10, 30), (0, 1, 2), 64
TASK = SemanticSegmentation(("ground", "ink"))


def drawn(count: int, seed: int, part: signs.Part) -> list[signs.Scene]:
    rng = np.random.default_rng(seed)
    return [signs.target(rng, part) for _ in range(count)]


def score(network: Network, pairs: list[signs.Scene]) -> float:
    """Give the mean IoU over all pixels."""
    meter = TASK.meter()
    given, targets = EXAMPLES.batch(pairs, np.zeros(len(pairs), np.int64))
    meter.update(infer(network, given), targets)
    return float(meter.compute()["miou"])


def train(network: Network, pairs: list[signs.Scene], seed: int, *, head_only: bool) -> None:
    """Train for STEPS steps on random variants of the pictures."""
    trained, rate = (network.head, OF_HEAD) if head_only else (network, LEARNING_RATE)
    loss, optimizer = TASK.loss(), paddle.optimizer.AdamW(rate, parameters=trained.parameters())
    network.eval()
    trained.train()
    for parameter in network.backbone.parameters():
        parameter.stop_gradient = head_only
    for step in range(STEPS):
        rng = np.random.default_rng((seed, step))
        chosen = [EXAMPLES.vary(pairs[k], rng) for k in rng.integers(0, len(pairs), BATCH)]
        given, targets = EXAMPLES.batch(chosen, np.zeros(BATCH, np.int64))
        optimizer.set_lr(rate * warmup_cosine(step / STEPS))
        loss(network(paddle.to_tensor(given)), paddle.to_tensor(targets)).backward()
        optimizer.step()
        optimizer.clear_grad()


def main(module: bundle.Bundle) -> None:
    test = drawn(TESTED, 99, "test")
    ground = 1 - np.mean([mask for _, mask in test])
    print(f"everything is ground: {ground / 2:.1%}")
    pretrained = Network(module.backbone, TASK.build_head(module.backbone.feature_spec))
    weights.give(pretrained.head, module.head_state, what="the module's head")
    print(f"signs for ink, without any training: {score(pretrained, test):.1%}")
    print("pictures  from scratch    fine-tuned      head alone")
    for count in PICTURES:
        rows = []
        for seed in SEEDS:
            pairs = drawn(count, seed, "train")
            paddle.seed(seed)
            scratch = archs.build(module.spec.arch.name, **module.spec.arch.arguments)
            row = []
            for backbone, head_only in (
                (scratch, False), (copy.deepcopy(module.backbone), False), (copy.deepcopy(module.backbone), True),
            ):  # fmt: skip
                network = Network(backbone, TASK.build_head(backbone.feature_spec))
                train(network, pairs, seed, head_only=head_only)
                row.append(100 * score(network, test))
            rows.append(row)
        means, deviations = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
        shown = "   ".join(f"{m:5.1f} ± {d:4.1f}" for m, d in zip(means, deviations, strict=True))
        print(f"{count:8d}  {shown}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the folder that recipes/signs/pretrain.py wrote")
    loaded = bundle.load(parser.parse_args().module)
    EXAMPLES = TASK.examples(loaded.preprocessor)
    main(loaded)
