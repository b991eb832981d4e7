"""The learning-rate range test on problems whose answer is known."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub.errors import MissingDependencyError, TrainingError, UsageError
from hub.finetune.range_test import LAG, range_test


def quadratic(curvatures: list[float], *, noise: float = 0.0, seed: int = 0) -> Callable[[float], float]:
    """Give gradient descent on sum(h x² / 2): it is stable below 2 / max(h).

    `noise` is the deviation of the gradient, and of the loss as a share of itself.
    """
    rng = np.random.default_rng(seed)
    h, x = np.array(curvatures), np.ones(len(curvatures))

    def step(learning_rate: float) -> float:
        loss = float((h * x * x).sum() / 2)
        x[:] -= learning_rate * (h * x + noise * np.sqrt(h) * rng.normal(size=len(h)))
        return loss * (1 + noise * rng.normal())

    return step


def regression(seed: int) -> Callable[[float], float]:
    """Give stochastic gradient descent on a linear regression, 16 samples a batch; it is unstable above about 0.1."""
    rng = np.random.default_rng(seed)
    truth, weights = rng.normal(size=20), np.zeros(20)

    def step(learning_rate: float) -> float:
        x = rng.normal(size=(16, 20))
        error = x @ weights - x @ truth - 0.3 * rng.normal(size=16)
        weights[:] -= learning_rate * 2 * x.T @ error / 16
        return float((error**2).mean())

    return step


@pytest.mark.parametrize("curvatures", [[10.0], [0.5], [1000.0], list(np.geomspace(1, 100, 20))])
def test_the_suggestion_lies_between_useless_and_unstable(curvatures: list[float]) -> None:
    unstable = 2 / max(curvatures)
    found = range_test(quadratic(curvatures), low=unstable * 1e-5, high=unstable * 100)
    assert found.limit is not None
    assert unstable <= found.limit < 20 * unstable
    assert unstable / 100 < found.suggestion < unstable / 2
    assert found.suggestion <= found.limit / 10
    again = quadratic(curvatures)
    losses = [again(found.suggestion) for _ in range(200)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("seed", range(10))
def test_noise_moves_the_suggestion_little(seed: int) -> None:
    still = range_test(quadratic([10.0]), high=10.0).suggestion
    noisy = range_test(quadratic([10.0], noise=0.2, seed=seed), high=10.0).suggestion
    assert still / 3 < noisy < still * 3


@pytest.mark.parametrize("seed", range(10))
def test_the_suggestion_trains_on_noisy_batches(seed: int) -> None:
    suggestion = range_test(regression(seed)).suggestion
    step = regression(seed)
    losses = [step(suggestion) for _ in range(300)]
    assert np.mean(losses[-50:]) < 0.1 * np.mean(losses[:5])


@pytest.mark.parametrize("middle", [1e-4, 1e-3, 1e-2])
def test_the_suggestion_is_the_middle_of_the_fall(middle: float) -> None:
    found = range_test(lambda rate: 1 + 1 / (1 + (rate / middle) ** 3))
    assert found.limit is None
    assert middle / 1.6 < found.suggestion < middle * 1.6  # two of the sweep's steps, each a factor of 1.26


def test_the_suggestion_is_a_rate_of_the_sweep_and_its_curve_passes_the_middle_there() -> None:
    found = range_test(lambda rate: 1 + 1 / (1 + (rate / 1e-3) ** 3))
    passed = found.rates.index(found.suggestion) + LAG
    middle = (np.mean(found.losses[:5]) + min(found.smoothed)) / 2
    assert found.smoothed[passed] >= middle > found.smoothed[passed + 1]


def test_a_sweep_near_its_limit_suggests_at_most_a_tenth_of_it() -> None:
    found = range_test(lambda rate: 1.0 if rate < 0.05 else 0.1 if rate < 0.2 else math.inf)
    assert found.limit is not None
    assert 0.2 <= found.limit < 0.26
    assert found.suggestion == found.limit / 10


def test_a_loss_that_never_explodes_is_swept_to_the_end() -> None:
    asked: list[float] = []

    def step(rate: float) -> float:
        asked.append(rate)
        return 2 - min(1.0, 100 * rate)

    found = range_test(step, low=1e-5, high=0.5, steps=40)
    assert asked == list(found.rates)
    assert (asked[0], asked[-1], len(asked)) == (pytest.approx(1e-5), pytest.approx(0.5), 40)
    factors = np.divide(asked[1:], asked[:-1])
    assert np.allclose(factors, factors[0])
    assert found.limit is None


def test_the_sweep_ends_at_the_first_loss_that_is_no_number() -> None:
    asked: list[float] = []

    def step(rate: float) -> float:
        asked.append(rate)
        return 2 - min(1.0, 100 * rate) if rate < 0.1 else math.nan

    found = range_test(step)
    assert found.limit == asked[-1]
    assert len(found.losses) == len(found.rates) == len(found.smoothed) == len(asked) - 1
    assert all(map(math.isfinite, found.losses))


def test_the_sweep_ends_when_the_loss_is_over_4_times_the_best() -> None:
    found = range_test(lambda rate: 1.0 if rate < 1e-3 else 0.5 if rate < 1e-2 else 1e6)
    assert found.limit == found.rates[-1]
    assert found.smoothed[-1] > 4 * min(found.smoothed) > found.smoothed[-2]


@pytest.mark.parametrize("shift", [0.0, -5.0])
def test_a_loss_may_be_negative(shift: float) -> None:
    plain = range_test(lambda rate: 1 + 1 / (1 + (rate / 1e-3) ** 3))
    moved = range_test(lambda rate: shift + 1 + 1 / (1 + (rate / 1e-3) ** 3))
    assert moved.suggestion == plain.suggestion
    assert len(moved.losses) == len(plain.losses) == 60


def test_the_smoothed_curve_is_the_bias_corrected_mean() -> None:
    found = range_test(quadratic([10.0], noise=0.2))
    for count in (1, 2, 10, len(found.losses)):
        weights = 0.8 ** np.arange(count)[::-1]
        assert found.smoothed[count - 1] == pytest.approx(np.average(found.losses[:count], weights=weights))


@pytest.mark.parametrize(
    ("step", "words", "hint"),
    [
        (lambda rate: math.nan, "not finite at learning rate 1e-06, step 1 of the range test", "low=1e-09"),
        (lambda rate: math.inf if rate > 2e-6 else 1.0, "step 4 of the range test", "low=1e-09"),
        (lambda rate: 1 + rate * 1e6, "the loss exploded at learning rate .* before it fell", "low=1e-09"),
        (lambda rate: 1.0, "the loss fell by", "larger high="),
        (lambda rate: 2.3 + 0.1 * math.sin(rate * 1e9), "its noise from batch to batch", "larger high="),
    ],
)
def test_where_nothing_can_be_suggested_the_error_says_why(step: Any, words: str, hint: str) -> None:
    with pytest.raises(TrainingError, match=words) as caught:
        range_test(step)
    assert hint in caught.value.hint


def test_noise_alone_suggests_nothing() -> None:
    refused = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        try:
            range_test(lambda rate: 2.3 + 0.1 * rng.normal())  # noqa: B023 - used at once
        except TrainingError:
            refused += 1
    assert refused >= 49


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"low": 0.0}, "low: expected a learning rate above 0, found 0.0"),
        ({"low": -1e-3}, "found -0.001"),
        ({"low": math.nan}, "found nan"),
        ({"high": math.inf}, "high: expected a learning rate above 0, found inf"),
        ({"high": "1"}, "found '1'"),
        ({"low": True}, "found True"),
        ({"low": 0.1, "high": 0.1}, "expected low < high, found low=0.1 and high=0.1"),
        ({"low": 1.0, "high": 0.1}, "expected low < high"),
        ({"steps": 19}, "steps: expected a whole number of at least 20, found 19"),
        ({"steps": 60.0}, "found 60.0"),
        ({"step": None}, "step: expected a function from a learning rate to a loss, found None"),
    ],
)
def test_arguments_that_make_no_sweep_are_refused(arguments: dict[str, Any], words: str) -> None:
    def never(rate: float) -> float:
        raise AssertionError("nothing may be trained")

    with pytest.raises(UsageError, match=words):
        range_test(**{"step": never, **arguments})


def test_an_error_of_the_step_is_its_own() -> None:
    def step(rate: float) -> float:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        range_test(step)


def test_the_picture_marks_the_suggestion_at_its_place(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = range_test(quadratic([10.0], noise=0.2), high=10.0)
    found.plot(tmp_path / "sweep.png")
    pixels = np.asarray(Image.open(tmp_path / "sweep.png").convert("RGB")).astype(int)
    counts = {}
    for name, colour in (("suggestion", (44, 160, 44)), ("limit", (214, 39, 40))):
        counts[name] = (np.abs(pixels - colour).sum(axis=2) < 30).sum(axis=0)
    suggested, limit = (int(counts[name].argmax()) for name in ("suggestion", "limit"))
    assert counts["suggestion"][suggested] > 0.6 * len(pixels)
    assert counts["limit"][limit] > 0.3 * len(pixels)  # it is dashed
    assert 0 < suggested < limit < pixels.shape[1] * 0.8


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = range_test(quadratic([10.0]))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as caught:
        found.plot(tmp_path / "sweep.png")
    assert caught.value.hint.startswith("pip install 'matplotlib<")


def test_a_sweep_of_numpys_numbers_is_that_of_plain_ones() -> None:
    rates = range_test(quadratic([10.0]), low=1e-5, high=1.0, steps=40).rates
    given = range_test(quadratic([10.0]), low=np.float32(1e-5), high=np.float64(1), steps=np.int64(40))  # type: ignore[arg-type]
    assert given.rates == pytest.approx(rates)
