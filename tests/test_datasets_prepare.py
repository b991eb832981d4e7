"""What `finetune` and `evaluate` get: loaded, checked, and parted where a part is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hub.datasets import Prepared, prepare, prepare_evaluation
from hub.errors import DataError

PIXELS = np.zeros((3, 4), np.uint8)
DATA = [(PIXELS, name) for name in "ab" for _ in range(10)]


def sizes(parts: Prepared) -> tuple[int, int | None, int | None]:
    valid, test = (None if part is None else len(part) for part in (parts.valid, parts.test))
    return len(parts.train), valid, test


def write_images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3)).save(root / name)
    return root


def test_a_fifth_is_held_out_unless_there_is_validation_data_or_none_is_wanted() -> None:
    assert sizes(prepare(DATA)) == (16, 4, None)
    assert "no validation data was given: 4 of 20 samples were held out" in prepare(DATA).describe()
    assert sizes(prepare(DATA, valid=False)) == (20, None, None)
    assert sizes(prepare(DATA, valid=DATA[:2], test=DATA[:3])) == (20, 2, 3)


def test_the_parts_of_a_source_are_taken_and_can_be_replaced(tmp_path: Path) -> None:
    names = ["train/a/1.png", "train/b/1.png", "valid/a/2.png", "test/a/3.png", "test/b/4.png"]
    data = write_images(tmp_path / "d", *names)
    assert sizes(prepare(data)) == (2, 1, 2)
    assert sizes(prepare(data, valid=False, test=False)) == (2, None, None)
    other = write_images(
        tmp_path / "other", "train/a/1.png", "train/z/1.png", "valid/b/1.png", "valid/b/2.png"
    )
    assert sizes(prepare(data, valid=other)) == (2, 2, 2)


def test_problems_of_all_parts_are_raised_together_or_skipped_with_a_note() -> None:
    data, valid = [*DATA, (PIXELS, None)], [(PIXELS, "a"), (PIXELS, "c")]
    with pytest.raises(DataError) as caught:
        prepare(data, valid=valid)
    assert "train, item 20: bad label 'None'" in str(caught.value)
    assert "valid, item 1: unknown label 'c' (known: a, b)" in str(caught.value)
    parts = prepare(data, valid=valid, on_bad="skip")
    assert sizes(parts) == (20, 1, None)
    assert parts.notes == ("left out: 1 × bad label, 1 × unknown label",)


def test_evaluation_takes_the_test_part_and_the_classes_of_the_module(tmp_path: Path) -> None:
    data = write_images(tmp_path, "train/a/1.png", "train/b/1.png", "valid/a/2.png")
    part = prepare_evaluation(data, labels=["b", "a"], multi_label=False)
    assert [sample.input for sample in part] == [data / "valid" / "a" / "2.png"]
    assert part.targets().tolist() == [1]
    with pytest.raises(DataError, match=r"item 0: unknown label 'a' \(known: x, y\)"):
        prepare_evaluation(DATA, labels=["x", "y"], multi_label=False)


def test_a_test_list_without_rows_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "2.png")
    for role, text in (("train", "1.png 0\n2.png 1\n"), ("test", "")):
        (tmp_path / f"{role}_list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"test_list\.txt: no samples"):
        prepare_evaluation(tmp_path, labels=["0", "1"], multi_label=False)
