"""mixup and CutMix: what a mixed sample holds is what its target says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from hub.errors import UsageError
from hub.finetune.mixing import mix, one_hot

seeds = st.integers(0, 2**32 - 1)


def numbered(count: int, *shape: int) -> np.ndarray:
    """Sample n is 2**n everywhere, so that every mixture shows its parts."""
    return np.broadcast_to(2.0 ** np.arange(count).reshape(-1, *[1] * len(shape)), (count, *shape)).astype(
        np.float32
    )


@given(seeds, st.floats(0.05, 5), st.sampled_from([(3, 8, 8), (20,), (5, 7)]))
@settings(max_examples=50)
def test_mixup_mixes_inputs_as_their_targets(seed: int, alpha: float, shape: tuple[int, ...]) -> None:
    inputs, targets = numbered(6, *shape), np.eye(6, dtype=np.float32)
    mixed, soft = mix(inputs, targets, rng=np.random.default_rng(seed), mixup=alpha)
    assert mixed.shape == inputs.shape
    assert mixed.dtype == soft.dtype == np.float32
    np.testing.assert_allclose(
        mixed.reshape(6, -1), np.repeat(soft @ inputs.reshape(6, -1)[:, :1], np.prod(shape), 1)
    )
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    assert ((soft > 0).sum(axis=1) <= 2).all()


@given(seeds, st.floats(0.05, 5), st.integers(1, 33), st.integers(1, 33))
@settings(max_examples=100)
def test_the_targets_of_cutmix_are_the_areas(seed: int, alpha: float, height: int, width: int) -> None:
    inputs, targets = numbered(5, 2, height, width), np.eye(5, dtype=np.float32)
    mixed, soft = mix(inputs, targets, rng=np.random.default_rng(seed), cutmix=alpha)
    for sample, target in zip(mixed, soft, strict=True):
        shares = [(sample == 2.0**label).mean() for label in range(5)]
        np.testing.assert_allclose(target, shares, atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)


def test_cutmix_puts_one_box_of_one_partner_in_the_same_place_of_every_picture() -> None:
    inputs, boxes = np.random.default_rng(0).random((4, 3, 16, 16), np.float32), set()
    for seed in range(20):
        mixed, _ = mix(inputs, np.eye(4, dtype=np.float32), rng=np.random.default_rng(seed), cutmix=1.0)
        changed = mixed != inputs
        if not changed.any():  # all partners were themselves, or there was no pixel in the box
            continue
        rows, columns = (np.flatnonzero(changed.any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
        box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        boxes.add(str(box))
        outside = mixed.copy()
        for sample in range(4):
            assert [(mixed[sample][box] == other[box]).all() for other in inputs].count(True) == 1
            outside[sample][box] = inputs[sample][box]
        np.testing.assert_array_equal(outside, inputs)
    assert len(boxes) > 10


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_lambda_is_drawn_from_the_beta_distribution(way: str) -> None:
    inputs, targets = np.zeros((2, 1, 64, 64), np.float32), np.eye(2, dtype=np.float32)
    kept = []
    for seed in range(600):
        _, soft = mix(inputs, targets, rng=np.random.default_rng(seed), **{way: 0.4})
        if soft[0, 0] != 1:  # else its partner was itself
            kept.append(float(soft[0, 0]))
    near_an_end = np.mean([min(share, 1 - share) < 0.1 for share in kept])
    if way == "mixup":
        assert np.mean(kept) == pytest.approx(0.5, abs=0.06)  # symmetric
        expected = 2 * beta(0.4, 0.4).cdf(0.1)
        assert near_an_end == pytest.approx(expected, abs=0.08)  # a uniform λ has 0.2
    else:
        assert np.mean(kept) > 0.55  # a box that is cut off at the border takes less than 1 - λ


def test_several_labels_are_mixed_label_by_label() -> None:
    targets = np.array([[1, 1, 0], [0, 1, 1]], np.uint8)
    seen = set()
    for seed in range(20):
        _, soft = mix(numbered(2, 4), targets, rng=np.random.default_rng(seed), mixup=1.0)
        assert soft.dtype == np.float32
        np.testing.assert_allclose(soft[:, 1], 1, rtol=1e-6)
        np.testing.assert_allclose(soft[0] + soft[1], targets.sum(axis=0), rtol=1e-6)
        seen.add(bool((soft == targets).all()))
    assert seen == {True, False}


def test_with_both_each_batch_is_given_to_one_of_them() -> None:
    inputs, targets = numbered(4, 1, 16, 16), np.eye(4, dtype=np.float32)
    pasted = 0
    for seed in range(200):
        mixed, _ = mix(inputs, targets, rng=np.random.default_rng(seed), mixup=1.0, cutmix=1.0)
        pasted += bool(np.isin(mixed, inputs).all())
    assert 70 < pasted < 140


def test_off_is_off_and_nothing_given_is_changed() -> None:
    inputs, targets = numbered(4, 1, 8, 8), np.eye(4, dtype=np.float32)
    inputs.setflags(write=False)
    targets.setflags(write=False)
    rng = np.random.default_rng(0)
    same, still = mix(inputs, targets, rng=rng)
    assert same is inputs
    assert still is targets
    assert rng.random() == np.random.default_rng(0).random()
    mix(inputs, targets, rng=rng, cutmix=1.0)
    mix(inputs, targets, rng=rng, mixup=1.0)


@pytest.mark.parametrize("ways", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_the_same_seed_gives_the_same_batch(ways: dict[str, float]) -> None:
    inputs, targets = numbered(8, 3, 10, 10), np.eye(8, dtype=np.float32)
    first, second = (mix(inputs, targets, rng=np.random.default_rng(4), **ways) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize(
    ("inputs", "ways", "message"),
    [
        (
            np.zeros((2, 5), np.float32),
            {"cutmix": 1.0},
            r"expected pictures \[N, C, H, W\], found inputs of shape \(2, 5\)",
        ),
        (np.zeros((2, 5), np.int64), {"mixup": 0.2}, "expected inputs of real numbers, found int64"),
        (
            (np.zeros((2, 5)), np.zeros((2, 5))),
            {"mixup": 0.2},
            "expected inputs of real numbers, found tuple",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused(inputs: object, ways: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mix(inputs, np.eye(2, dtype=np.float32), rng=np.random.default_rng(0), **ways)  # type: ignore[arg-type]


def test_class_numbers_become_rows_of_0_and_1() -> None:
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(np.array([2, 0]), 3).dtype == np.float32
    with pytest.raises(UsageError, match="expected class numbers"):
        one_hot(np.zeros((2, 4, 4), np.int64), 3)
