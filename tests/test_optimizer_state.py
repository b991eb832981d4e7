"""An optimizer goes on exactly where it was, whatever was built before it; what does not fit is named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from hub.errors import TrainingError
from hub.finetune import optimizer_state
from hub.finetune.checkpoint import Checkpoints
from hub.modules import weights

ROOT = Path(__file__).parents[1]
BEFORE, AFTER = 3, 4  # steps before the checkpoint and after it

State = tuple[dict[str, np.ndarray], dict[str, Any]]
Make = Callable[[nn.Layer], paddle.optimizer.Optimizer]


class Net(nn.Layer):
    """Names that begin with one another, a norm with buffers, a layer that is frozen, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)
        self.layer_1 = nn.Linear(5, 5)
        self.norm = nn.BatchNorm1D(5)
        self.head = nn.Linear(5, 3)
        self.unused = nn.Linear(2, 2)
        for parameter in self.layer_1.parameters():
            parameter.stop_gradient = True

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(self.norm(nn.functional.relu(self.layer_1(self.layer(x)))))


def in_groups(model: nn.Layer) -> paddle.optimizer.Optimizer:
    groups = [
        {"params": model.layer.parameters(), "learning_rate": 0.3},
        {"params": [*model.norm.parameters(), *model.head.parameters(), *model.unused.parameters()]},
    ]
    return paddle.optimizer.AdamW(0.01, parameters=groups, weight_decay=0.05)


def scheduled(model: nn.Layer) -> paddle.optimizer.Optimizer:
    cosine = paddle.optimizer.lr.CosineAnnealingDecay(0.05, T_max=9)
    warm = paddle.optimizer.lr.LinearWarmup(cosine, warmup_steps=2, start_lr=0.0, end_lr=0.05)
    return paddle.optimizer.Momentum(warm, parameters=model.parameters())


def plain(kind: str, **settings: Any) -> Make:
    return lambda model: getattr(paddle.optimizer, kind)(0.01, parameters=model.parameters(), **settings)


MAKERS: dict[str, Make] = {
    "SGD": plain("SGD", weight_decay=0.01),
    "Momentum": plain("Momentum", use_nesterov=True),
    "Adam": plain("Adam"),
    "Adam amsgrad": plain("Adam", amsgrad=True),
    "Adam multi-tensor": plain("Adam", use_multi_tensor=True),
    "Adam with a name": plain("Adam", name="mine"),
    "AdamW": plain("AdamW"),
    "AdamW in groups": in_groups,
    "Adamax": plain("Adamax"),
    "Adagrad": plain("Adagrad", initial_accumulator_value=0.1),
    "Adadelta": plain("Adadelta"),
    "RMSProp": plain("RMSProp", momentum=0.9, centered=True),
    "Lamb": plain("Lamb"),
    "NAdam": plain("NAdam"),
    "RAdam": plain("RAdam"),
    "scheduled": scheduled,
}


def names_of(model: nn.Layer) -> dict[str, str]:
    return {name: parameter.name for name, parameter in model.named_parameters()}


def train(model: nn.Layer, optimizer: paddle.optimizer.Optimizer, steps: range) -> None:
    for step in steps:
        rows = np.random.default_rng(step).normal(size=(8, 9)).astype(np.float32)
        loss = nn.functional.mse_loss(model(paddle.to_tensor(rows[:, :6])), paddle.to_tensor(rows[:, 6:]))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if isinstance(optimizer._learning_rate, paddle.optimizer.lr.LRScheduler):
            optimizer._learning_rate.step()
        else:
            optimizer.set_lr(0.01 * (1 + step / 7))  # so that the rate is part of what must come back


def digest(model: nn.Layer) -> dict[str, str]:
    return {name: array.tobytes().hex() for name, array in weights.state_of(model).items()}


def started(name: str) -> tuple[nn.Layer, paddle.optimizer.Optimizer]:
    paddle.seed(1)
    model = Net()
    optimizer = MAKERS[name](model)
    train(model, optimizer, range(BEFORE))
    return model, optimizer


def go_on(folder: Path) -> dict[str, dict[str, str]]:
    """What another process does: build other layers first, then each model, go on, and give the final weights."""
    ends = {}
    for name in MAKERS:
        for _ in range(3):
            nn.Linear(2, 2)
            nn.BatchNorm1D(2)
        paddle.seed(99)
        checkpoint = Checkpoints(folder / name).newest()
        assert checkpoint is not None
        model = Net()
        optimizer = MAKERS[name](model)
        weights.give(model, checkpoint.load("model"), what=name)
        optimizer_state.from_arrays(
            optimizer, checkpoint.load("optimizer"), checkpoint.record, names_of(model)
        )
        train(model, optimizer, range(BEFORE, BEFORE + AFTER))
        ends[name] = digest(model)
    return ends


def test_another_process_goes_on_to_the_same_bits(tmp_path: Path, python: str) -> None:
    ends = {}
    for name in MAKERS:
        model, optimizer = started(name)
        arrays, record = optimizer_state.to_arrays(optimizer, names_of(model))
        assert not [key for key in arrays if "layer_1" in key or "unused" in key]
        Checkpoints(tmp_path / name).save(
            BEFORE, {"model": weights.state_of(model), "optimizer": arrays}, record
        )
        middle = digest(model)
        train(model, optimizer, range(BEFORE, BEFORE + AFTER))
        ends[name] = digest(model)
        assert ends[name] != middle
    script = "import json, sys, pathlib; from tests.test_optimizer_state import go_on; "
    script += "print(json.dumps(go_on(pathlib.Path(sys.argv[1]))))"
    done = subprocess.run([python, "-c", script, tmp_path], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    resumed = json.loads(done.stdout)
    assert [name for name in MAKERS if resumed[name] != ends[name]] == []


def test_arrays_are_copies_by_the_names_of_the_model() -> None:
    model, optimizer = started("AdamW")
    arrays, record = optimizer_state.to_arrays(optimizer, names_of(model))
    kinds = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")
    trained = ("layer.weight", "layer.bias", "norm.weight", "norm.bias", "head.weight", "head.bias")
    assert set(arrays) == {f"{kind}/{name}" for kind in kinds for name in trained}
    assert record["kind"] == "AdamW"
    assert record["learning_rate"] == optimizer.get_lr()
    np.testing.assert_allclose(
        arrays["beta1_pow_acc/head.bias"], [0.9 ** (BEFORE + 1)], rtol=1e-6
    )  # the next one's
    before = {key: array.copy() for key, array in arrays.items()}
    train(model, optimizer, range(1))
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.filterwarnings("ignore:There are some unused values")  # paddle says it of a scheduler in another
@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_that_went_on_can_go_back(name: str) -> None:
    model, optimizer = started(name)
    here, state = weights.state_of(model), optimizer_state.to_arrays(optimizer, names_of(model))
    ends = []
    for _ in range(2):
        train(model, optimizer, range(BEFORE, BEFORE + AFTER))
        ends.append(digest(model))
        weights.give(model, here, what=name)
        optimizer_state.from_arrays(optimizer, *state, names_of(model))
    assert ends[0] == ends[1]


def test_a_rebuilt_optimizer_over_the_same_model_takes_the_state() -> None:
    model, optimizer = started("Lamb")  # a second optimizer counts its tensors on: ..._moment1_1
    state = optimizer_state.to_arrays(optimizer, names_of(model))
    again = MAKERS["Lamb"](model)
    optimizer_state.from_arrays(again, *state, names_of(model))
    np.testing.assert_equal(optimizer_state.to_arrays(again, names_of(model)), state)


def test_state_taken_before_the_first_step_is_empty_and_fits() -> None:
    model = Net()
    arrays, record = optimizer_state.to_arrays(MAKERS["AdamW"](model), names_of(model))
    assert arrays == {}
    optimizer_state.from_arrays(MAKERS["AdamW"](model), arrays, record, names_of(model))


def lose(key: str) -> Callable[[State], None]:
    return lambda state: state[0].__delitem__(key)


def change(key: str, array: Any) -> Callable[[State], None]:
    return lambda state: state[0].__setitem__(key, array)


def note(key: str, value: Any) -> Callable[[State], None]:
    return lambda state: state[1].__setitem__(key, value)


WRONG: list[tuple[Callable[[State], None], str]] = [
    (lose("moment1/head.weight"), r"missing moment1/head\.weight"),
    (lose("beta2_pow_acc/norm.bias"), r"missing beta2_pow_acc/norm\.bias"),
    (change("moment3/head.weight", np.zeros([5, 3], np.float32)), r"unexpected moment3/head\.weight"),
    (change("moment1/tail.weight", np.zeros([5, 3], np.float32)), r"unexpected moment1/tail\.weight"),
    (change("master/head.weight", np.zeros([5, 3], np.float32)), r"unexpected master/head\.weight"),
    (
        change("moment1/head.weight", np.zeros([3, 5], np.float32)),
        r"moment1/head\.weight: expected \(5, 3\) float32, found \(3, 5\)",
    ),
    (change("moment2/head.bias", np.zeros([3])), r"moment2/head\.bias: .* found \(3,\) float64"),
    (
        change("beta1_pow_acc/head.bias", np.zeros([], np.float32)),
        r"expected \(1,\) float32, found \(\) float32",
    ),
    (note("kind", "Adam"), "expected the state of AdamW, found that of Adam"),
    (note("schedule", {}), "scheduler on both sides or on none"),
    (
        note("parameters", ["head.weight", "tail.weight"]),
        r"unexpected tail\.weight: the optimizer has no such",
    ),
]


@pytest.mark.parametrize(("damage", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_what_does_not_fit_is_named_and_nothing_is_given(damage: Callable[[State], None], says: str) -> None:
    model, optimizer = started("AdamW")
    state = optimizer_state.to_arrays(optimizer, names_of(model))
    damaged = ({**state[0]}, {**state[1]})
    damage(damaged)
    train(model, optimizer, range(BEFORE, BEFORE + 1))
    here = optimizer_state.to_arrays(optimizer, names_of(model))
    with pytest.raises(TrainingError, match=says):
        optimizer_state.from_arrays(optimizer, *damaged, names_of(model))
    np.testing.assert_equal(optimizer_state.to_arrays(optimizer, names_of(model)), here)


def test_state_that_the_checkpoint_does_not_know_of_is_an_error() -> None:
    model, optimizer = started("AdamW")
    empty = optimizer_state.to_arrays(MAKERS["AdamW"](model), names_of(model))
    with pytest.raises(TrainingError, match=r"missing beta1_pow_acc/head\.bias"):
        optimizer_state.from_arrays(optimizer, *empty, names_of(model))


def test_a_parameter_without_a_name_is_an_error() -> None:
    model, optimizer = started("AdamW")
    names = names_of(model)
    theirs = names.pop("head.bias")
    with pytest.raises(TrainingError, match=theirs):
        optimizer_state.to_arrays(optimizer, names)


def test_an_optimizer_that_keeps_more_than_tensors_is_refused() -> None:
    optimizer = paddle.optimizer.LBFGS(parameters=Net().parameters())
    with pytest.raises(TrainingError, match="LBFGS cannot be kept"):
        optimizer_state.to_arrays(optimizer, {})


class Half(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([4, 3], dtype="bfloat16")
        self.bias = self.create_parameter([3], dtype="float32")


HALF = ["SGD", "Momentum", "Adam", "AdamW", "Lamb", "RMSProp", "Adagrad"]


def built(kind: str, master: bool) -> tuple[Half, paddle.optimizer.Optimizer]:
    model = Half()
    optimizer = MAKERS[kind](model)
    optimizer._multi_precision = master
    return model, optimizer


@pytest.mark.filterwarnings("ignore:Accumulating with FP16")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "SGD" else pytest.mark.gpu) for kind in HALF]
)  # the others have no bfloat16 on a CPU
@pytest.mark.parametrize("master", [True, False])
def test_half_precision_goes_on_from_its_float32_copies(kind: str, master: bool) -> None:
    def step(model: Half, optimizer: paddle.optimizer.Optimizer, number: int) -> None:
        gradient = np.random.default_rng(number).normal(size=(4, 3)).astype(np.float32)
        (model.weight * paddle.to_tensor(gradient).astype("bfloat16")).sum().backward()
        optimizer.step()
        optimizer.clear_grad()

    model, optimizer = built(kind, master)
    step(model, optimizer, 0)
    here = weights.state_of(model)
    state = optimizer_state.to_arrays(optimizer, names_of(model))
    assert ("master/weight" in state[0]) == master
    step(model, optimizer, 1)
    step(model, optimizer, 2)

    other, another = built(kind, master)
    other.weight.set_value(here["weight"])
    optimizer_state.from_arrays(another, *state, names_of(other))
    step(other, another, 1)
    step(other, another, 2)
    np.testing.assert_array_equal(other.weight.numpy(), model.weight.numpy())


@pytest.mark.filterwarnings("ignore:Accumulating with FP16")
@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("master", [True, False])
def test_half_precision_state_comes_back_whole(kind: str, master: bool) -> None:
    model, optimizer = built(kind, master)
    block = paddle.base.framework.default_main_program().global_block()
    optimizer._create_accumulators(
        block, model.parameters()
    )  # as its first step would, where it could take one
    kept = [each for by_name in optimizer._accumulators.values() for each in by_name.values()]
    for tensor in [*kept, *optimizer._master_weights.values()]:
        tensor.set_value(paddle.rand(tensor.shape).astype(tensor.dtype))
    arrays, record = optimizer_state.to_arrays(optimizer, names_of(model))
    assert len(arrays) == len(kept) + master
    other, another = built(kind, master)
    optimizer_state.from_arrays(another, arrays, record, names_of(other))
    np.testing.assert_equal(optimizer_state.to_arrays(another, names_of(other)), (arrays, record))
