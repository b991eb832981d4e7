"""The learning-rate schedules: their shape, paddle's own as a reference, what is refused, and the picture."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle.optimizer import lr
from PIL import Image

from hub.errors import MissingDependencyError, UsageError
from hub.finetune.schedules import (
    SCHEDULES,
    by_name,
    constant,
    one_cycle,
    plot,
    polynomial,
    warmup_cosine,
    warmup_linear,
)  # fmt: skip

NAMES = sorted(SCHEDULES)
FINAL = {"cosine": 0.01, "linear": 0.0, "one_cycle": 0.0001, "polynomial": 0.0, "constant": 1.0}
STEPS = 200
EPSILON = 1e-12  # rounding of a few operations on numbers up to 1
warmups = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 0.99])
positions = st.floats(0, 1)


@pytest.mark.parametrize("name", NAMES)
@given(warmup=warmups, position=positions)
def test_multipliers_are_above_0_within_a_run_and_at_most_1(
    name: str, warmup: float, position: float
) -> None:
    value = by_name(name, warmup=warmup)(position)
    assert 0 <= value <= 1 + EPSILON
    if position < 0.99:
        assert value > 0


@pytest.mark.parametrize("name", NAMES)
@given(warmup=warmups)
def test_multipliers_rise_to_1_at_the_end_of_the_warm_up_and_fall_from_there(
    name: str, warmup: float
) -> None:
    schedule = by_name(name, warmup=warmup)
    before = [schedule(warmup * step / STEPS) for step in range(STEPS + 1)]
    after = [schedule(warmup + (1 - warmup) * step / STEPS) for step in range(STEPS + 1)]
    assert before[-1] == after[0] == pytest.approx(1)
    assert all(a <= b + EPSILON for a, b in zip(before, before[1:], strict=False))
    assert all(a >= b - EPSILON for a, b in zip(after, after[1:], strict=False))
    assert after[-1] == pytest.approx(FINAL[name], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(warmup=warmups.filter(bool), position=positions)
def test_multipliers_do_not_jump(name: str, warmup: float, position: float) -> None:
    schedule, step = by_name(name, warmup=warmup), 1e-9
    steepest = math.pi / min(
        warmup, 1 - warmup
    )  # of a half cosine: pi / 2 over the shorter part; a margin of 2
    if name == "polynomial" and position > 0.999:
        steepest *= (1 / step) ** 0.1  # (1 - x) ** 0.9 has an infinite slope at the end
    assert abs(schedule(min(1.0, position + step)) - schedule(position)) <= steepest * step + EPSILON


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", range(1, 23))
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
def test_every_step_of_the_shortest_runs_learns(name: str, total: int, warmup: float) -> None:
    schedule = by_name(name, warmup=warmup)
    values = [schedule(step / total) for step in range(total)]
    assert all(0 < value <= 1 + EPSILON for value in values)
    assert values[0] >= 0.04  # of a run of one step it is all


@pytest.mark.parametrize("name", NAMES)
def test_beyond_the_end_the_last_multiplier_stays(name: str) -> None:
    schedule = by_name(name)
    assert schedule(1.5) == schedule(1.0)


@pytest.mark.parametrize(
    ("function", "arguments", "position", "value"),
    [
        (warmup_cosine, {}, 0.0, 0.0),
        (warmup_cosine, {}, 0.05, 0.5),
        (warmup_cosine, {}, 0.55, 0.505),
        (warmup_linear, {}, 0.05, 0.5),
        (warmup_linear, {}, 0.55, 0.5),
        (warmup_linear, {"final": 1 / 32}, 1.0, 1 / 32),
        (one_cycle, {}, 0.0, 0.04),
        (one_cycle, {}, 0.15, 0.52),
        (one_cycle, {"warmup": 0.5, "start": 0.1, "final": 0.2}, 0.75, 0.6),
        (polynomial, {"power": 2.0}, 0.55, 0.25),
        (polynomial, {"power": 0.9, "warmup": 0.0}, 0.5, 0.5**0.9),
        (constant, {}, 0.05, 0.5),
        (constant, {}, 0.7, 1.0),
        (constant, {"warmup": 0.0}, 0.0, 1.0),
    ],
)
def test_values_that_follow_from_the_formula(
    function: Any, arguments: dict[str, float], position: float, value: float
) -> None:
    assert function(position, **arguments) == pytest.approx(value)


def paddles_own(name: str) -> tuple[Any, dict[str, float]]:
    """Give paddle's scheduler over 100 steps with a warm-up of 20, and the arguments that make ours the same."""
    if name == "one_cycle":
        # its phases end at step phase_pct * total_steps - 1 and at the last of total_steps: 20 and 100
        own = lr.OneCycleLR(
            1.0, total_steps=101, divide_factor=10, end_learning_rate=0.001, phase_pct=21 / 101
        )
        return own, {"warmup": 0.2, "start": 0.1, "final": 0.001}
    after: Any = {
        "cosine": lambda: lr.CosineAnnealingDecay(1.0, T_max=80, eta_min=0.05),
        "linear": lambda: lr.PolynomialDecay(1.0, decay_steps=80, end_lr=0.05, power=1.0),
        "polynomial": lambda: lr.PolynomialDecay(1.0, decay_steps=80, end_lr=0.05, power=3.0),
        "constant": lambda: 1.0,
    }[name]()
    own = lr.LinearWarmup(after, warmup_steps=20, start_lr=0.0, end_lr=1.0)
    arguments = {} if name == "constant" else {"final": 0.05}
    return own, {"warmup": 0.2, **arguments, **({"power": 3.0} if name == "polynomial" else {})}


@pytest.mark.parametrize("name", NAMES)
def test_schedules_are_those_of_paddle(name: str) -> None:
    own, arguments = paddles_own(name)
    for step in range(100):
        assert SCHEDULES[name](step / 100, **arguments) == pytest.approx(own.get_lr(), abs=1e-9), step
        own.step()


@pytest.mark.parametrize("name", NAMES)
@given(position=positions)
def test_by_name_changes_nothing_after_the_first_tenth_of_the_warm_up(name: str, position: float) -> None:
    if position >= 0.05:
        assert by_name(name, warmup=0.5)(position) == SCHEDULES[name](position, warmup=0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "words", "hint"),
    [
        ("cosin", {}, "schedule: expected one of constant, cosine, linear", "did you mean 'cosine'?"),
        ("linear", {"warm_up": 0.1}, "argument of schedule 'linear'", "did you mean 'warmup'?"),
        ("constant", {"final": 0.1}, "expected one of warmup, found 'final'", ""),
        ("cosine", {"position": 0.1}, "found 'position'", ""),
        ("cosine", {"warmup": 1.0}, "warmup of schedule 'cosine': expected a number from 0 to below 1", ""),
        ("cosine", {"warmup": -0.1}, "found -0.1", ""),
        ("cosine", {"warmup": True}, "found True", ""),
        ("cosine", {"warmup": math.nan}, "found nan", ""),
        (
            "cosine",
            {"final": "0"},
            "final of schedule 'cosine': expected a number from 0 to 1, found '0'",
            "",
        ),
        ("polynomial", {"power": 11}, "power of schedule 'polynomial': expected a number from 0 to 10", ""),
    ],
)
def test_what_names_no_schedule_is_refused(
    name: str, arguments: dict[str, Any], words: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        by_name(name, **arguments)
    assert hint in caught.value.hint


def colours(path: Path) -> int:
    """Give how many colours a picture has that are not grey."""
    with Image.open(path) as picture:
        pixels = picture.convert("RGB").getcolors(maxcolors=1 << 20)
    assert pixels is not None
    return sum(1 for _, (red, green, blue) in pixels if max(red, green, blue) - min(red, green, blue) > 90)


def test_the_picture_shows_the_schedules_that_were_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(tmp_path / "all.png")
    plot(tmp_path / "one.png", names=["linear"], warmup=0.2)
    assert colours(tmp_path / "all.png") > colours(tmp_path / "one.png") > 0


def test_a_picture_of_no_schedule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found 'lineal'"):
        plot(tmp_path / "none.png", names=["lineal"])
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as caught:
        plot(tmp_path / "none.png")
    assert caught.value.hint.startswith("pip install 'matplotlib<")
