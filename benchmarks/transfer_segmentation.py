"""What pretraining brings to segmentation: `python benchmarks/transfer_segmentation.py FOLDER`.

The target is scikit-learn's handwritten digits on crops of its flower.jpg, neither of which the bundled module has ever
seen: a few pictures to learn from, with digits and the half of the photograph that the pictures to be measured on do
not have. The same network is trained for the same number of steps from random weights, from the module's with a fresh
head, from the module's with the head that closed_form.py fits, and with nothing but that head trained, three times each
with other pictures. The learning rate of each way is the best of LEARNING_RATES at ten pictures, measured on pictures
that are neither learnt from nor tested on. Mean IoU of ground and ink, higher is better; calling everything ground is
the answer that needs no network.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from hub.finetune import closed_form
from hub.finetune.batches import ItemCache, Read
from hub.finetune.schedules import warmup_cosine
from hub.modules import archs, bundle, weights
from hub.modules.network import Network, infer
from hub.tasks.segmentation import SemanticSegmentation

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "signs"))
import signs

BATCH, STEPS = 4, 100
LEARNING_RATES, TUNED_AT = (1e-3, 3e-3, 1e-2), 10
PICTURES, SEEDS, TESTED = (3, 10, 30), (0, 1, 2), 64
TASK = SemanticSegmentation(("ground", "ink"))


@dataclass(frozen=True)
class Way:
    """Where a network begins, and whether anything but its head is trained."""

    name: str
    pretrained: bool = True
    fitted: bool = False
    head_only: bool = False


WAYS = (
    Way("from scratch", pretrained=False),
    Way("fine-tuned"),
    Way("fitted, fine-tuned", fitted=True),
    Way("fitted, head alone", fitted=True, head_only=True),
)


@dataclass(frozen=True)
class Drawn:
    """A scene as a dataset has it."""

    input: Any
    label: Any


def drawn(count: int, seed: int, part: signs.Part) -> list[signs.Scene]:
    rng = np.random.default_rng(seed)
    return [signs.target(rng, part) for _ in range(count)]


def score(network: Network, pairs: list[signs.Scene]) -> float:
    """Give the mean IoU over all pixels in percent."""
    meter = TASK.meter()
    given, targets = EXAMPLES.batch(pairs, np.zeros(len(pairs), np.int64))
    meter.update(infer(network, given), np.asarray(targets))
    return 100 * float(meter.compute()["miou"])


def begun(module: bundle.Bundle, pairs: list[signs.Scene], seed: int, way: Way) -> Network:
    """Give the network that a way begins with."""
    paddle.seed(seed)
    backbone = copy.deepcopy(module.backbone)
    if not way.pretrained:
        backbone = archs.build(module.spec.arch.name, **module.spec.arch.arguments)
    network = Network(backbone, TASK.build_head(backbone.feature_spec))
    if way.fitted:
        samples = [Drawn(*pair) for pair in pairs]
        varied = Read(samples, ItemCache(EXAMPLES), np.zeros(len(pairs), np.int64), seed=seed)
        closed_form.fit_pixel_head(network, TASK, varied, seed=seed)
    return network


def train(network: Network, pairs: list[signs.Scene], seed: int, *, rate: float, head_only: bool) -> None:
    """Train for STEPS steps on random variants of the pictures."""
    trained = network.head if head_only else network
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


def scores(module: bundle.Bundle, count: int, way: Way, rate: float, *sets: list[signs.Scene]) -> np.ndarray:
    """Give the mean IoU on each of `sets`, [S, seeds], after training on so many pictures."""
    rows = []
    for seed in SEEDS:
        pairs = drawn(count, seed, "train")
        network = begun(module, pairs, seed, way)
        if rate:
            train(network, pairs, seed, rate=rate, head_only=way.head_only)
        rows.append([score(network, pictures) for pictures in sets])
    return np.array(rows).T


def shown(values: np.ndarray) -> str:
    return f"{values.mean():6.1f} ± {values.std(ddof=1):4.1f}       "


def main(module: bundle.Bundle) -> None:
    test, valid = drawn(TESTED, 99, "test"), drawn(TESTED, 98, "train")
    ground = 1 - np.mean([mask for _, mask in test])
    print(f"everything is ground: {ground / 2:.1%}")
    pretrained = Network(module.backbone, TASK.build_head(module.backbone.feature_spec))
    weights.give(pretrained.head, module.head_state, what="the module's head")
    print(f"signs for ink, without any training: {score(pretrained, test):.1f}")
    fitted = [shown(scores(module, count, WAYS[-1], 0, test)) for count in PICTURES]
    print(f"fitted head, no steps, {PICTURES} pictures: {''.join(fitted)}")
    print(
        f"pictures     rate  {''.join(f'{way.name:20s}' for way in WAYS)}(on pictures to choose the rate by)"
    )
    best: dict[Way, tuple[float, float]] = {}
    tested: dict[Way, np.ndarray] = {}
    for rate in LEARNING_RATES:
        print(f"{TUNED_AT:8d}  {rate:7.0e}  ", end="", flush=True)
        for way in WAYS:
            chosen_by, on_test = scores(module, TUNED_AT, way, rate, valid, test)
            print(shown(chosen_by), end="", flush=True)
            if chosen_by.mean() > best.get(way, (0.0, 0.0))[0]:
                best[way], tested[way] = (chosen_by.mean(), rate), on_test
        print(flush=True)
    print("pictures     best  " + "".join(f"{way.name:20s}" for way in WAYS))
    for count in sorted(PICTURES, key=lambda count: count != TUNED_AT):
        print(f"{count:8d}           ", end="", flush=True)
        for way in WAYS:
            on_test = tested[way] if count == TUNED_AT else scores(module, count, way, best[way][1], test)[0]
            print(shown(on_test), end="", flush=True)
        print(flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the folder that recipes/signs/pretrain.py wrote")
    loaded = bundle.load(parser.parse_args().module)
    EXAMPLES = TASK.examples(loaded.preprocessor)
    main(loaded)
