"""Labelled data from where people have it, and every problem in it before the first step.

    load("flowers/")                       # a folder per class; train/, valid/ and test/ inside it are splits
    load("flower_photos/")                 # train_list.txt, validate_list.txt, test_list.txt, label_list.txt
    load("labels.csv")                     # .csv .tsv .jsonl .json with a path and a label
    load(Table("t.csv", label_column="x")) # a table whose columns have other names than usual
    load([("a.png", "cat"), (image, 1)])   # any object with __len__ and __getitem__
    load("data/", kind="masks")            # pictures with a mask each: hub.datasets.mask_files
    load("photos/", kind="unlabelled")     # pictures alone, for colorization and styles
    load("ESC-50/", kind="sounds")         # sounds, in all these forms and two more: hub.datasets.sounds
    load("reviews.tsv", kind="texts")      # texts; "pairs" of them; "tagged" words: hub.datasets.words
    load("stars.csv", kind="rated texts")  # texts, or "rated pairs", with a number each: hub.datasets.rated

    train, valid, test = load("flowers/")  # valid and test are None where the source has none
    print(train.describe())                # classes and counts
    train, valid = split(train, 0.2, seed=0)
    check(train, valid)                    # one DataError with every problem, or nothing

`prepare` does all of that in one call for `finetune`, `prepare_evaluation` for `evaluate`.

Samples are inputs and class numbers, never tensors: this package knows nothing of paddle.
"""

from __future__ import annotations

from hub.datasets.base import Dataset, Origin, Problem, Sample
from hub.datasets.kinds import KINDS, Kind
from hub.datasets.preflight import Checked, check
from hub.datasets.prepare import Prepared, prepare, prepare_evaluation
from hub.datasets.sources import load
from hub.datasets.splits import Splits, split
from hub.datasets.told import Table

__all__ = [
    "KINDS", "Checked", "Dataset", "Kind", "Origin", "Prepared", "Problem", "Sample", "Splits",
    "Table",    "check", "load", "prepare", "prepare_evaluation", "split",
]  # fmt: skip


def __getattr__(name: str) -> object:
    from hub.paddlehub_names import missing

    raise missing("hub.datasets", name)
