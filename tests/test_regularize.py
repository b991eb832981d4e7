"""Averaged weights against a loop by hand, penalties against their formulas in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from hub.errors import WeightsError
from hub.finetune.regularize import WeightAverage, anchor_penalty, distillation_loss
from hub.modules.weights import state_of

CLOSE = 1e-5  # float32 against float64


def small_network(seed: int = 0) -> nn.Layer:
    """With moving statistics, a buffer without dimensions and one that is no float."""
    paddle.seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1D(5), nn.ReLU(), nn.Linear(5, 3))
    model.register_buffer("progress", paddle.zeros([]))
    model.register_buffer("steps", paddle.zeros([1], "int64"))
    return model


def train(
    model: nn.Layer, average: WeightAverage, steps: int, *, start: int = 0
) -> list[dict[str, np.ndarray]]:
    """Give the weights after each step."""
    trained = [parameter for parameter in model.parameters() if parameter.trainable]
    optimizer = paddle.optimizer.SGD(0.1, parameters=trained)
    model.train()
    states = []
    for step in range(start, start + steps):
        x = paddle.to_tensor(np.random.default_rng(step).normal(size=(16, 6)).astype(np.float32))
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.clear_grad()
        model.steps += 1
        model.progress += 0.25
        average.update(model)
        states.append(state_of(model))
    return states


def same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("decay", [0, 0.5, 0.9])
def test_the_average_is_that_of_a_loop_by_hand(decay: float) -> None:
    model = small_network()
    expected = {name: array.astype(np.float64) for name, array in state_of(model).items()}
    average = WeightAverage(model, decay)
    for t, state in enumerate(train(model, average, 25)):
        d = min(decay, (1 + t) / (10 + t))
        expected = {name: d * expected[name] + (1 - d) * state[name] for name in expected}
    with average.swapped(model):
        found = state_of(model)
    assert found.pop("steps") == 25, "what is no float is not averaged"
    assert any("_mean" in name for name in found), "moving statistics are"
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=CLOSE, atol=1e-6, err_msg=name)


def test_the_model_has_its_own_weights_back_to_the_last_bit() -> None:
    model = small_network()
    average = WeightAverage(model, 0.9)
    before = train(model, average, 5)[-1]
    tensors = [id(tensor) for tensor in model.state_dict().values()]
    with average.swapped(model):
        assert not same_bits(state_of(model), before)
    assert same_bits(state_of(model), before)
    with pytest.raises(KeyError, match="mid-way"), average.swapped(model):
        raise KeyError("mid-way")
    assert same_bits(state_of(model), before)
    assert [id(tensor) for tensor in model.state_dict().values()] == tensors, "the optimizer knows these"
    assert all(parameter.trainable for parameter in model[0].parameters())


def test_looking_at_the_average_does_not_change_the_run() -> None:
    ends = []
    for look in (False, True):
        model = small_network()
        average = WeightAverage(model, 0.9)
        train(model, average, 4)
        if look:
            with average.swapped(model):
                model.eval()
                model(paddle.ones([2, 6]))
        train(model, average, 4, start=4)
        ends.append({**state_of(model), **average.state()})
    assert same_bits(*ends)


def test_frozen_weights_stay_bit_for_bit_in_the_average() -> None:
    model = small_network()
    for parameter in model[0].parameters():
        parameter.trainable = False
    before = state_of(model[0])
    average = WeightAverage(model, 0.7)
    train(model, average, 30)
    with average.swapped(model):
        assert same_bits(state_of(model[0]), before)


def test_a_restored_average_goes_on_as_if_nothing_had_happened() -> None:
    whole, model = small_network(), small_network()
    straight, average = WeightAverage(whole, 0.9), WeightAverage(model, 0.9)
    train(whole, straight, 12)
    train(model, average, 6)
    kept = average.state()
    resumed = WeightAverage(small_network(seed=9), 0.9)
    resumed.restore(kept)
    train(model, resumed, 6, start=6)
    assert same_bits(resumed.state(), straight.state())


def test_a_state_is_a_copy() -> None:
    model = small_network()
    average = WeightAverage(model, 0.9)
    state = average.state()
    before = {name: array.copy() for name, array in state.items()}
    train(model, average, 3)
    assert same_bits(state, before)
    average.restore(state)
    train(model, average, 3)
    assert same_bits(state, before)


def test_the_average_of_another_network_is_refused() -> None:
    average = WeightAverage(small_network(), 0.9)
    train(small_network(), average, 2)
    before = average.state()
    with pytest.raises(WeightsError, match=r"'0.weight': expected shape \[6, 5\], found \[6, 4\]"):
        average.restore({**before, "0.weight": np.zeros((6, 4), np.float32)})
    with pytest.raises(WeightsError, match=r"'3.bias': expected shape \[3\], found None"):
        average.restore({name: array for name, array in before.items() if name != "3.bias"})
    assert same_bits(average.state(), before)


def test_the_anchor_is_half_the_squared_distance_from_the_start() -> None:
    model = small_network()
    start = {name: parameter.clone().detach() for name, parameter in model.named_parameters()}
    del start["3.bias"]  # is not in the pretrained weights
    model[0].bias.trainable = False
    pulled = {"0.weight", "1.weight", "1.bias", "3.weight"}  # but no moving statistics
    rng, moves = np.random.default_rng(0), {}
    for name, parameter in model.named_parameters():
        moves[name] = rng.normal(size=parameter.shape)
        parameter.set_value(parameter + paddle.to_tensor(moves[name].astype(np.float32)))
    penalty = anchor_penalty(model, start, 0.3)
    assert penalty.shape == []
    assert float(penalty) == pytest.approx(0.15 * sum((moves[name] ** 2).sum() for name in pulled), rel=CLOSE)
    penalty.backward()
    for name, parameter in model.named_parameters():
        if name in pulled:
            np.testing.assert_allclose(parameter.grad.numpy(), 0.3 * moves[name], rtol=1e-4, atol=1e-6)
        else:
            assert parameter.grad is None


def test_an_anchor_without_anything_trained_is_0_and_can_be_added_to_a_loss() -> None:
    model = small_network()
    start = {name: parameter.clone().detach() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.trainable = False
    penalty = anchor_penalty(model, start, 0.3)
    assert float(penalty) == 0
    weight = paddle.ones([2])
    weight.stop_gradient = False
    (weight.sum() + penalty).backward()
    assert weight.grad.tolist() == [1, 1]


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = (
        np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)
        for z in (teacher, student)
    )
    return float(temperature**2 * (p * np.log(p / q)).sum(axis=1).mean())


def divergences(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = (1 / (1 + np.exp(-z / temperature)) for z in (teacher, student))
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return float(temperature**2 * each.mean())


FORMULAS = pytest.mark.parametrize(("multi_label", "formula"), [(False, divergence), (True, divergences)])
Formula = Callable[[np.ndarray, np.ndarray, float], float]


def answers(scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    student, teacher = scale * np.random.default_rng(0).normal(size=(2, 8, 5))
    return student, teacher


def trainable(array: np.ndarray) -> Tensor:
    tensor = paddle.to_tensor(array.astype(np.float32))
    tensor.stop_gradient = False
    return tensor


@FORMULAS
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_formula_and_so_is_its_gradient(
    multi_label: bool, formula: Formula, temperature: float
) -> None:
    student, teacher = answers()
    given, from_teacher = trainable(student), trainable(teacher)
    loss = distillation_loss(given, from_teacher, temperature=temperature, multi_label=multi_label)
    assert loss.shape == []
    assert float(loss) == pytest.approx(formula(student, teacher, temperature), rel=1e-4)
    loss.backward()
    assert from_teacher.grad is None
    slope, step = np.zeros_like(student), 1e-5
    for place in np.ndindex(student.shape):
        change = np.zeros_like(student)
        change[place] = step
        ends = [formula(student + sign * change, teacher, temperature) for sign in (1, -1)]
        slope[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(given.grad.numpy(), slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_student_that_answers_like_its_teacher_has_nothing_to_learn(multi_label: bool) -> None:
    _, teacher = answers()
    given = trainable(teacher)
    loss = distillation_loss(given, paddle.to_tensor(teacher), temperature=2.0, multi_label=multi_label)
    loss.backward()
    assert abs(float(loss)) < 1e-6
    assert float(given.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("multi_label", [False, True])
def test_distillation_of_extreme_answers_is_finite(multi_label: bool) -> None:
    student, teacher = answers(scale=1e4)
    given = trainable(student)
    loss = distillation_loss(given, trainable(teacher), temperature=1.0, multi_label=multi_label)
    loss.backward()
    assert np.isfinite(float(loss))
    assert float(loss) > 1
    assert np.isfinite(given.grad.numpy()).all()
