"""Every generator goes on where it was captured: in the same process, in another, and from JSON."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import TrainingError
from hub.finetune import random_state

ROOT = Path(__file__).parents[1]


def draws() -> list[str]:
    """Draw from everything, and give every bit of it."""
    values = [random.random(), random.gauss(0, 1), random.getrandbits(40)]
    values += [*np.random.rand(3), np.random.randn(), *np.random.permutation(9)]
    values += [*paddle.rand([3]).numpy(), *paddle.randn([2]).numpy(), *paddle.randperm(7).numpy()]
    values += [*paddle.nn.functional.dropout(paddle.ones([40]), 0.5).numpy()]
    return [float(value).hex() for value in values]


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    paddle.seed(number)


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(state, allow_nan=False))


@settings(max_examples=25)
@given(number=st.integers(0, 2**64 - 1), before=st.integers(0, 3), after=st.integers(0, 3))
def test_draws_are_the_same_after_a_restore(number: int, before: int, after: int) -> None:
    seed(number)
    for _ in range(before):
        draws()
    random.gauss(0, 1)  # both keep the second of two values for the next call
    np.random.randn()
    state = through_json(random_state.capture())
    expected = draws()
    for _ in range(after):
        draws()
    random_state.restore(state)
    assert draws() == expected
    assert draws() != expected


@pytest.mark.parametrize("number", [7, 2**63, 2**64 - 1])
def test_draws_are_the_same_in_a_fresh_process(number: int, python: str) -> None:
    seed(number)
    draws()
    state = random_state.capture()
    script = (
        "import json, sys\n"
        "from hub.finetune import random_state\n"
        "from tests.test_random_state import draws\n"
        "random_state.restore(json.load(sys.stdin))\n"
        "print(json.dumps(draws()))"
    )
    done = subprocess.run(
        [python, "-c", script],
        input=json.dumps(state),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout) == draws()


def test_capturing_draws_nothing() -> None:
    seed(3)
    expected = draws()
    seed(3)
    random_state.capture()
    assert draws() == expected


def cut(*path: Any, by: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def change(state: Any) -> None:
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = by(state[path[-1]])

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("python"),
        lambda state: state.pop("numpy"),
        lambda state: state.pop("paddle"),
        cut("python", 0, by=lambda version: 99),
        cut("python", 1, by=lambda words: words[:-8]),
        cut("python", 2, by=lambda position: -1),
        cut("numpy", 0, by=lambda words: words[:-8]),
        cut("numpy", 0, by=lambda words: "x" + words[1:]),
        cut("numpy", 0, by=lambda words: None),
        cut("paddle", by=lambda devices: {}),
        cut("paddle", "cpu", by=lambda states: []),
        cut("paddle", "cpu", by=lambda states: states * 2),
        cut("paddle", "cpu", 0, by=lambda state: state[:3]),
        cut("paddle", "cpu", 0, 1, by=lambda number: 2**64),
        cut("paddle", "cpu", 0, 1, by=lambda number: "5"),
        cut("paddle", "cpu", 0, 3, by=lambda engine: engine[:-300]),
        cut("paddle", "cpu", 0, 3, by=lambda engine: ""),
        cut("paddle", "cpu", 0, 3, by=lambda engine: [49, 50]),
        cut("paddle", "cpu", 0, 3, by=lambda engine: "9" * 20 + engine[engine.index(" ") :]),  # over 64 bits
    ],
)
def test_what_was_never_captured_is_refused_and_changes_nothing(damage: Callable[[Any], None]) -> None:
    seed(5)
    state = random_state.capture()
    damaged = copy.deepcopy(state)
    damage(damaged)
    draws()
    here = random_state.capture()
    with pytest.raises(TrainingError, match="random generators cannot be restored"):
        random_state.restore(damaged)
    assert random_state.capture() == here != state


def test_another_kind_of_global_generator_is_refused() -> None:
    ours = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        with pytest.raises(TrainingError, match="expected MT19937, found PCG64"):
            random_state.capture()
    finally:
        np.random.set_bit_generator(ours)


def test_gpus_that_are_not_here_are_passed_over() -> None:
    state = random_state.capture()
    state["paddle"]["gpu"] = state["paddle"]["cpu"] * 99
    expected = draws()
    random_state.restore(state)
    assert draws() == expected


@pytest.mark.gpu
def test_a_gpu_draws_the_same_after_a_restore() -> None:
    paddle.set_device("gpu")
    paddle.seed(2**63 + 1)
    paddle.rand([5])
    state = through_json(random_state.capture())
    expected = paddle.rand([100]).numpy()
    random_state.restore(state)
    np.testing.assert_array_equal(paddle.rand([100]).numpy(), expected)
