"""When a run ends early, what is refused before it begins, and that a resumed run goes on counting."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

from hub.errors import UsageError
from hub.finetune.early_stop import EarlyStop
from hub.finetune.schedules import by_name
from hub.finetune.trainer import Trainer
from hub.tasks import create


@dataclass
class FakeTrainer:
    """What a Trainer shows its callbacks, without a model."""

    metric: str = "accuracy"
    metrics: Mapping[str, bool] = field(default_factory=lambda: {"accuracy": True, "error": False})
    has_valid: bool = True
    history: list[dict[str, Any]] = field(default_factory=list)
    stop: bool = False


def epochs_run(stopper: EarlyStop, values: list[float], *, key: str = "accuracy", first: int = 1) -> int:
    """Give after how many of these epochs the run ends."""
    trainer = FakeTrainer()
    stopper.on_train_begin(trainer)
    for epoch, value in enumerate(values, start=first):
        row = {"epoch": epoch, "valid_loss": 1.0, f"valid_{key}": value}
        trainer.history.append(row)
        stopper.on_epoch_end(trainer, row)
        if trainer.stop:
            return len(trainer.history)
    return len(values)


@pytest.mark.parametrize(
    ("arguments", "key", "values", "ends"),
    [
        ({"patience": 2}, "accuracy", [0.5, 0.6, 0.6, 0.5, 0.9], 4),
        ({"patience": 2}, "accuracy", [0.5, 0.4, 0.6, 0.5, 0.7], 5),
        ({"patience": 1}, "accuracy", [0.5, 0.5], 2),
        ({"patience": 2, "metric": "loss"}, "loss", [3.0, 2.0, 2.5, 2.1, 1.0], 4),
        ({"patience": 2, "metric": "valid_loss"}, "loss", [3.0, 2.0, 2.5, 2.1, 1.0], 4),
        ({"patience": 2, "metric": "error"}, "error", [0.1, 0.2, 0.3, 0.0], 3),
        ({"patience": 2, "metric": "error", "mode": "max"}, "error", [0.1, 0.2, 0.3, 0.4], 4),
        ({"patience": 2, "mode": "min"}, "accuracy", [0.1, 0.2, 0.3, 0.4], 3),
        ({"patience": 2, "min_delta": 0.1}, "accuracy", [0.5, 0.55, 0.59, 0.9], 3),
        ({"patience": 2, "min_delta": 0.1}, "accuracy", [0.5, 0.55, 0.61, 0.65, 0.72], 5),
        ({"patience": 2}, "accuracy", [0.5, math.nan, 0.6, math.nan, math.nan, 0.9], 5),
        ({"patience": 3}, "accuracy", [math.nan, math.nan, math.nan, 0.9], 3),
    ],
)
def test_a_run_ends_after_so_many_epochs_without_improvement(
    arguments: dict[str, Any], key: str, values: list[float], ends: int
) -> None:
    assert epochs_run(EarlyStop(**arguments), values, key=key) == ends


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 6))
def test_a_run_never_ends_while_the_best_is_younger_than_the_patience(
    values: list[float], patience: int
) -> None:
    ends = epochs_run(EarlyStop(patience=patience), values)
    best_before = max(range(ends), key=lambda number: (values[number], -number))
    if ends < len(values):
        assert ends - 1 - best_before == patience
    else:
        assert ends - 1 - best_before <= patience


@pytest.mark.parametrize(
    ("arguments", "values", "reason"),
    [
        (
            {"patience": 2},
            [0.5, 0.912345, 0.6, 0.7],
            "accuracy has not risen since epoch 2, where it was 0.9123: 2 epochs without improvement",
        ),
        (
            {"patience": 1, "mode": "min", "min_delta": 0.01},
            [0.5, 0.495],
            "accuracy has not fallen by more than 0.01 since epoch 1, where it was 0.5: 1 epoch without improvement",
        ),
        ({"patience": 1}, [math.nan], "accuracy was a number in none of them: 1 epoch without improvement"),
    ],
)
def test_the_reason_names_metric_best_epoch_and_value(
    arguments: dict[str, Any], values: list[float], reason: str
) -> None:
    stopper = EarlyStop(**arguments)
    epochs_run(stopper, values)
    assert stopper.reason == reason


def test_without_an_end_there_is_no_reason() -> None:
    stopper = EarlyStop()
    epochs_run(stopper, [0.1, 0.2])
    assert stopper.reason == ""


def test_the_start_counts_as_epoch_0() -> None:
    assert epochs_run(EarlyStop(patience=2), [0.9, 0.5, 0.6, 0.95], first=0) == 3


def test_epochs_that_were_not_evaluated_are_not_counted() -> None:
    trainer, stopper = FakeTrainer(), EarlyStop(patience=2)
    stopper.on_train_begin(trainer)
    for row in (
        {"epoch": 1, "valid_accuracy": 0.5},
        {"epoch": 2},
        {"epoch": 3, "valid_accuracy": 0.4},
        {"epoch": 4},
    ):
        trainer.history.append(row)
        stopper.on_epoch_end(trainer, row)
        assert not trainer.stop


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=2, max_size=12), st.data())
def test_a_resumed_run_ends_where_the_unbroken_one_does(values: list[float], data: st.DataObject) -> None:
    broken_after = data.draw(st.integers(1, len(values) - 1))
    whole = epochs_run(EarlyStop(patience=3), values)
    before = FakeTrainer()
    first, second = EarlyStop(patience=3), EarlyStop(patience=3)
    first.on_train_begin(before)
    for epoch, value in enumerate(values[:broken_after], start=1):
        before.history.append({"epoch": epoch, "valid_accuracy": value})
        first.on_epoch_end(before, before.history[-1])
        if before.stop:
            assert epoch == whole
            return
    second.restore(json.loads(json.dumps(first.state())))
    after = FakeTrainer(history=json.loads(json.dumps(before.history)))
    second.on_train_begin(after)
    for epoch, value in enumerate(values[broken_after:], start=broken_after + 1):
        after.history.append({"epoch": epoch, "valid_accuracy": value})
        second.on_epoch_end(after, after.history[-1])
        if after.stop:
            assert epoch == whole
            return
    assert whole == len(values)


def test_one_stopper_serves_two_runs() -> None:
    stopper = EarlyStop(patience=2)
    assert epochs_run(stopper, [0.9, 0.5, 0.5]) == 3
    assert epochs_run(stopper, [0.1, 0.2, 0.3]) == 3
    assert stopper.reason == ""


def test_a_metric_that_does_not_exist_is_refused_before_the_first_epoch() -> None:
    with pytest.raises(UsageError, match="expected one of accuracy, error, loss, found 'acuracy'") as caught:
        EarlyStop(metric="acuracy").on_train_begin(FakeTrainer())
    assert caught.value.hint == "did you mean 'accuracy'?"


def test_a_run_without_validation_data_is_refused_before_the_first_epoch() -> None:
    with pytest.raises(UsageError, match="watches accuracy on the validation set, and there is no") as caught:
        EarlyStop().on_train_begin(FakeTrainer(has_valid=False))
    assert "valid=" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patience": 0}, "patience: expected a whole number of at least 1, found 0"),
        ({"patience": 2.0}, "found 2.0"),
        ({"patience": True}, "found True"),
        ({"min_delta": -0.1}, "min_delta: expected a number of at least 0, found -0.1"),
        ({"min_delta": math.nan}, "found nan"),
        ({"min_delta": "1"}, "found '1'"),
        ({"mode": "maximum"}, "mode: expected one of max, min, found 'maximum'"),
        ({"metric": 3}, "metric: expected the name of a metric, found 3"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        EarlyStop(**arguments)


def test_the_argument_of_finetune_takes_five_forms() -> None:
    assert EarlyStop.of(None) is None
    assert EarlyStop.of(False) is None
    usual = EarlyStop.of(True)
    assert usual is not None
    assert (usual.metric, usual.patience, usual.min_delta, usual.mode) == (None, 5, 0.0, None)
    three = EarlyStop.of(3)
    assert three is not None
    assert three.patience == 3
    of_numpy = EarlyStop.of(np.int64(3)), EarlyStop.of({"patience": np.int64(3), "min_delta": np.float32(0)})
    assert [one and one.told for one in of_numpy] == [three.told] * 2
    given_as_dict = EarlyStop.of({"metric": "loss", "patience": 2, "min_delta": 0.5, "mode": "min"})
    assert given_as_dict is not None
    assert (given_as_dict.metric, given_as_dict.patience, given_as_dict.min_delta) == ("loss", 2, 0.5)
    assert EarlyStop.of(three) is three


@pytest.mark.parametrize(
    ("value", "words", "hint"),
    [
        (
            {"patients": 3},
            "argument: expected one of metric, min_delta, mode, patience",
            "did you mean 'patience'?",
        ),
        (0, "patience: expected a whole number of at least 1, found 0", "number of epochs"),
        ("yes", "expected True, False, a number of epochs or a dict of arguments, found 'yes'", ""),
        (2.5, "found 2.5", ""),
    ],
)
def test_any_other_form_is_refused(value: Any, words: str, hint: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        EarlyStop.of(value)
    assert hint in caught.value.hint


class Separable:
    """96 points in two classes, divided by a line: training gets all of them right and then stands still."""

    count, steps, sizes = 96, 6, [16] * 6

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        points = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
        for first in range(16 * start, 96, 16):
            part = points[first : first + 16]
            yield part, (part[:, 0] > 0).astype("int64")


def test_a_real_run_ends_early_and_is_refused_without_validation_data() -> None:
    paddle.seed(0)
    model, task, stopper = (
        nn.Linear(4, 2),
        create("image_classification", ["left", "right"]),
        EarlyStop(patience=3),
    )
    trainer = Trainer(
        model, task, optimizer=paddle.optimizer.AdamW(0.5, parameters=model.parameters()), loss=task.loss(),
        schedule=by_name("constant"), callbacks=[stopper],
    )  # fmt: skip
    data = Separable()
    with pytest.raises(UsageError, match="no validation set"):
        trainer.fit(data, None, epochs=100)
    assert trainer.step == 0
    history = trainer.fit(data, data, epochs=100)
    assert 4 <= len(history) < 100
    best = len(history) - 3
    assert f"accuracy has not risen since epoch {best}, where it was" in stopper.reason
    assert all(row["valid_accuracy"] <= history[best - 1]["valid_accuracy"] for row in history)
