"""What the bundled image module is worth on few labelled pictures, beside training from scratch and raw pixels.

    python benchmarks/transfer_images.py [--seeds 5] [--shots 1 2 5 10 20 50] [--plot FILE.png] [--results FILE.jsonl]

Two targets that pretraining never saw: handwritten digits (scikit-learn's, 10 classes), and 20 letters of two
scripts that were held out, drawn in faces that were held out. For each number of labelled pictures a class and
each seed, every method gets the same pictures to learn from and the same 500 to be measured on.

    scratch               the same network with random weights, everything trained
    probe                 the pretrained backbone frozen, the head trained
    full                  everything trained from the start
    probe_then_full       the head in closed form first, then everything: finetune's defaults
    logistic, knn, svm    scikit-learn on raw pixels

The first four are `finetune` with its defaults and that strategy, so a fifth of the pictures is held out to choose
the epoch by; where there is one a class nothing can be held out (valid=False). The baselines learn from all of them.
Prints a table of mean accuracies.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for each process

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "glyphs"))

SHOTS = (1, 2, 5, 10, 20, 50)
TEST = 500
LETTERS = 20
MODULE = "glyphs_cnn"
STRATEGIES = ("probe", "full", "probe_then_full")
METHODS = ("scratch", *STRATEGIES, "logistic", "knn", "svm")

Pictures = tuple[np.ndarray, np.ndarray]


def digits(shots: int, seed: int) -> tuple[Pictures, Pictures]:
    """Give (train, test) of the 1,797 handwritten digits, 8×8 pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return _draw(np.rint(data.images * (255 / 16)).astype(np.uint8), data.target, shots, seed)


def letters(shots: int, seed: int) -> tuple[Pictures, Pictures]:
    """Give (train, test) of rendered letters, 32×32 pixels; another seed is another 20 letters."""
    import render

    glyphs = render.target_glyphs()
    rng = np.random.default_rng((seed, 1))
    chosen = rng.choice(len(glyphs.letters), LETTERS, replace=False)
    rows = np.flatnonzero(np.isin(glyphs.targets, chosen))
    rows = rng.choice(rows, 100 * LETTERS)
    pictures = render.pictures(glyphs.fields[rows], rng, render.TARGET_WARP)
    return _draw(pictures, np.searchsorted(np.sort(chosen), glyphs.targets[rows]), shots, seed)


def _draw(pictures: np.ndarray, targets: np.ndarray, shots: int, seed: int) -> tuple[Pictures, Pictures]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    train = np.concatenate([order[targets[order] == label][:shots] for label in np.unique(targets)])
    test = np.setdiff1d(order, train, assume_unique=True)
    test = rng.permutation(test)[:TEST]
    return (pictures[train], targets[train]), (pictures[test], targets[test])


TARGETS: dict[str, Callable[[int, int], tuple[Pictures, Pictures]]] = {"digits": digits, "letters": letters}


def measure(target: str, shots: int, seed: int, method: str) -> float:
    """Give the test accuracy of one method on one draw."""
    train, test = TARGETS[target](shots, seed)
    if method in ("logistic", "knn", "svm"):
        return _raw_pixels(method, train, test)
    return _hub(method, train, test, seed, valid=False if shots == 1 else None)


def _hub(method: str, train: Pictures, test: Pictures, seed: int, *, valid: bool | None) -> float:
    import hub

    module = hub.Module(MODULE)
    strategy = method
    if method == "scratch":
        spec = module.spec
        module = hub.Module.create(
            "scratch", task=spec.task, arch={"name": spec.arch.name, **spec.arch.arguments},
            labels=["a", "b"], preprocess=spec.to_dict()["preprocess"], augment=spec.to_dict().get("augment", ()),
            seed=seed,
        )  # fmt: skip
        strategy = "full"
    with tempfile.TemporaryDirectory() as folder:
        module.finetune(
            _samples(train), valid=valid, strategy=strategy, seed=seed, output_dir=folder, progress=False
        )
    return float(module.evaluate(_samples(test))["accuracy"])


def _samples(pictures: Pictures) -> list[tuple[np.ndarray, str]]:
    return [(array, str(label)) for array, label in zip(*pictures, strict=True)]


def _raw_pixels(method: str, train: Pictures, test: Pictures) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "knn": KNeighborsClassifier(n_neighbors=1),
        "svm": make_pipeline(StandardScaler(), SVC(C=10)),
    }[method]
    flat = [(pictures.reshape(len(pictures), -1) / 255.0, labels) for pictures, labels in (train, test)]
    return float(model.fit(*flat[0]).score(*flat[1]))


def _job(job: tuple[str, int, int, str]) -> tuple[tuple[str, int, int, str], float]:
    return job, measure(*job)


def table(results: dict[tuple[str, int, int, str], float], target: str) -> str:
    """Give the mean accuracies in per cent as a Markdown table, a row for each number of pictures."""
    shots = sorted({key[1] for key in results if key[0] == target})
    lines = ["| pictures a class | " + " | ".join(METHODS) + " |", "| --- |" + " ---: |" * len(METHODS)]
    for count in shots:
        cells = []
        for method in METHODS:
            scores = [
                100 * score
                for key, score in results.items()
                if (key[0], key[1], key[3]) == (target, count, method)
            ]
            spread = f" ±{statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
            cells.append(f"{statistics.mean(scores):.1f}{spread}" if scores else "–")
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(results: dict[tuple[str, int, int, str], float], path: Path) -> None:
    """Draw the learning curves of both targets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"digits": "handwritten digits", "letters": "letters of unseen scripts"}
    for axes, target in zip(figure.subplots(1, 2), TARGETS, strict=True):
        for method in METHODS:
            raw = method in ("logistic", "knn", "svm")
            points: dict[int, list[float]] = {}
            for (name, count, _, how), score in results.items():
                if (name, how) == (target, method):
                    points.setdefault(count, []).append(100 * score)
            x = sorted(points)
            style = {"linestyle": ":", "color": "grey"} if raw else {"marker": "o", "markersize": 3}
            axes.plot(x, [statistics.mean(points[count]) for count in x], label=method, **style)
        axes.set_xscale("log")
        axes.set_xticks(SHOTS, [str(count) for count in SHOTS])
        axes.set_xlabel("labelled pictures a class")
        axes.set_ylabel("test accuracy, %")
        axes.set_title(titles[target])
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--results", type=Path, help="keep the single results here, and go on from them")
    arguments = parser.parse_args()

    results: dict[tuple[str, int, int, str], float] = {}
    if arguments.results and arguments.results.exists():
        for line in arguments.results.read_text(encoding="utf-8").splitlines():
            *key, score = json.loads(line)
            results[tuple(key)] = score
    jobs = itertools.product(arguments.targets, arguments.shots, range(arguments.seeds), arguments.methods)
    todo = [job for job in jobs if job not in results]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_job, job) for job in todo]
        for number, future in enumerate(as_completed(futures), 1):
            job, score = future.result()
            results[job] = score
            print(f"{number}/{len(todo)}  {job}: {score}", file=sys.stderr)
            if arguments.results:
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([*job, score]) + "\n")
    for target in arguments.targets:
        print(f"\n{target}, test accuracy in %, mean and standard deviation of {arguments.seeds} seeds\n")
        print(table(results, target))
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
