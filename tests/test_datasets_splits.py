"""Parting a dataset: nothing lost, nothing twice, every class on both sides, the same for the same seed."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from hub.datasets import Dataset, load, split
from hub.errors import DataError, UsageError

fractions = st.floats(0.05, 0.95)
seeds = st.integers(0, 2**32 - 1)
class_sizes = st.lists(st.integers(2, 40), min_size=1, max_size=8)


def single_label(sizes: list[int]) -> Dataset:
    names = [f"class{number}" for number, size in enumerate(sizes) for _ in range(size)]
    shuffled = np.random.RandomState(0).permutation(names)
    return load([(f"{i}.png", str(name)) for i, name in enumerate(shuffled)]).train


def multi_label(rows: list[list[int]]) -> Dataset:
    return load(
        [(f"{i}.png", [f"tag{tag}" for tag in tags]) for i, tags in enumerate(rows)], multi_label=True
    ).train


def inputs(dataset: Dataset) -> list[str]:
    return [str(sample.input) for sample in dataset]


@given(class_sizes, fractions, seeds)
def test_a_split_is_a_stratified_partition(sizes: list[int], fraction: float, seed: int) -> None:
    dataset = single_label(sizes)
    train, valid = split(dataset, fraction, seed=seed)
    assert Counter(inputs(train)) + Counter(inputs(valid)) == Counter(inputs(dataset))
    label_of = {str(sample.input): sample.label for sample in dataset}
    assert all(label_of[str(sample.input)] == sample.label for part in (train, valid) for sample in part)
    for size, in_train, in_valid in zip(sizes, train.counts().values(), valid.counts().values(), strict=True):
        assert abs(in_valid - fraction * size) < 1
        assert in_train >= 1
        assert in_valid >= 1
    assert train.labels == valid.labels == dataset.labels


@given(class_sizes, fractions, seeds)
def test_a_split_depends_on_its_seed_alone(sizes: list[int], fraction: float, seed: int) -> None:
    first, again = (split(single_label(sizes), fraction, seed=seed) for _ in range(2))
    assert list(map(inputs, first)) == list(map(inputs, again))


def test_a_split_is_the_same_in_every_process_and_differs_between_seeds(python: str) -> None:
    code = (
        "from hub.datasets import load, split\n"
        "data = load([(f'{i}.png', f'class{i % 3}') for i in range(30)]).train\n"
        "for seed in (0, 1): print([str(sample.input) for sample in split(data, seed=seed)[1]])\n"
    )
    runs = {
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
    zero, one = runs.pop().splitlines()
    assert zero == str([f"{i}.png" for i in (2, 13, 24, 26, 27, 28)]), "made with numpy 2.4"
    assert zero != one


@pytest.mark.parametrize("seed", range(5))
def test_class_counts_agree_with_scikit_learn_where_classes_are_large(seed: int) -> None:
    sizes = [200, 57, 33, 10]
    dataset = single_label(sizes)
    _, expected = train_test_split(
        dataset.targets(), test_size=0.2, stratify=dataset.targets(), random_state=seed
    )
    _, valid = split(dataset, seed=seed)
    difference = np.abs(np.bincount(expected) - np.array(list(valid.counts().values())))
    assert difference.max() <= 1


@given(
    st.lists(st.lists(st.integers(0, 4), unique=True, max_size=4), min_size=30, max_size=80), fractions, seeds
)
def test_several_labels_give_a_partition_with_every_label_on_both_sides(
    rows: list[list[int]], fraction: float, seed: int
) -> None:
    rows = rows + [[tag] for tag in range(5) for _ in range(4)]  # every label has samples of its own
    dataset = multi_label(rows)
    train, valid = split(dataset, fraction, seed=seed)
    assert Counter(inputs(train)) + Counter(inputs(valid)) == Counter(inputs(dataset))
    assert min(train.counts().values()) >= 1
    assert min(valid.counts().values()) >= 1


def test_several_labels_are_split_more_evenly_than_by_chance() -> None:
    random = np.random.default_rng(0)
    rates = np.array([0.5, 0.3, 0.1, 0.05, 0.02])
    dataset = multi_label([np.flatnonzero(row).tolist() for row in random.random((1000, 5)) < rates])
    wanted = 0.2 * dataset.targets().sum(axis=0)

    def error(targets: np.ndarray) -> float:
        return float((np.abs(targets.sum(axis=0) - wanted) / wanted).mean())

    ours = [error(split(dataset, seed=seed)[1].targets()) for seed in range(20)]
    chance = [error(dataset.targets()[random.permutation(1000)[:200]]) for _ in range(20)]
    assert np.mean(ours) < np.mean(chance) / 3


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "a", "b", "b", "lone"], "list: class 'lone' has only one sample, which cannot be split"),
        (["a", "a", "y", "x"], "list: 2 classes ('x', 'y') have only one sample, which cannot be split"),
        (
            list("abcdefghijkl"),
            "list: 12 classes ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' …) have only one",
        ),
    ],
)
def test_a_class_with_one_sample_is_named_with_the_ways_out(names: list[str], said: str) -> None:
    with pytest.raises(DataError) as caught:
        split(load([("x.png", name) for name in names]).train, seed=0)
    assert caught.value.message.startswith(said)
    assert (
        caught.value.hint
        == "add images, pass valid=… with data of its own, or valid=False to train on everything"
    )


def test_labels_that_hang_together_are_said_to() -> None:
    # three samples, each pair with a label of its own: two of the three are on one side, whatever is done
    triangle = multi_label([[0, 1], [1, 2], [2, 0]])
    with pytest.raises(DataError, match="has samples on one side only of every split"):
        split(triangle, seed=0)


def test_a_class_of_the_list_without_samples_does_not_matter() -> None:
    dataset = load([("x.png", "a")] * 4, labels=["a", "never"]).train
    train, valid = split(dataset, 0.5, seed=0)
    assert (train.counts(), valid.counts()) == ({"a": 2, "never": 0}, {"a": 2, "never": 0})


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_a_fraction_that_leaves_nothing_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction: expected a number between 0 and 1, found"):
        split(single_label([4, 4]), fraction, seed=0)


def test_nothing_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv: no samples to split"):
        split(load(tmp_path / "t.csv").train, seed=0)
