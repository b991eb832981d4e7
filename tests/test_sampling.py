"""Orders of an epoch: nothing lost, nothing favoured, and the same for the same seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import UsageError
from hub.finetune.sampling import balanced_order, by_length, shard, shuffled_order

class_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)


def labels_of(sizes: list[int], seed: int) -> np.ndarray:
    """Class numbers 0, 2, 4, … in random order: some numbers never occur."""
    return np.random.default_rng(seed).permutation(np.repeat(2 * np.arange(len(sizes)), sizes))


@given(class_sizes, seeds, st.integers(1, 9))
@settings(max_examples=100)
def test_every_class_comes_equally_often(sizes: list[int], seed: int, epoch: int) -> None:
    targets = labels_of(sizes, seed)
    order = balanced_order(targets, seed=seed, epoch=epoch)
    assert len(order) == len(targets)
    counts = [int((targets[order] == label).sum()) for label in np.unique(targets)]
    assert max(counts) - min(counts) <= 1


@given(class_sizes, seeds, st.integers(1, 9))
@settings(max_examples=100)
def test_all_samples_of_a_class_come_before_any_comes_again(sizes: list[int], seed: int, epoch: int) -> None:
    targets = labels_of(sizes, seed)
    order = balanced_order(targets, seed=seed, epoch=epoch)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        drawn = order[targets[order] == label]
        for start in range(0, len(drawn), len(members)):
            part = drawn[start : start + len(members)]
            assert len(set(part)) == len(part)
            assert set(part) <= set(members)


def test_every_few_samples_hold_all_classes() -> None:
    targets = labels_of([80, 10, 6], 0)
    drawn = targets[balanced_order(targets, seed=3, epoch=1)]
    rounds = [tuple(drawn[start : start + 3]) for start in range(0, 96, 3)]
    assert all(sorted(each) == [0, 2, 4] for each in rounds)
    assert len(set(rounds)) > 3, "not always in the same order"


@pytest.mark.parametrize("first_epoch", [1, 3])
def test_a_large_class_goes_on_in_the_next_epoch(first_epoch: int) -> None:
    targets = labels_of([100, 30, 20], 0)  # 50 of each class an epoch
    orders = [balanced_order(targets, seed=1, epoch=epoch) for epoch in (first_epoch, first_epoch + 1)]
    first, second = (set(order[targets[order] == 0]) for order in orders)
    assert len(first) == len(second) == 50
    assert not first & second


@pytest.mark.parametrize("several", [False, True])
def test_an_order_follows_from_seed_and_epoch_alone(several: bool) -> None:
    targets = labels_of([30, 9, 3], 0)
    if several:
        targets = (targets[:, None] == [0, 2, 4]).astype(np.uint8)
    first = balanced_order(targets, seed=7, epoch=3)
    np.testing.assert_array_equal(balanced_order(targets.copy(), seed=7, epoch=3), first)
    assert (balanced_order(targets, seed=8, epoch=3) != first).any()
    assert (balanced_order(targets, seed=7, epoch=4) != first).any()


@given(seeds, st.integers(2, 60), st.integers(1, 5))
@settings(max_examples=60)
def test_samples_with_rare_labels_come_in_proportion(seed: int, count: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((count, labels)) < rng.random(labels)).astype(np.uint8)
    order = balanced_order(targets, seed=seed, epoch=0)
    assert len(order) == count
    frequency, without = targets.sum(axis=0), int((targets.sum(axis=1) == 0).sum())
    weight = np.array([1 / min(frequency[row > 0], default=without) for row in targets])
    expected = weight / weight.sum() * count
    found = np.bincount(order, minlength=count)
    assert (np.abs(found - expected) < 1 + 1e-9).all()


def test_rare_labels_are_seen_more_often_with_several_labels() -> None:
    targets = np.zeros((100, 3), np.float32)
    targets[:, 0] = 1
    targets[:5, 1] = 1
    targets[5:, 2] = np.arange(95) < 50
    drawn = targets[balanced_order(targets, seed=0, epoch=0)].sum(axis=0)
    assert targets.sum(axis=0).tolist() == [100, 5, 50]
    assert drawn[1] >= 30
    assert drawn[2] >= 30


@pytest.mark.parametrize("targets", [np.array([0.5, 1.5]), np.zeros((2, 3, 3), np.int64)])
def test_targets_without_classes_cannot_be_balanced(targets: np.ndarray) -> None:
    with pytest.raises(UsageError, match="expected class numbers"):
        balanced_order(targets, seed=0, epoch=0)


@given(st.integers(0, 200), seeds, st.integers(1, 9))
@settings(max_examples=40)
def test_a_shuffled_order_has_every_index_once(count: int, seed: int, epoch: int) -> None:
    order = shuffled_order(count, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, np.random.default_rng((seed, epoch)).permutation(count))


@given(st.integers(1, 100), st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=60)
def test_the_parts_of_all_processes_are_the_step_in_its_order(count: int, batch: int, ranks: int) -> None:
    order = shuffled_order(count, seed=0, epoch=0)
    steps = np.array_split(order, -(-count // (batch * ranks)))
    for step in steps:
        parts = [shard(step, rank, ranks) for rank in range(ranks)]
        np.testing.assert_array_equal(np.concatenate(parts), step)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch


@given(st.integers(1, 300), st.integers(1, 40), seeds)
@settings(max_examples=100)
def test_samples_of_like_length_come_together_and_each_comes_once(count: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, order, steps = rng.integers(1, 60, count), rng.permutation(count), -(-count // batch)
    found = by_length(order, lengths, steps=steps, rng=rng)
    assert sorted(found.tolist()) == list(range(count))

    def padded(indices: np.ndarray) -> int:
        return sum(len(part) * int(lengths[part].max()) for part in np.array_split(indices, steps))

    assert padded(found) <= padded(order)
    if steps <= 50:  # one window: nothing pads less
        assert padded(found) == padded(np.argsort(lengths, kind="stable"))


def test_short_texts_do_not_all_come_first() -> None:
    lengths = np.arange(1, 641)
    found = by_length(np.arange(640), lengths, steps=20, rng=np.random.default_rng(0))
    means = [lengths[part].mean() for part in np.array_split(found, 20)]
    assert abs(np.corrcoef(means, np.arange(20))[0, 1]) < 0.5
