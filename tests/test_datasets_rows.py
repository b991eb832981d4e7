"""Rows, labels and items that cannot be meant, and the words that the user then reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub.datasets import Dataset, Origin, check, load
from hub.errors import DataError, UsageError

PIXELS = np.zeros((3, 4, 3), np.uint8)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def write_images(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number % 256, 0, 0)).save(root / name)
    return root


def said(*datasets: Dataset | None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        check(*datasets, **options)
    return str(caught.value)


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six images, which is the working directory, so that messages have short paths."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path, *(f"{name}.png" for name in "abcdef"))


# ---- tables and lists: every kind of bad row, and the whole line that is said about it ----

HEADER = "path,label\na.png,cat\nb.png,dog\n"  # a bad row behind it is row 4
LIST = "a.png 0\nb.png 1\n"  # and here row 3
BAD_ROWS = [
    ("t.csv", "path,label\na.png,cat\n\nb.png,dog\n", "t.csv, row 3: empty line"),
    ("t.csv", HEADER + " , \n", "t.csv, row 4: empty line"),
    ("t.csv", HEADER + "c.png\n", "t.csv, row 4: too few fields 'c.png' (expected 2: path, label; found 1)"),
    ("t.csv", HEADER + "c,d.png,dog\n", "t.csv, row 4: too many fields 'c,d.png,dog' (expected 2: path, label; f"),
    ("t.csv", HEADER + "c.png,\n", "t.csv, row 4: missing value (column 'label' is empty)"),
    ("t.csv", HEADER + ",dog\n", "t.csv, row 4: missing value (column 'path' is empty)"),
    ("t.csv", HEADER + "c.png,  \n", "t.csv, row 4: missing value (column 'label' is empty)"),
    ("t.csv", HEADER + "no/where.png,dog\n", "t.csv, row 4: missing file 'no/where.png'"),
    ("t.csv", HEADER + "a.png/x.png,dog\n", "t.csv, row 4: missing file 'a.png/x.png'"),
    ("t.csv", HEADER + ".,dog\n", "t.csv, row 4: unreadable '.' (a folder)"),
    ("t.csv", HEADER + "empty.png,dog\n", "t.csv, row 4: empty file 'empty.png' (0 bytes)"),
    ("t.csv", HEADER + "t.csv,dog\n", "t.csv, row 4: unreadable 't.csv' (none of PNG, JPEG, BMP, GIF, TIFF, WEBP)"),
    ("t.csv", HEADER + "a.png,cat\n", "t.csv, row 4: duplicate 'a.png' (the same file as t.csv, row 2)"),
    ("t.csv", HEADER + "./a.png,cat\n", "t.csv, row 4: duplicate 'a.png' (the same file as t.csv, row 2)"),
    ("t.tsv", "path\tlabel\na.png\tcat\nb.png\tdog\nc.png", "t.tsv, row 4: too few fields 'c.png' (expected 2"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n{"path": "b.png"}\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: missing value (column 'label' is empty)"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n{"path": 3, "label": "y"}\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: bad path '3' (column 'path': expected the path of a file as text)"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n{"path": "b.png", "label": 0.5}\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: bad label '0.5' (column 'label': expected a name, a class index, or a list of them"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n{"path": "b.png", "label": "y"\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: bad JSON '{\"path\": \"b.png\", \"label\": \"y\"' (Expecting ',' delimiter"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n["b.png", "y"]\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: bad JSON '[\"b.png\", \"y\"]' (expected an object such as"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n\n{"path": "c.png", "label": "y"}', "t.jsonl, row 2: empty line"),
    ("t.jsonl", '{"path": "a.png", "label": "x"}\n{"path": "b\\u0000", "label": "x"}\n{"path": "c.png", "label": "y"}',
     "t.jsonl, row 2: unreadable 'b\\x00' ("),  # in words that differ by Python
    ("t.txt", "a.png 0\n\nb.png 1", "t.txt, row 2: empty line"),
    ("t.txt", LIST + "c.png\n", "t.txt, row 3: too few fields 'c.png' (expected: path label)"),
    ("t.txt", LIST + "c.png dog\n", "t.txt, row 3: bad label 'dog' (expected the class number"),
    ("t.txt", LIST + "c.png 1.0\n", "t.txt, row 3: bad label '1.0' (expected the class number"),
    ("t.txt", LIST + "c.png -1\n", "t.txt, row 3: label out of range '-1' (class numbers start at 0)"),
    ("t.txt", LIST + "../gone.png 1\n", "t.txt, row 3: missing file '../gone.png'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "line"), BAD_ROWS)
def test_a_bad_row_is_named_and_can_be_skipped(good: Path, name: str, text: str, line: str) -> None:
    write(good / "empty.png", "")
    write(good / name, text)
    train = load(name).train
    message = said(train)
    assert message.startswith(f"the data has a problem:\n  {line}")
    assert message.endswith(
        'hint: mend the data, or go on without the bad samples: on_bad="skip", --on-bad skip'
    )
    checked = check(train, on_bad="skip")
    (kept,) = checked.splits
    assert kept is not None
    assert len(kept) == 2, "every text has two good rows"
    assert kept.problems == ()
    assert sum(checked.counts().values()) == len(checked.dropped) == 1


BAD_TABLES = [
    ("t.csv", "", "t.csv: no samples"),
    ("t.csv", "path,label\n", "t.csv: no samples"),
    ("t.jsonl", "\n\n", "t.jsonl: no samples"),
    ("t.jsonl", "path,label\n", "t.jsonl, row 1: bad JSON 'path,label'"),
    ("t.jsonl", "{" * 300, "bad JSON '" + "{" * 200 + "…' (Expecting"),
    ("t.json", '[{"path": "a.png", "label": 1}, 5]', "t.json, row 2: bad JSON '5' (expected an object such as {"),
    ("t.json", '{"data": [{"path": "a.png"}]}', "found an object with data)"),
    ("t.json", "[" * 300, "t.json: bad JSON (Expecting value"),
    ("t.json", "[" * 100_000, "t.json: bad JSON"),
    ("t.json", "7", "expected a list of objects such as {\"path\": …, \"label\": …}, found int"),
    ("t.txt", "\n", "t.txt: no samples"),
    ("t.csv", "a.png,cat\nb.png,dog\n", 
     "t.csv, row 1: missing column 'path' (expected one named path, image, image_path, image_name …; "
     "found a.png, cat; add a header, or name it: hub.datasets.Table(…, path_column=…), --path-column)"),
    ("t.csv", "path,kind\na.png,cat\n", 
     "missing column 'label' (expected one named label, labels, class, classes …; found path, kind"),
    ("t.jsonl", '{"path": "a.png"}', "t.jsonl, row 1: missing column 'label'"),
    ("t.csv", 'path,label\n"a.png,cat\nb.png,dog\n', "t.csv, row 3: bad table (unexpected end of data)"),
    ("t.csv", "path,label\na.png,cat\nb.png,cat\n", "t.csv: one class only 'cat' (at least two are needed)"),
    ("t.csv", "path,label\na.png,cat\n照片.png,猫\n".encode("gbk"),
     "t.csv, row 3: wrong encoding (expected UTF-8; it looks like GBK; save the file as UTF-8)"),
    ("t.csv", "path,label\na.png,café\n".encode("latin-1"),
     "t.csv, row 2: wrong encoding (expected UTF-8; it looks like cp1252; save the file as UTF-8)"),
    ("t.csv", HEADER.encode("utf-16"), "t.csv, row 1: wrong encoding (expected UTF-8; it looks like UTF-16; save"),
    ("t.tsv", HEADER.encode("utf-16-le"), "t.tsv, row 1: wrong encoding (expected UTF-8; it looks like UTF-16; save"),
    ("t.txt", "a.png 0\n照片.png 1\n".encode("gb18030"), "t.txt, row 2: wrong encoding (expected UTF-8; it looks"),
    ("label_list.txt", "狗\n猫\n".encode("gbk"), "label_list.txt, row 1: wrong encoding"),
    ("label_list.txt", "cat\n\ndog\n", "row 2: bad label list (an empty line shifts every name below it)"),
    ("label_list.txt", "cat\ndog\ncat\n", "label_list.txt, row 3: bad label list 'cat' (the same name is in row 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "line"), BAD_TABLES)
def test_what_is_wrong_with_a_whole_table_is_raised_even_when_skipping(
    good: Path, name: str, content: str | bytes, line: str
) -> None:
    write(good / "train_list.txt", LIST)
    write(good / name, content)
    train = load("train_list.txt" if name == "label_list.txt" else name).train
    for on_bad in ("raise", "skip"):
        message = said(train, on_bad=on_bad)
        assert line in message
        assert 'on_bad="skip" cannot help with' in message


def test_a_label_list_that_is_a_folder(good: Path) -> None:
    write(good / "train_list.txt", LIST)
    (good / "label_list.txt").mkdir()
    assert "\n  label_list.txt: bad table (Is a directory)" in said(load(".").train)


def test_a_given_column_that_is_not_there_is_named_with_the_nearest(good: Path) -> None:
    train = load(
        write(good / "t.csv", "file,kind\na.png,cat\n"), path_column="fil", label_column="species"
    ).train
    message = said(train)
    assert "missing column 'fil' (found file, kind; did you mean 'file'?)" in message
    assert "missing column 'species' (found file, kind)" in message


# ---- labels ----


def test_a_label_that_train_does_not_have_is_a_problem_of_valid(good: Path) -> None:
    write(good / "train.csv", HEADER)
    write(good / "valid.csv", "path,label\nc.png,dgo\nd.png,cat\n")
    train, valid, _ = load(good)
    assert f"{good / 'valid.csv'}, row 2: unknown label 'dgo' (known: cat, dog; did you mean 'dog'?)" in said(
        train, valid
    )
    kept = check(train, valid, on_bad="skip").splits[1]
    assert kept is not None
    assert [sample.input for sample in kept] == [good / "d.png"]


def test_a_class_folder_that_train_does_not_have(tmp_path: Path) -> None:
    write_images(tmp_path, "train/a/1.png", "train/b/1.png", "val/c/1.png", "val/a/2.png")
    train, valid, _ = load(tmp_path)
    assert f"{tmp_path / 'val' / 'c' / '1.png'}: unknown label 'c' (known: a, b)" in said(train, valid)


def test_a_class_number_beyond_label_list_names_the_range(good: Path) -> None:
    write(good / "label_list.txt", "cat\ndog\n")
    write(good / "train_list.txt", LIST + "c.png 2\nd.png -1\n")
    message = said(load(good).train)
    assert "row 3: label out of range '2' (expected 0 to 1: cat, dog)" in message
    assert "row 4: label out of range '-1' (expected 0 to 1: cat, dog)" in message


def test_labels_are_held_against_a_given_class_list() -> None:
    labels = [f"class{number:02d}" for number in range(14)]
    train = load([(PIXELS, "class3"), (PIXELS, 99), (PIXELS, "class04")], labels=labels).train
    message = said(train)
    known = ", ".join(labels[:10]) + " and 4 more"
    assert (
        f"item 0: unknown label 'class3' (known: {known}; did you mean 'class13' or 'class03' or " in message
    )
    assert f"item 1: label out of range '99' (expected 0 to 13: {known})" in message
    assert len(train) == 1, "one class of a given list is enough to evaluate on"


def test_several_labels_where_one_is_expected(good: Path) -> None:
    data = [(PIXELS, ["a"]), (PIXELS, ["a", "b"]), (PIXELS, "b")]
    message = said(load(data, multi_label=False).train)
    assert message.count("\n  item") == 1
    assert "item 1: several labels \"['a', 'b']\" (expected one label; pass multi_label=True" in message


def test_a_vector_of_zeros_and_ones_is_not_taken_for_class_indices() -> None:
    message = said(load([(PIXELS, np.array([0, 1, 0])), (PIXELS, [0, 2]), (PIXELS, [1])]).train)
    assert (
        "item 0: bad label 'array([0, 1, 0])' (expected a name, a class index, or a list of them without repeats)"
        in message
    )


@pytest.mark.parametrize("kind", ["list", "array", "bool", "jsonl"])
def test_a_vector_of_two_zeros_and_ones_is_not_taken_for_two_labels(good: Path, kind: str) -> None:
    if kind == "jsonl":
        lines = ['{"path": "a.png", "label": [0, 1]}', '{"path": "b.png", "label": [1, 0]}']
        source, place = write(good / "t.jsonl", "\n".join(lines)), "t.jsonl, row 1"
    else:
        rows = np.eye(2, dtype=bool if kind == "bool" else int)[[1, 0, 0]]
        source = [(PIXELS, row.tolist() if kind == "list" else row) for row in rows]
        place = "item 0"
    train = load(source).train
    assert not train.multi_label
    message = said(train)
    assert f"{place}: bad label " in message
    assert "it looks like a one-hot vector: pass the class index" in message
    both = load(source, multi_label=True).train
    assert set(both.counts().values()) == {len(source) if isinstance(source, list) else 2}
    assert load([(PIXELS, [0, 1]), (PIXELS, [0])]).train.multi_label, "two classes, and one sample has both"


BREAKS = ["New\nYork", "Rome\x0bCity", "a\x85b", "a\u2028b", "a\rb", "a\x1cb", "caf\udce9"]


@pytest.mark.parametrize("name", BREAKS)
def test_a_name_that_cannot_be_a_line_of_labels_txt_is_refused_with_its_row(good: Path, name: str) -> None:
    data = [(PIXELS, "a"), (PIXELS, name), (PIXELS, "b")]
    train = load(data).train
    assert f"item 1: bad label {name!r} (expected a name in one line of UTF-8" in said(train)
    kept = check(train, on_bad="skip").splits[0]
    assert kept is not None
    assert kept.labels == ("a", "b")
    write_images(good, f"set/{name}/a.png", "set/b/b.png")
    assert f"a.png: bad label {name!r} (expected a name in one line of UTF-8" in said(load("set").train)
    with pytest.raises(UsageError, match="expected every name in one line of UTF-8, found "):
        load([(PIXELS, 0), (PIXELS, 1)], labels=["a", name])


def test_a_listed_name_that_would_be_two_lines_of_labels_txt_is_refused(good: Path) -> None:
    write(good / "label_list.txt", "cat\nd\x0bog\n")
    write(good / "train_list.txt", LIST)
    said_of_list = said(load(".").train, on_bad="skip")
    assert "train_list.txt: bad label list 'd\\x0bog' (expected a name in one line of UTF-8" in said_of_list
    write(good / "t.conll", "EU B\u2028X\nin O\n\nat O\n")
    assert "t.conll, row 1: bad tag 'B\\u2028X' (expected a name in one line of UTF-8" in said(
        load(good / "t.conll", "tagged").train
    )


# ---- objects ----


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (PIXELS, "bad item (expected (image, label) or {\"image\": …, \"label\": …}, found ndarray)"),
        ((PIXELS, "a", "b"), "found tuple of 3)"),
        ({"picture": PIXELS, "label": "a"}, "bad item (expected the keys image and label, found picture, label)"),
        ((b"bytes", "a"), "bad item (expected the image as a path, a PIL image or an array, found bytes)"),
        ((PIXELS, None), "bad label 'None'"),
        ((PIXELS, ""), "bad label"),
        ((PIXELS, [["a"]]), "bad label"),
        ((PIXELS, 1.5), "bad label '1.5'"),
        ((PIXELS, -1), "label out of range '-1' (class numbers start at 0)"),
        ((np.zeros((2, 0)), 1), "unreadable (expected numbers of shape [height, width] or"),
        ((np.zeros(5), 1), "found float64 of shape [5])"),
        ((np.array([["a"]]), 1), "found <U1 of shape [1, 1])"),
        (("gone.png", 1), "missing file 'gone.png'"),
    ],
)  # fmt: skip
def test_a_bad_item_of_an_object_is_named_by_its_index(good: Path, item: Any, line: str) -> None:
    data = [(PIXELS, 1), (PIXELS, 2), item, (PIXELS, 2)]
    train = load(data).train
    message = said(train)
    assert message.startswith("the data has a problem:\n  item 2: ")
    assert line in message
    kept = check(train, on_bad="skip").splits[0]
    assert kept is not None
    assert [kept.origin(i) for i in range(3)] == [Origin("", 0), Origin("", 1), Origin("", 3)]


def test_items_of_two_objects_are_told_apart() -> None:
    train, valid = (load([(PIXELS, 0), (PIXELS, 1), (PIXELS, None)]).train for _ in range(2))
    message = said(train, valid)
    assert "\n  train, item 2: bad label 'None'" in message
    assert "\n  valid, item 2: bad label 'None'" in message


class Fails:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        if i == 1:
            raise OSError(5, "Input/output error")
        return PIXELS, i


def test_an_item_that_cannot_be_read_is_a_problem() -> None:
    assert "item 1: unreadable ([Errno 5] Input/output error)" in said(load(Fails()).train)
