"""What three habits of hub are worth on a CPU: keeping memory, choosing kernels, and layers that paddle is fast in.

    OMP_NUM_THREADS=1 python benchmarks/cpu.py [--rounds 5]

The layers of hub.modules.map_layers are compared with paddle's own, forward and back, by turns in one process. The
others are settings of the whole process, so a step of training and a prediction are timed in processes that take turns,
one kind with `GLIBC_TUNABLES` or `MKL_DEBUG_CPU_TYPE` set to nothing, which hub takes for a choice of the user's.
Kernels are chosen on AMD's processors alone: elsewhere those ratios are 1. Prints medians of the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MODULES = ("signs_fpn", "scenes_colorizer", "glyphs_cnn")
HABITS = {"memory kept / not": "GLIBC_TUNABLES", "kernels by hub / by MKL": "MKL_DEBUG_CPU_TYPE"}
"""Each with the variable that, set to nothing, leaves it to the libraries."""
SHAPES = ((16, 24, 64, 64), (4, 64, 64, 64))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def pairs(channels: int) -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    """Give (hub's, paddle's) of each layer."""
    from paddle import nn
    from paddle.nn import functional as F

    from hub.modules import map_layers

    ours, theirs = (kind(channels, channels, 3, padding=1) for kind in (map_layers.Conv2D, nn.Conv2D))
    return {
        "3×3 convolution with a bias": (ours, theirs),
        "twice as large, nearest": (
            map_layers.enlarged,
            lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
        ),
        "twice as large, bilinear": (
            lambda x: map_layers.interpolated(x, times=2),
            lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        ),
        "a mirrored border of 1": (
            lambda x: map_layers.mirrored(x, 1),
            lambda x: F.pad(x, [1] * 4, mode="reflect"),
        ),
    }


def layers(rounds: int) -> None:
    import paddle

    from hub.modules import devices

    devices.choose("cpu")
    print("| layer | maps | paddle / hub | ms |\n| --- | --- | --: | --: |")
    for shape in SHAPES:
        x = paddle.randn(shape)
        x.stop_gradient = False
        for name, both in pairs(shape[1]).items():
            # The gradient of a mean has the same value everywhere, which costs the layer nothing to be given.
            times = [[seconds(lambda: f(x).mean().backward()) for f in both] for _ in range(rounds + 2)][2:]  # noqa: B023
            ratio = np.median([theirs / ours for ours, theirs in times])
            size = "×".join(map(str, shape))
            print(f"| {name} | {size} | {ratio:.1f} | {1e3 * np.median(times, axis=0)[0]:.0f} |", flush=True)


def step_and_prediction(name: str) -> tuple[float, float]:
    """Give the seconds of a step of training all of a bundled module on 16 pictures, and of predicting for them."""
    import paddle

    import hub
    from hub.modules.network import infer

    module = hub.Module(name, device="cpu")
    side, channels = 256 if name == "signs_fpn" else 128, module.network.backbone.input_channels
    x: Any = np.random.default_rng(0).normal(size=(16, channels, side, side)).astype(np.float32)
    if name == "scenes_colorizer":
        x = x[:, :1], x[:, 1:]
    given = tuple(map(paddle.to_tensor, x)) if isinstance(x, tuple) else paddle.to_tensor(x)
    optimizer = paddle.optimizer.AdamW(1e-5, parameters=module.network.parameters())

    def step() -> None:
        outputs = module.network(given)
        sum(each.mean() for each in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
        optimizer.step()
        optimizer.clear_grad()

    found = [(seconds(step), seconds(lambda: infer(module.network, x))) for _ in range(5)][2:]
    first, second = np.median(found, axis=0)
    return float(first), float(second)


def habits(rounds: int) -> None:
    titles = [f"{habit}: {what}" for habit in HABITS for what in ("step", "prediction")]
    print(f"| times as fast | {' | '.join(titles)} |\n| --- |{' --: |' * len(titles)}")
    for name in MODULES:
        ratios = []
        for _ in range(rounds):
            ours, *others = (in_a_process(name, variable) for variable in (None, *HABITS.values()))
            ratios.append(
                [theirs / mine for other in others for theirs, mine in zip(other, ours, strict=True)]
            )
        print(
            f"| `{name}` | {' | '.join(f'{ratio:.2f}' for ratio in np.median(ratios, axis=0))} |", flush=True
        )


def in_a_process(name: str, variable: str | None) -> list[float]:
    """Give `step_and_prediction` of a new process, one of whose variables is set to nothing."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", name],
        env=os.environ | ({variable: ""} if variable else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step", choices=MODULES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step_and_prediction(given.step)))
        return
    layers(given.rounds)
    print()
    habits(given.rounds)


if __name__ == "__main__":
    main()
