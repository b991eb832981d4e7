"""What each strategy and setting of `finetune` gives on few pictures, beside the time it takes.

    python benchmarks/strategies.py [--seeds 3] [--part strategies settings imbalance]

The module is the bundled glyphs_cnn, the target scikit-learn's handwritten digits, the same pictures for all settings
of a seed, 500 others to measure on. Every run has 5 epochs, which is where the ways of starting differ; settings are
run one after the other within each seed, so that a machine that slows down slows all of them. In the part "imbalance"
the ten classes have 40, 28, 20, … 2 pictures, and what is printed is balanced accuracy and that of the three rarest.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from transfer_images import MODULE, Pictures, digits

EPOCHS = 5
STRATEGIES: dict[str, dict[str, Any]] = {
    "full": {"strategy": "full"},
    "probe": {"strategy": "probe"},
    "probe_then_full": {"strategy": "probe_then_full"},
    "gradual": {"strategy": "gradual"},
    "full, stem to stage2 frozen": {"strategy": "full", "freeze": 3},
    "probe_then_full, stem to stage2 frozen": {"strategy": "probe_then_full", "freeze": 3},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "(defaults)": {},
    "layer_decay=0.65": {"layer_decay": 0.65},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "mixup=0.2": {"mixup": 0.2},
    "cutmix=1": {"cutmix": 1.0},
    "average=0.95": {"average": 0.95},
    "anchor=0.01": {"anchor": 0.01},
    "dropout=0.2": {"dropout": 0.2},
    "drop_groups=1": {"drop_groups": 1},
    "schedule=one_cycle": {"schedule": "one_cycle"},
    "learning_rate=3e-3": {"learning_rate": 3e-3},
    "learning_rate=1e-4": {"learning_rate": 1e-4},
}
IMBALANCE: dict[str, dict[str, Any]] = {
    "(defaults)": {},
    'class_weight="balanced"': {"class_weight": "balanced"},
    'loss="focal"': {"loss": "focal"},
    'loss="logit_adjusted"': {"loss": "logit_adjusted"},
    'sampler="balanced"': {"sampler": "balanced"},
}


def train(
    pictures: Pictures, test: Pictures, settings: dict[str, Any], seed: int
) -> tuple[float, dict[str, Any]]:
    """Give the seconds of one run and its metrics on the test set."""
    import hub

    module = hub.Module(MODULE)
    samples, held = (
        [(array, str(label)) for array, label in zip(*part, strict=True)] for part in (pictures, test)
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        module.finetune(
            samples, **{"epochs": EPOCHS, "valid": False, "cache": True, **settings}, seed=seed, output_dir=folder,
            progress=False,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    return seconds, module.evaluate(held)


def skewed(pictures: Pictures) -> Pictures:
    """Give 40, 28, 20, … 2 pictures of the classes."""
    counts = np.geomspace(40, 2, 10).round().astype(int)
    chosen = np.concatenate(
        [np.flatnonzero(pictures[1] == label)[:count] for label, count in enumerate(counts)]
    )
    return pictures[0][chosen], pictures[1][chosen]


def compare(
    title: str, table: dict[str, dict[str, Any]], shots: int, seeds: int, *, skew: bool = False
) -> None:
    """Print a row for each setting: means over the seeds."""
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in table}
    for seed in range(seeds):
        given, test = digits(shots, seed)
        for name, settings in table.items():
            seconds, metrics = train(skewed(given) if skew else given, test, settings, seed)
            rare = statistics.mean(metrics["per_class"][str(label)]["recall"] for label in (7, 8, 9))
            rows[name].append((seconds, metrics["balanced_accuracy" if skew else "accuracy"], rare))
    columns = "balanced accuracy | rarest three" if skew else "accuracy"
    print(f"\n{title}\n\n| setting | seconds | {columns} |\n| --- | ---: | {'---: | ' * (2 if skew else 1)}")
    for name, found in rows.items():
        seconds, *scores = map(statistics.mean, zip(*found, strict=True))
        shown = " | ".join(f"{100 * score:.1f}" for score in scores[: 2 if skew else 1])
        print(f"| {name} | {seconds:.1f} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parts = ("strategies", "settings", "imbalance")
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    arguments = parser.parse_args()
    few, test = digits(1, 0)
    train(few, test, {"epochs": 1}, 0)  # what is loaded and compiled once is nobody's time
    if "strategies" in arguments.part:
        for shots in (5, 10, 20, 50):
            compare(f"{shots} pictures a class, {EPOCHS} epochs", STRATEGIES, shots, arguments.seeds)
    if "settings" in arguments.part:
        compare(f"10 pictures a class, {EPOCHS} epochs", SETTINGS, 10, arguments.seeds)
    if "imbalance" in arguments.part:
        compare("40 to 2 pictures a class", IMBALANCE, 50, arguments.seeds, skew=True)


if __name__ == "__main__":
    main()
