"""What the bundled text module is worth on few labelled texts, beside bags of words and the same table drawn at random.

    python benchmarks/transfer_text.py [--module sentences_static] [--teacher FOLDER] [--seeds 5] [--shots 8 16 64]

Three targets in English. For each number of labelled texts a class and each seed, every method gets
the same texts to learn from and the same to be measured on.

    reviews       of hub.datasets.phrases, 2 classes; no word of praise or blame that is tested with was learnt with
    topics        made of templates, 8 classes of 30 words each; a word may be learnt with and tested with
    library       sentences of docstrings, 8 modules of the standard library; the module was distilled without them

    tf_idf        scikit-learn's TfidfVectorizer and LogisticRegression, at the best of three strengths of
                  regularisation by what they reach in the test: better than it could be had in practice
    random        a table of the same size drawn at random, fine-tuned in the same way
    pretrained    the module, fine-tuned with its defaults
    teacher       with --teacher: MiniLM's own embeddings, frozen, under the same LogisticRegression

Prints mean accuracies in per cent with their standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import hub
from hub.datasets import phrases
from hub.modules.weights import give, state_of

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "sentences"))
import corpus

Texts = list[tuple[str, str]]
"""Texts with their labels."""

STRENGTHS = (1.0, 10.0, 100.0)
TESTED = {"reviews": 150, "topics": 60, "library": 60}
"""Texts of each class to measure on."""

# Words between spaces, sentences between bars or line ends.
TOPICS = {
    "sport": """goalkeeper striker referee tennis basketball marathon sprinter stadium coach league
        tournament swimmer medal boxing cricket rugby playoff penalty jersey cyclist gymnast
        volleyball quarterback hockey championship racket hurdle wrestling pitcher dribble""",
    "food": """bread cheese soup noodles recipe oven garlic onion butter dessert chocolate salad sauce rice
        grilled chef bakery pepper spinach lemon omelette pancake mushroom honey vinegar pasta stew
        cinnamon yogurt salmon""",
    "health": """doctor fever vaccine surgery nurse diabetes clinic headache pneumonia antibiotic symptom
        cancer therapy blood asthma kidney patient diagnosis pill infection cough hospital allergy
        lungs injury bandage dentist pregnancy insulin virus""",
    "money": """bank loan mortgage dividend interest tax stock investor inflation salary budget debt
        currency broker pension profit credit bond shares invoice economy bankruptcy trader deposit
        accountant wealth auction insurance audit cash""",
    "music": """guitar violin drummer melody orchestra singer album piano chorus concert trumpet rhythm
        opera jazz saxophone symphony lyrics composer flute bass tune choir harmony cello ballad
        pianist band rapper conductor soprano""",
    "computing": """compiler keyboard server database browser software laptop network password algorithm
        processor website programmer firewall memory download backup email router pixel spreadsheet
        code encryption monitor linux bug cursor disk internet desktop""",
    "travel": """passport airport hotel suitcase tourist beach visa flight cruise luggage hostel itinerary
        sightseeing museum guidebook ferry backpack island souvenir train resort ticket camping
        embassy safari airline departure terminal voyage map""",
    "politics": """senator election parliament minister ballot vote democracy president congress treaty
        campaign governor legislation mayor candidate constitution coalition embassy referendum
        diplomat sanctions republic lawmaker veto cabinet party voter opposition reform monarchy""",
}
TALK = """they talked about the {x} and the {y} all evening|the {x} was not what we expected
she wrote to us about a {x} and some {y}|there is a picture of the {x} in the paper
no {x} without a {y} , as he says|the {x} comes first , then the {y}
I have a question about the {x}|everyone knows about the {x} by now
do you remember the {x} from last year|a new {x} arrived on monday|the {x} , the {y} and the {z}
he could not find the {x} anywhere"""
MODULES = ("tkinter", "email", "asyncio", "importlib", "xml", "logging", "unittest", "http")


def reviews(shots: int, seed: int) -> tuple[Texts, Texts]:
    """Give (train, test)."""
    train = phrases.reviews(shots, part="train", seed=seed)
    return train, phrases.reviews(TESTED["reviews"], part="test", seed=seed)


def topics(shots: int, seed: int) -> tuple[Texts, Texts]:
    """Give (train, test)."""
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> Texts:
        rows = []
        for label, words in TOPICS.items():
            for _ in range(count):
                x, y, z = rng.choice(words.split(), 3, replace=False)
                rows.append((str(rng.choice(_lines(TALK))).format(x=x, y=y, z=z), label))
        return rows

    return drawn(shots), drawn(TESTED["topics"])


def library(shots: int, seed: int) -> tuple[Texts, Texts]:
    """Give (train, test)."""
    rng, every = np.random.default_rng(seed), corpus.library()
    train: Texts = []
    test: Texts = []
    for module in MODULES:
        rows = [(str(sentence), module) for sentence in rng.permutation(every[module])]
        train, test = train + rows[:shots], test + rows[shots:][: TESTED["library"]]
    return train, test


def _lines(text: str) -> list[str]:
    return text.replace("\n", "|").split("|")


TARGETS: dict[str, Callable[[int, int], tuple[Texts, Texts]]] = {
    "reviews": reviews, "topics": topics, "library": library,
}  # fmt: skip


def tf_idf(train: Texts, test: Texts) -> list[float]:
    """Give the test accuracy at each of STRENGTHS."""
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    given = vectorizer.fit_transform(text for text, _ in train)
    return _logistic(given, train, vectorizer.transform(text for text, _ in test), test)


def embedded(module: hub.Module, train: Texts, test: Texts) -> list[float]:
    """Give the same on frozen embeddings."""
    given, asked = (module.embed([text for text, _ in rows]) for rows in (train, test))
    return _logistic(given, train, asked, test)


def _logistic(given: np.ndarray, train: Texts, asked: np.ndarray, test: Texts) -> list[float]:
    known, right = [label for _, label in train], [label for _, label in test]
    models = [LogisticRegression(C=strength, max_iter=2000).fit(given, known) for strength in STRENGTHS]
    return [model.score(asked, right) for model in models]


def tuned(name: str, train: Texts, test: Texts, *, seed: int, at_random: bool) -> float:
    """Give the test accuracy of the module, or of a table drawn at random in its place, after finetune."""
    module = hub.Module(name)
    if at_random:
        backbone = module.network.backbone
        rng, state = np.random.default_rng(seed), state_of(backbone)
        drawn = rng.integers(0, 256, state["table.codes"].shape, dtype=np.uint8)
        even = np.ones_like(state["table.weight"])
        give(backbone, state | {"table.codes": drawn, "table.weight": even}, what="drawn")
    with tempfile.TemporaryDirectory() as folder:
        module.finetune(train, seed=seed, output_dir=folder, progress=False)
    return float(module.evaluate(test)["accuracy"])


def main(name: str, teacher: Path | None, *, seeds: int, shots: Sequence[int]) -> None:
    encoder = None if teacher is None else hub.Module(teacher)
    print("| target | texts a class | TF-IDF | random | pretrained |" + (" teacher |" if encoder else ""))
    print("| --- | ---: | ---: | ---: | ---: |" + (" ---: |" if encoder else ""))
    for target, draw in TARGETS.items():
        for count in shots:
            found: dict[str, list[list[float]]] = {}
            for seed in range(seeds):
                train, test = draw(count, seed)
                row = {
                    "tf_idf": tf_idf(train, test),
                    "random": [tuned(name, train, test, seed=seed, at_random=True)],
                    "pretrained": [tuned(name, train, test, seed=seed, at_random=False)],
                }
                if encoder:
                    row["teacher"] = embedded(encoder, train, test)
                for method, accuracies in row.items():
                    found.setdefault(method, []).append(accuracies)
            cells = [_cell(rows) for rows in found.values()]
            print(f"| {target} | {count} | " + " | ".join(cells) + " |", flush=True)


def _cell(rows: list[list[float]]) -> str:
    best = max(zip(*rows, strict=True), key=statistics.mean)
    spread = statistics.stdev(best) if len(best) > 1 else 0.0
    return f"{100 * statistics.mean(best):.1f} ± {100 * spread:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", default="sentences_static", help="a name, or a module folder")
    parser.add_argument("--teacher", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 16, 64])
    given = parser.parse_args()
    main(given.module, given.teacher, seeds=given.seeds, shots=given.shots)
