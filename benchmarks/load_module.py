"""How long loading a ResNet-50 module takes and what memory it needs, beside the usual way of doing it in paddle.

    python benchmarks/load_module.py [--rounds 9]

The usual way builds paddle's network with random weights and calls `set_state_dict` on `paddle.load`. Ours builds
the network of a module folder and fills it: once as for a module in the cache, whose digests were checked when it
was installed, and once as for any other folder, whose digests are checked now. Time: in one process, in turn, the
files in the page cache, after two rounds that do not count. Memory: each run in a process of its own; the highest
resident size less that of the same process just after its imports.

The goals: at most a third of the time, and a peak of at most 2.2 times the weights.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# paddle is imported inside the functions: a process starts with its parent's peak, so the parent must be small.

USUAL, CACHED, CHECKED = "build, then paddle.load", "hub, from the cache", "hub, checking digests"
MIB = 2**20


def prepare(folder: Path) -> None:
    """Write the same network both ways: a module folder and a .pdparams file."""
    import paddle

    import hub

    module = hub.Module.create(
        "resnet50_random",
        task="image_classification",
        arch={"name": "resnet", "depth": 50},
        labels=[str(number) for number in range(1000)],
        preprocess=[{"resize": {"size": 224}}, {"normalize": {"mean": [0.5], "std": [0.5]}}],
    )
    module.save(folder / "module")
    paddle.save(paddle.vision.models.resnet50().state_dict(), str(folder / "resnet50.pdparams"))


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    """Give the three ways to load by name; each returns what it has loaded."""
    import paddle

    from hub.modules import bundle

    def usual() -> object:
        network = paddle.vision.models.resnet50()
        network.set_state_dict(paddle.load(str(folder / "resnet50.pdparams")))
        return network

    return {
        USUAL: usual,
        CACHED: lambda: bundle.load(folder / "module", check_digests=False),
        CHECKED: lambda: bundle.load(folder / "module"),
    }


def peak() -> float:
    """Give the highest resident size of this process so far, in MiB (Linux counts it in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def measure_memory(folder: Path, way: str) -> float:
    """Give by how many MiB loading raises the peak of this process."""
    load = ways(folder)[way]
    before = peak()
    kept = load()
    after = peak()
    del kept
    return after - before


def measure_times(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Give the seconds of each way, round by round."""
    times: dict[str, list[float]] = {way: [] for way in (USUAL, CACHED, CHECKED)}
    for _ in range(rounds + 2):
        for way, load in ways(folder).items():
            gc.collect()
            started = time.perf_counter()
            kept = load()
            times[way].append(time.perf_counter() - started)
            del kept
    return {way: found[2:] for way, found in times.items()}


def in_a_fresh_process(*arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def summary(numbers: list[float], digits: int) -> str:
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def report(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_fresh_process("--prepare", folder)
        size = (folder / "module" / "weights.safetensors").stat().st_size / MIB
        peaks: dict[str, list[float]] = {way: [] for way in (USUAL, CACHED, CHECKED)}
        for _ in range(3):
            for way, found in peaks.items():
                found.append(float(in_a_fresh_process("--memory", folder, way)))
        times = measure_times(folder, rounds)
    print(f"ResNet-50, {size:.0f} MiB of weights; median (range) of {rounds} rounds for time, 3 for memory\n")
    print(f"{'':26}{'seconds':24}{'of the usual time':24}peak, times the weights")
    for way, seconds in times.items():
        ratios = [ours / usual for ours, usual in zip(seconds, times[USUAL], strict=True)]
        above = [found / size for found in peaks[way]]
        print(f"{way:26}{summary(seconds, 3):24}{summary(ratios, 2):24}{summary(above, 2)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
    elif arguments.memory:
        folder, way = arguments.memory
        print(measure_memory(Path(folder), way))
    else:
        report(arguments.rounds)


if __name__ == "__main__":
    main()
