"""How much faster answers come when the network is compiled: for each kind of module, one after the other in turns.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py [--rounds 5]

Prints for the bundled modules, and for two networks for photographs with random weights, the median over the rounds of
the time as paddle runs the network eagerly / the time compiled: of the network alone on one batch, and of all of
`predict` on many inputs, which includes reading them and in the first call of a module compiling (a second at most).
Beside it how long compiling took, and the largest difference between the two, relative to the largest value.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import hub
from hub.modules import compiled, kept
from hub.modules.network import infer

PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "mobilenet_v3_small": {"name": "mobilenet_v3_small"},
    "resnet18": {"name": "resnet", "depth": 18},
}


def pictures(count: int, side: int) -> list[np.ndarray]:
    """Give smooth random pictures, uint8 [side, side, 3]."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, -(-side // 16), -(-side // 16), 3), np.uint8)
    return list(coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :side, :side])


def sounds(count: int) -> list[tuple[np.ndarray, int]]:
    """Give noise, a second each."""
    rng = np.random.default_rng(0)
    return [(rng.normal(0, 0.1, 16_000).astype(np.float32), 16_000) for _ in range(count)]


CASES: dict[str, Callable[[], list[Any]]] = {
    "glyphs_cnn": lambda: pictures(2000, 28),
    "speech_cnn": lambda: sounds(400),
    "signs_fpn": lambda: pictures(12, 512),
    "scenes_colorizer": lambda: pictures(64, 128),
    "textures_stylizer": lambda: pictures(24, 256),
    "mobilenet_v3_small": lambda: pictures(300, 224),
    "resnet18": lambda: pictures(300, 224),
}


def load(name: str) -> hub.Module:
    if name not in PHOTOGRAPHS:
        return hub.Module(name, device="cpu")
    return hub.Module.create(
        name, task="image_classification", arch=PHOTOGRAPHS[name], labels=["a", "b"],
        preprocess=[{"normalize": {"mean": [0.5], "std": [0.25]}}], device="cpu",
    )  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Eager:
    """While it lasts, predict compiles nothing."""

    def __enter__(self) -> None:
        self.usual = kept.BYTES_A_PIXEL
        kept.BYTES_A_PIXEL = 0

    def __exit__(self, *error: object) -> None:
        kept.BYTES_A_PIXEL = self.usual


def first_batch(module: hub.Module, given: list[Any]) -> Any:
    """Give the first batch that predict puts through the network."""
    seen: list[Any] = []
    forward = kept.infer

    def watched(layer: Any, batch: Any) -> Any:
        seen.append(batch)
        return forward(layer, batch)

    kept.infer = watched
    try:
        with Eager():
            module.predict(given[:32])
    finally:
        kept.infer = forward
    return seen[0]


def measure(name: str, rounds: int) -> str:
    """Give a row of the table."""
    module, given = load(name), CASES[name]()
    batch = first_batch(module, given)
    of_maps = module.network.backbone.feature_spec.kind == "map"
    network = module._answering().answering(module.network)
    said: list[str] = []
    started = time.perf_counter()
    fast = compiled.forward(network, batch, say=said.append, any_size=of_maps)
    compiling_s = time.perf_counter() - started
    right, found = infer(network, batch), fast(batch)
    difference = compiled._difference(right, found)
    ratios, seconds = [], []
    for number in range(rounds + 1):
        slow_s, fast_s = timed(lambda: infer(network, batch)), timed(lambda: fast(batch))
        module = load(name)  # with nothing compiled
        with Eager():
            eagerly = timed(partial(module.predict, given))
        first, again = timed(partial(module.predict, given)), timed(partial(module.predict, given))
        if number:  # in the first round things are loaded
            ratios.append((slow_s / fast_s, eagerly / first, eagerly / again))
            seconds.append(again)
    columns = " | ".join(f"{ratio:.1f}" for ratio in np.median(ratios, axis=0))
    rate = len(given) / np.median(seconds)
    note = f" ({said[0]})" if said else ""
    return (
        f"| `{name}` | {columns} | {compiling_s:.1f} | {len(given)} | {rate:.0f} | {difference:.0e}{note} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--module", nargs="+", choices=CASES, default=list(CASES))
    given = parser.parse_args()
    print(
        "| module | network | predict | predict again | compiling (s) | inputs | inputs/s | difference |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: |"
    )
    for name in given.module:
        print(measure(name, given.rounds), flush=True)


if __name__ == "__main__":
    main()
