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


def agreement(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Give the share of inputs, or of pixels, with the same label; NaN for pictures that are painted."""
    if "mask" in one[0]:
        return float(np.mean([a["mask"] == b["mask"] for a, b in zip(one, other, strict=True)]))
    if "label" in one[0]:
        return float(np.mean([a["label"] == b["label"] for a, b in zip(one, other, strict=True)]))
    return float("nan")


def number_or_nothing(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def measure(name: str, rounds: int) -> str:
    """Give a row of the table."""
    module, given = load(name), {**CASES, **LARGE}[name]()
    batch = first_batch(module, given)
    of_maps = module.network.backbone.feature_spec.kind == "map"
    network = module._answering().answering(module.network)
    precisions = devices.PRECISIONS if has_bfloat16() else ("fp32",)
    right = infer(network, batch)
    fast, seconds, said, difference = {}, {}, list[str](), {}
    for precision in precisions:
        started = time.perf_counter()
        fast[precision] = compiled.forward(
            network, batch, say=said.append, any_size=of_maps, precision=precision
        )
        seconds[precision] = time.perf_counter() - started
        difference[precision] = compiled._difference(right, fast[precision](batch))
    ratios: dict[str, list[tuple[float, float, float]]] = {precision: [] for precision in precisions}
    rates, same = [], 1.0
    for number in range(rounds + 1):
        slow_s = timed(lambda: infer(network, batch))
        module, eagerly = load(name), np.nan  # with nothing compiled
        if name not in LARGE:
            with Eager():
                eagerly = timed(partial(module.predict, given))
        for precision in precisions:
            fast_s = timed(partial(fast[precision], batch))
            predict = partial(module.predict, given, precision=precision)
            first, again = (np.nan, np.nan) if name in LARGE else (timed(predict), timed(predict))
            if number:  # in the first round things are loaded
                ratios[precision].append((slow_s / fast_s, eagerly / first, eagerly / again))
                rates.append((precision, len(given) / again))
    if "bf16" in precisions:
        same = agreement(module.predict(given), module.predict(given, precision="bf16"))
    cells = [f"`{name}`", str(len(given))]
    for precision in precisions:
        cells += [number_or_nothing(ratio, 1) for ratio in np.median(ratios[precision], axis=0)]
        cells += [number_or_nothing(np.median([rate for p, rate in rates if p == precision]), 0)]
        cells += [f"{seconds[precision]:.1f}", f"{difference[precision]:.0e}"]
    if "bf16" in precisions:
        cells.append("" if np.isnan(same) else f"{same:.1%}")
    return f"| {' | '.join(cells)} |" + (f" {said[0]}" if said else "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--module", nargs="+", choices=[*CASES, *LARGE, "large"], default=list(CASES))
    given = parser.parse_args()
    each = "network | predict | predict again | inputs/s | compiling (s) | difference"
    titles = f"module | inputs | {each}"
    if has_bfloat16():
        titles += f" | bf16: {each} | same label"
    print(f"| {titles} |\n| --- |{' --: |' * titles.count('|')}")
    for name in given.module if "large" not in given.module else LARGE:
        print(measure(name, given.rounds), flush=True)


if __name__ == "__main__":
    main()
