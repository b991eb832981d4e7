"""The charts of a history: what is drawn, where, and that the picture needs nothing around it."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.finetune import charts

SVG = "{http://www.w3.org/2000/svg}"


def history(*names: str, epochs: int = 4) -> list[dict[str, Any]]:
    """Give epochs in which each metric has a curve of its own."""
    return [
        {
            "epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 1.2 / epoch, "valid_confusion": [[1, 2]],
            **{f"valid_{name}": epoch / (9 + place) for place, name in enumerate(names)}, "seconds": 1.0,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def drawn(text: str) -> tuple[list[str], int]:
    """Give what is written in a picture, and how many lines its charts have without those of the legend."""
    root = ElementTree.fromstring(text)
    words = [element.text or "" for element in root.iter(f"{SVG}text")]
    return words, sum(" " in line.attrib["points"].strip() for line in _lines(root)) - len(_samples(root))


def _lines(root: ElementTree.Element) -> list[ElementTree.Element]:
    return list(root.iter(f"{SVG}polyline"))


def _samples(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [line for line in _lines(root) if line.attrib["points"] == "0,6 24,6"]


@pytest.mark.parametrize(
    ("names", "charts_drawn", "lines"),
    [
        ([], ["Loss"], 2),
        (["accuracy", "f1_macro"], ["Loss", "Validation metrics"], 4),
        (["a", "b", "c", "d", "e", "f"], ["Loss", "Validation metrics", "Validation metrics"], 8),
    ],
)
def test_every_number_of_the_history_is_a_line_with_its_name(
    names: list[str], charts_drawn: list[str], lines: int
) -> None:
    words, found = drawn(charts.picture(history(*names), best=2))
    assert found == lines
    assert [word for word in words if word in {"Loss", "Validation metrics"}] == charts_drawn
    assert {"train loss", "valid loss", *(name.replace("_", " ") for name in names)} <= set(words)
    assert words.count("best: epoch 2") == len(charts_drawn)


def test_without_a_choice_no_epoch_is_marked_as_the_best() -> None:
    words, _ = drawn(charts.picture(history(), best=None))
    assert not [word for word in words if "best" in word]


def test_a_picture_needs_no_page_around_it() -> None:
    text = charts.picture(history("accuracy"), best=1)
    assert "var(" not in text
    used = set(re.findall(r'class="([^"]+)"', text))
    styled = set(re.findall(r"\.([a-z]\w*)", ElementTree.fromstring(text).findtext(f"{SVG}style") or ""))
    assert {name for each in used for name in each.split()} <= styled | {"grid", "best"}


@settings(max_examples=50)
@given(st.text(), st.integers(1, 3), st.floats(allow_nan=True, allow_infinity=True))
def test_any_name_and_any_number_give_a_picture_that_can_be_read(
    name: str, epochs: int, value: float
) -> None:
    rows = [{**row, f"valid_{name}": value} for row in history(epochs=epochs)]
    root = ElementTree.fromstring(charts.picture(rows, best=1))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for cell in root.findall(f"{SVG}g"):
        left, top = map(float, re.findall(r"[\d.]+", cell.attrib["transform"]))
        assert left + 360 <= width
        assert top + 236 <= height


NOTES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
NAMES = st.sampled_from(["epoch", "seconds", "valid_loss", "learning_rate", "a", "a_b", "a b"]) | st.text()


@settings(max_examples=200)
@given(st.lists(st.dictionaries(NAMES, NOTES, max_size=8), max_size=4), st.none() | st.integers(0, 4))
def test_whatever_json_holds_in_its_rows_a_history_has_a_picture(
    rows: list[dict[str, Any]], best: int | None
) -> None:
    ElementTree.fromstring(charts.picture(rows, best=best))


@pytest.mark.parametrize(
    "values",
    [
        (1.0, 10**400),  # which JSON holds and a float does not
        (0.0, 5e-324),
        (1e-320, 5e-320),
        (-1e-310, 1e-310),
        (1.0, 1 + 2**-52),
        (np.longdouble(1), np.float16(2)),
        (1.0, np.complex64(1)),
    ],
    ids=str,
)
def test_numbers_at_the_ends_of_what_there_is_give_a_picture(values: tuple[Any, Any]) -> None:
    rows = [{"epoch": n, "mine": value, "other": 10.0 * n} for n, value in enumerate(values, 1)]
    words, _ = drawn(charts.picture(rows, best=None))
    assert {"mine", "other"} <= set(words)
    assert not [word for word in words if "nan" in word or "inf" in word]


def test_metrics_that_read_the_same_are_told_apart() -> None:
    rows = [
        {"epoch": n, "valid_my_score": 0.1 * n, "valid_my score": 0.2 * n, "valid_f1_macro": 0.3}
        for n in (1, 2)
    ]
    words, lines = drawn(charts.picture(rows, best=None))
    assert lines == 3
    assert {"my_score", "my score", "f1 macro"} <= set(words)


@settings(max_examples=100)
@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=6), st.integers(0, 5))
def test_curves_stay_inside_their_frame(values: list[float], first: int) -> None:
    points = [(float(first + n), value) for n, value in enumerate(values)]
    figure = charts.figure("Loss", {"a": points}, span=(first, first + len(values) - 1), best=first)
    line = list(figure.iter("polyline"))[-1]  # the first is the sample in the legend
    places = [tuple(map(float, spot.split(","))) for spot in line.attrib["points"].split(" ")]
    assert len(places) == len(values)
    assert all(52 <= x <= 346 and 20 <= y <= 186 for x, y in places), places
    order = np.argsort(values, kind="stable")
    heights = np.array([y for _, y in places])[order]
    assert (np.diff(heights) <= 0.11).all(), "larger is higher"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.53, 0.99, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.0, 5e-4, [0, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4]),
        (-3.0, 40.0, [-10, 0, 10, 20, 30, 40]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts._ticks(low, high) == expected
