"""How much faster answers come when the network is compiled: for each kind of module, one after the other in turns.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py [--rounds 5] [--module NAME …]

Prints for the bundled modules, and for published networks with random weights, the median over the rounds of the time
as paddle runs the network eagerly / the time compiled: of the network alone on one batch, and of all of `predict` on
many inputs, which includes reading them and in the first call of a module compiling (a second at most). Large networks
(`--module large`) are taken alone: beside them the rest of predict is little, and HRNet is compiled in 8 seconds.
There follow how long compiling took, and the largest difference between the two, relative to the largest value. On a
processor that computes bfloat16, the same with precision="bf16", and the share of inputs, or of a mask's pixels, that
get the same label.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import hub
from hub.errors import DeviceError
from hub.modules import compiled, devices, kept
from hub.modules.network import infer
from hub.transforms.spectrogram import PANNS

NORMALIZE = {"normalize": {"mean": [0.5], "std": [0.25]}}
HEARD = [{"clip": {"seconds": 10}}, {"log_mel": PANNS}]
RANDOM: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "mobilenet_v3_small": ("image_classification", {"name": "mobilenet_v3_small"}, [NORMALIZE]),
    "resnet18": ("image_classification", {"name": "resnet", "depth": 18}, [NORMALIZE]),
    **{f"panns_cnn{n}": ("audio_classification", {"name": f"panns_cnn{n}"}, HEARD) for n in (6, 10, 14)},
    **{
        name: ("semantic_segmentation", {"name": name}, [{"rgb": {}}, NORMALIZE])
        for name in ("fcn_hrnet", "ocrnet_hrnet", "deeplabv3p")
    },
    "user_guided": (
        "colorization",
        {"name": "user_guided_colorization"},
        [{"rgb": {}}, {"resize": {"size": 256}}, {"normalize": {}}],
    ),
}
"""Task, architecture and preprocessing of the networks with random weights."""


COLUMNS = ("network", "predict", "predict again", "inputs/s", "compiling (s)", "difference")


def pictures(count: int, side: int) -> list[np.ndarray]:
    """Give smooth random pictures, uint8 [side, side, 3]."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, -(-side // 16), -(-side // 16), 3), np.uint8)
    return list(coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :side, :side])


def sounds(count: int, seconds: int = 1) -> list[tuple[np.ndarray, int]]:
    """Give noise."""
    rng = np.random.default_rng(0)
    return [(rng.normal(0, 0.1, seconds * 16_000).astype(np.float32), 16_000) for _ in range(count)]


CASES: dict[str, Callable[[], list[Any]]] = {
    "glyphs_cnn": lambda: pictures(4000, 28),
    "speech_cnn": lambda: sounds(1000),
    "signs_fpn": lambda: pictures(12, 512),
    "scenes_colorizer": lambda: pictures(64, 128),
    "textures_stylizer": lambda: pictures(24, 256),
    "mobilenet_v3_small": lambda: pictures(300, 224),
    "resnet18": lambda: pictures(300, 224),
}
LARGE: dict[str, Callable[[], list[Any]]] = {
    **{f"panns_cnn{n}": lambda: sounds(8, 10) for n in (6, 10, 14)},
    **{name: lambda: pictures(2, 512) for name in ("fcn_hrnet", "ocrnet_hrnet", "deeplabv3p")},
    "user_guided": lambda: pictures(4, 256),
}


def load(name: str) -> hub.Module:
    if name not in RANDOM:
        return hub.Module(name, device="cpu")
    task, arch, preprocess = RANDOM[name]
    labels = () if task == "colorization" else ["a", "b"]
    return hub.Module.create(name, task=task, arch=arch, labels=labels, preprocess=preprocess, device="cpu")


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


def has_bfloat16() -> bool:
    try:
        devices.require_precision("bf16", "cpu")
    except DeviceError:
        return False
    return True


def same_label(module: hub.Module, given: list[Any]) -> str:
    """Give the share of inputs, or of pixels, that have the same label in bfloat16; "" where there are no labels."""
    one, other = (module.predict(given, precision=precision) for precision in devices.PRECISIONS)
    kind = next((kind for kind in ("mask", "label") if kind in one[0]), None)
    if kind is None:
        return ""
    return f"{np.mean([a[kind] == b[kind] for a, b in zip(one, other, strict=True)]):.1%}"


def measure(name: str, precision: str, rounds: int) -> list[str]:
    """Give the cells of COLUMNS, in the first of them why nothing was compiled."""
    module, given = load(name), {**CASES, **LARGE}[name]()
    batch = first_batch(module, given)
    of_maps = module.network.backbone.feature_spec.kind == "map"
    network = module._answering().answering(module.network)
    said: list[str] = []
    started = time.perf_counter()
    fast = compiled.forward(network, batch, say=said.append, any_size=of_maps, precision=precision)
    compiling_s = time.perf_counter() - started
    if fast.compiled is None:
        return [said[-1], *[""] * (len(COLUMNS) - 1)]
    difference = compiled._difference(infer(network, batch), fast(batch))
    rows = []
    for _ in range(rounds + 1):
        row = [timed(lambda: infer(network, batch)) / timed(lambda: fast(batch))]
        if name not in LARGE:
            module = load(name)  # with nothing compiled
            predict = partial(module.predict, given, precision=precision)
            with Eager():
                eagerly = timed(partial(module.predict, given))
            first, again = timed(predict), timed(predict)
            row += [eagerly / first, eagerly / again, len(given) / again]
        rows.append(row)
    found = [f"{value:.1f}" for value in np.median(rows[1:], axis=0)]  # in the first round things are loaded
    return [*found, *[""] * (4 - len(found)), f"{compiling_s:.1f}", f"{difference:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--module", nargs="+", choices=[*CASES, *LARGE, "large"], default=list(CASES))
    given = parser.parse_args()
    precisions = devices.PRECISIONS if has_bfloat16() else ("fp32",)
    titles = ["module", *(f"{precision}: {title}" for precision in precisions for title in COLUMNS)]
    print(f"| {' | '.join([*titles, 'same label'])} |\n| --- |{' --: |' * len(titles)}")
    for name in given.module if "large" not in given.module else LARGE:
        cells = [measure(name, precision, given.rounds) for precision in precisions]
        same = same_label(load(name), {**CASES, **LARGE}[name]()) if len(cells) > 1 and cells[1][-1] else ""
        print(f"| {' | '.join([f'`{name}`', *itertools.chain(*cells), same])} |", flush=True)


if __name__ == "__main__":
    main()
