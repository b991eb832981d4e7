"""What looking around costs in an index of 100,000 modules, and what installing costs that is here already.

    python benchmarks/big_index.py [--modules 100000] [--rounds 5]

Each line is a command as a person types it, in a process of its own, start of Python included: the median of the clock,
of the processor, and the most memory. "over HTTP" is the same index behind a web server of this machine: the first
time it is transferred, from then on the server is only asked whether it changed.

The goals: `hub list`, `hub search` and `hub show` under 1 s and 200 MB; `hub install --locked` of what is here under
0.3 s, with HUB_OFFLINE=1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from faultserver import FaultServer
from folders import large_index, module_folder


@dataclass(frozen=True)
class Cost:
    seconds: float
    processor: float
    megabytes: float


def run(command: list[str], settings: dict[str, str]) -> Cost:
    """Run a command to its end and give what it took."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=os.environ | settings, stdout=nowhere, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)}: {said}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)  # kilobytes, on Linux


def show(title: str, command: list[str], settings: dict[str, str], *, rounds: int) -> None:
    costs = [run(command, settings) for _ in range(rounds + 1)][1:]  # the first one may have to compile
    print(
        f"{title:44}{statistics.median(cost.seconds for cost in costs):8.2f}"
        f"{statistics.median(cost.processor for cost in costs):11.2f}"
        f"{max(cost.megabytes for cost in costs):8.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        large_index(options.make, modules=options.modules)
        return
    hub = [sys.executable, "-m", "hub"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = folder / "index"
        # In a process of its own, since Linux counts what a parent holds as used by its children.
        subprocess.run(
            [sys.executable, __file__, "--make", index, "--modules", str(options.modules)], check=True
        )
        last = f"net{options.modules - 1:06d}_photos"
        here = {"HUB_HOME": str(folder / "home"), "HUB_INDEX": str(index)}
        looks = (
            ["list"], ["list", "--json"], ["list", "--installed"], ["list", "--task", "image_classification"],
            ["search", last[:7]], ["search", "nothing_like_it"], ["show", last],
        )  # fmt: skip
        print(f"{options.modules:,} modules\n{'':44}{'seconds':>8}{'processor':>11}{'MB':>8}")
        show("python -c pass", [sys.executable, "-c", "pass"], here, rounds=options.rounds)
        for words in looks:
            show(f"hub {' '.join(words)}", [*hub, *words], here, rounds=options.rounds)
        documents = {f"/{path.relative_to(index).as_posix()}": path for path in index.rglob("*.json")}
        with FaultServer(documents, send_buffer=None) as server:
            there = here | {"HUB_INDEX": server.url}
            for words in (["list"], ["search", last[:7]], ["show", last]):
                show(f"hub {' '.join(words)}, over HTTP", [*hub, *words], there, rounds=options.rounds)
        lock = str(folder / "hub.lock")
        made = module_folder(folder / "made", weights=os.urandom(50_000_000))
        run([*hub, "install", str(made), "--lock", lock], here)
        locked = [*hub, "install", "--locked", "--lock", lock]
        show(
            "hub install --locked, 50 MB, all here",
            locked,
            here | {"HUB_OFFLINE": "1"},
            rounds=options.rounds,
        )


if __name__ == "__main__":
    main()
