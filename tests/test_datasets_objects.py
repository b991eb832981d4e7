"""Any object as a dataset, class lists, and what every dataset can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image

from hub.datasets import Dataset, Origin, Sample, Splits, load
from hub.errors import DataError, InputError, UsageError


def write_images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), "red").save(root / name)
    return root


def problems(dataset: Dataset | None) -> list[str]:
    assert dataset is not None
    return [str(problem) for problem in dataset.problems]


# ---- objects ----


class Counting:
    """A dataset that counts how often it is asked."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items, self.asked = items, 0
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        self.asked += 1
        return self.items[i]


PIXELS = np.zeros((3, 4, 3), np.uint8)
PICTURE = Image.new("L", (4, 3))
OBJECTS: dict[str, tuple[Any, tuple[str, ...], list[int | tuple[int, ...]]]] = {
    "names": ([(PIXELS, "dog"), (PIXELS, "cat")], ("cat", "dog"), [1, 0]),
    "numbers": ([(PIXELS, 12), (PIXELS, 3)], ("3", "12"), [1, 0]),
    "numpy": (
        [(PIXELS, np.int64(1)), (PIXELS, np.array([0])), (PIXELS, np.str_("1"))],
        ("0", "1"),
        [1, 0, 1],
    ),
    "dictionaries": ([{"image": PICTURE, "label": "b"}, {"img": PICTURE, "class": "a"}], ("a", "b"), [1, 0]),
    "samples": ([Sample(PICTURE, 1), Sample(PICTURE, 0)], ("0", "1"), [1, 0]),
    "own order": (Counting([(PIXELS, 0), (PIXELS, "a")], classes=["z", "a"]), ("z", "a"), [0, 1]),
    "paddlehub": (Counting([(PIXELS, 1), (PIXELS, 0)], label_list=["z", "a"]), ("z", "a"), [1, 0]),
    "labels of samples are no names": (
        Counting([(PIXELS, 1), (PIXELS, 1)], labels=["1", "1"]),
        ("1",),
        [0, 0],
    ),
    "several": ([(PIXELS, ["b", "a"]), (PIXELS, "b")], ("a", "b"), [(0, 1), (1,)]),
    "several numbers": ([(PIXELS, np.array([2, 0])), (PIXELS, [])], ("0", "2"), [(0, 1), ()]),
    "truth": ([(PIXELS, np.bool_(True)), (PIXELS, False)], ("false", "true"), [1, 0]),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_with_len_and_getitem(name: str) -> None:
    source, labels, numbers = OBJECTS[name]
    train = load(source).train
    assert problems(train) == []
    assert train.labels == labels
    assert [sample.label for sample in train] == numbers


def test_numbers_count_the_names_of_a_hugging_face_set_of_pictures(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ape"])}
    )
    made = datasets.Dataset.from_dict({"image": [PICTURE] * 3, "label": [0, 1, 0]}, features=features)
    train, _, test = load(datasets.DatasetDict(train=made, test=made))
    assert train.labels == ("zebra", "ape")
    assert test is not None
    assert test.targets().tolist() == [0, 1, 0]
    evaluated = load(made, labels=["ape", "zebra"]).train
    assert evaluated.targets().tolist() == [1, 0, 1], "by name, in the module's order"
    part = paddle.io.Subset(made, [1, 2])
    assert load(part, labels=["ape", "zebra"]).train.targets().tolist() == [0, 1]


@pytest.mark.parametrize(
    "part",
    [
        lambda whole: paddle.io.Subset(whole, [0, 1]),
        lambda whole: paddle.io.random_split(whole, [2, 0])[0],
        lambda whole: paddle.io.Subset(paddle.io.Subset(whole, [0, 1]), [0, 1]),
        lambda whole: paddle.io.ConcatDataset(
            [paddle.io.Subset(whole, [0]), Counting([(PIXELS, 1)], classes=["z", "a"])]
        ),
    ],
)
def test_numbers_count_the_names_of_what_an_object_is_a_part_of(part: Any) -> None:
    whole = Counting([(PIXELS, 0), (PIXELS, 1)], classes=["z", "a"])
    source = part(whole)
    chosen = load(source, labels=["a", "z"]).train
    assert problems(chosen) == []
    assert [chosen.labels[n] for n in chosen.targets()] == ["za"[label] for _, label in source]


def test_a_chain_of_sets_with_other_names_lists_none() -> None:
    parts = [Counting([(PIXELS, n)], classes=names) for n, names in enumerate((["z", "a"], ["a", "z"]))]
    assert load(paddle.io.ConcatDataset(parts)).train.labels == ("0", "1")


def test_a_wrapper_that_gives_labels_of_its_own_has_not_the_names_of_what_it_wraps() -> None:
    class Parity:
        def __init__(self, dataset: Any, indices: list[int]) -> None:
            self.dataset, self.indices = dataset, indices

        def __len__(self) -> int:
            return len(self.indices)

        def __getitem__(self, i: int) -> Any:
            picture, label = self.dataset[self.indices[i]]
            return picture, "odd" if label % 2 else "even"

    class Derived(paddle.io.Subset):  # type: ignore[misc]
        __getitem__ = Parity.__getitem__

    class Kept(paddle.io.Subset):  # type: ignore[misc]
        more = 1

    whole = Counting([(PIXELS, 0), (PIXELS, 1)], classes=["dog", "cat"])
    for wrapper in (Parity, Derived):
        assert load(wrapper(whole, [0, 1])).train.check().splits[0].labels == ("even", "odd")
    assert load(Kept(whole, [0, 1])).train.labels == ("dog", "cat")
    assert load(Parity(whole, [0, 1])).train.taken == ""


def test_names_inside_a_wrapper_that_gives_numbers_are_left_with_a_note() -> None:
    class Part:
        def __init__(self, dataset: Any) -> None:
            self.dataset = dataset

        def __len__(self) -> int:
            return len(self.dataset)

        def __getitem__(self, i: int) -> Any:
            return self.dataset[i]

    train = load(Part(Counting([(PIXELS, 0), (PIXELS, 1)], classes=["dog", "cat"]))).train
    assert train.labels == ("0", "1")
    assert "the names in the Counting inside (dog, cat) are not taken" in train.taken


def made_by_a_function(names: dict[str, str], function: Any) -> Any:
    """A `datasets.Dataset` of a picture that is there and one that is not, whose items a function makes."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {names["image"]: datasets.Image(), names["label"]: datasets.ClassLabel(names=["zebra", "ape"])}
    )
    cells = {names["image"]: [PICTURE, {"path": "missing.png", "bytes": None}], names["label"]: [0, 1]}
    return datasets.Dataset.from_dict(cells, features=features).with_transform(function)


def test_items_that_a_function_makes_are_read_one_by_one_and_once() -> None:
    calls = []

    def transform(batch: Any) -> Any:
        calls.append(len(batch["image"]))
        return {**batch, "image": [picture.convert("L") for picture in batch["image"]]}

    train = load(made_by_a_function({"image": "image", "label": "label"}, transform)).train
    assert (len(train), train.labels, train.targets().tolist()) == (1, ("zebra", "ape"), [0])
    assert "item 1: unreadable" in problems(train)[0]
    assert calls == [1]


@pytest.mark.parametrize("named", [False, True])
def test_columns_may_be_those_that_a_function_makes(named: bool) -> None:
    def transform(batch: Any) -> Any:
        return {"image": [PIXELS] * len(batch["y"]), "label": [1 - y for y in batch["y"]]}

    made = made_by_a_function({"image": "img", "label": "y"}, transform).select([0])
    options = {"path_column": "img", "label_column": "y"} if named else {}
    if named:
        made = made.with_format(None)
    train = load(made, **options).train
    assert (len(train), train.labels) == (1, ("zebra", "ape") if named else ("1",))


def test_a_class_with_column_names_gives_its_items_itself() -> None:
    class Wrapper:
        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def __len__(self) -> int:
            return len(self.whole)

        def __getattr__(self, name: str) -> Any:
            if name == "whole":
                raise AttributeError(name)
            return getattr(self.whole, name)

        def __getitem__(self, i: int) -> Any:
            return PIXELS, ["ape", "zebra"][i]

    whole = made_by_a_function({"image": "image", "label": "label"}, lambda batch: batch)

    class Derived(type(whole)):  # type: ignore[misc]
        def __getitem__(self, i: Any) -> Any:
            return Wrapper.__getitem__(self, i) if isinstance(i, int) else super().__getitem__(i)

    class Own:
        column_names = ("image", "label")
        __len__ = Wrapper.__len__
        __getitem__ = Wrapper.__getitem__
        whole = (1, 2)

    derived = Derived(whole.with_format(None).data, info=whole.info)
    for source in (Wrapper(whole), derived, Own()):
        train = load(source).train
        assert problems(train) == []
        assert [train.labels[sample.label] for sample in train] == ["ape", "zebra"]


@pytest.mark.parametrize("kind", ["pictures", "sounds"])
def test_rows_of_a_pandas_frame_are_items(tmp_path: Path, kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"file": [str(tmp_path / "a.x"), tmp_path / "b.x", None, "d.x"], "label": ["p", "q", "p", None]},
        index=[7, 7, 8, 9],
    )
    train = load(frame, kind).train
    assert [(each.input, train.labels[each.label]) for each in train] == [
        (tmp_path / "a.x", "p"), (tmp_path / "b.x", "q"),
    ]  # fmt: skip
    assert [line.partition(" (")[0] for line in problems(train)] == [
        "item 2: bad item", "item 3: bad label 'None'",
    ]  # fmt: skip
    assert repr(train).startswith("<Dataset DataFrame: 2 samples")
    [found] = problems(load(frame.rename(columns={"label": "what"}), kind).train)
    assert found.startswith("DataFrame: missing column 'label' (expected one named label")
    assert "found file, what" in found


def test_frames_of_pictures_are_read_like_tables() -> None:
    cells = {"image": ["a.png", PIXELS], "label": ["['a', 'b']", "['b']"], "category": ["x|y", "z"]}
    hugging_face = pytest.importorskip("datasets").Dataset
    for frame in (
        pytest.importorskip("pandas").DataFrame(cells),
        hugging_face.from_dict({**cells, "image": ["a.png", "b.png"]}),
    ):
        train = load(frame).train
        assert (train.multi_label, train.labels) == (True, ("a", "b"))
        assert train.taken == "path: 'image', label: 'label'; likely columns besides: 'category'"
        named = load(frame, label_column="category", multi_label=True, label_separator="|").train
        assert (named.labels, named.taken) == (("x", "y", "z"), "")
        assert named[0].input == Path("a.png")
        [found] = problems(load(frame, path_column="picture").train)
        assert f"{type(frame).__name__}: missing column 'picture' (found image, label, category" in found
    with pytest.raises(UsageError, match=r"only tables .* have columns, found list"):
        load([("a.png", "x")], label_column="category")


def test_pictures_in_a_pandas_frame_are_inputs() -> None:
    frame = pytest.importorskip("pandas").DataFrame({"image": [PICTURE, PIXELS], "label": [1, 0]})
    train = load(frame).train
    assert train[0].input is PICTURE
    assert train[1].input is PIXELS
    assert train.targets().tolist() == [1, 0]


def test_inputs_of_objects_come_as_they_are() -> None:
    train = load([("a/b.png", "x"), (Path("c.png"), "x"), (PICTURE, "y"), (PIXELS, "y")]).train
    assert train[0].input == Path("a/b.png")
    assert train[1].input == Path("c.png")
    assert train[2].input is PICTURE
    assert train[3].input is PIXELS
    assert [str(train.origin(i)) for i in (0, 3)] == ["item 0", "item 3"]


def test_an_object_is_read_once_for_its_labels_and_again_only_for_its_images() -> None:
    source = Counting([(PIXELS, "a"), (PIXELS, "b"), (PIXELS, "a")])
    train = load(source).train
    assert source.asked == 3
    assert (train.targets().tolist(), train.counts(), len(train)) == ([0, 1, 0], {"a": 2, "b": 1}, 3)
    train.describe()
    assert source.asked == 3
    assert train.select([2])[0].input is PIXELS
    assert source.asked == 4


def test_an_object_that_fails_says_on_which_item() -> None:
    with pytest.raises(DataError, match="item 0 of dict: KeyError: 0") as caught:
        load({"a": 1})
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (OSError("the disk is gone"), "item 1: the disk is gone"),
        (None, "item 1 of Fails, read again: expected .*, found NoneType"),
        (KeyError("x"), "item 1 of Fails: KeyError: 'x'"),
    ],
)
def test_an_object_that_fails_when_it_is_read_again_says_on_which_item(later: Any, message: str) -> None:
    class Fails(list[Any]):
        broken = False

        def __getitem__(self, i: Any) -> Any:
            if self.broken and isinstance(later, Exception):
                raise later
            return None if self.broken else super().__getitem__(i)

    source = Fails([(PIXELS, "a"), (PIXELS, "b")])
    train = load(source).train
    source.broken = True
    with pytest.raises((DataError, InputError), match=message):
        train[1]


# ---- class lists ----


def test_a_given_class_list_is_kept_in_its_order(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    train = load(tmp_path, labels=["c", "b", "a"]).train
    assert train.labels == ("c", "b", "a")
    assert train.targets().tolist() == [2, 1]
    assert train.counts() == {"c": 0, "b": 1, "a": 1}


def test_numbers_count_the_given_names_unless_these_are_numbers_too() -> None:
    data = [(PIXELS, 1), (PIXELS, 2)]
    assert load(data, labels=["x", "y", "z"]).train.targets().tolist() == [1, 2]
    assert load(data, labels=["1", "2"]).train.targets().tolist() == [0, 1]


def test_loaded_data_can_be_loaded_again_with_another_class_list() -> None:
    splits = load([(PIXELS, "a"), (PIXELS, "b"), (PIXELS, "c")])
    assert load(splits) == splits
    assert load(splits.train) == Splits(splits.train)
    again = load(splits.train.select([2, 1]), labels=["b", "a"]).train
    assert again.targets().tolist() == [0]
    assert problems(again) == ["item 2: unknown label 'c' (known: b, a)"]
    assert load(splits, multi_label=True).train.targets().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_numbers_go_on_counting_the_list_that_they_were_given() -> None:
    splits = load([(PIXELS, 0), (PIXELS, 1)], labels=["cat", "dog"])
    again = load(splits, labels=["dog", "cat"]).train
    assert [again.labels[target] for target in again.targets()] == ["cat", "dog"]


# ---- what a dataset can do ----


def test_select_keeps_labels_and_takes_indices_or_a_mask() -> None:
    train = load([(PIXELS, name) for name in "abcab"]).train
    part = train.select([3, 0])
    assert (len(part), part.labels, part.targets().tolist()) == (2, ("a", "b", "c"), [0, 0])
    assert str(part[0].origin) == "item 3"
    assert part.select(np.array([1]))[0].origin == Origin("", 0)
    assert train.select(train.targets() == 1).targets().tolist() == [1, 1]
    assert len(train.select([])) == 0
    assert train[-1].label == 1
    assert repr(part) == "<Dataset list: 2 samples, 3 classes>"
    with pytest.raises(IndexError):
        train[5]


def test_targets_cannot_be_changed_from_outside() -> None:
    train = load([(PIXELS, "a"), (PIXELS, "b")]).train
    train.targets()[:] = 0
    assert train.targets().tolist() == [0, 1]


def test_describe_lines_up_and_names_every_split(tmp_path: Path) -> None:
    write_images(tmp_path, "train/玫瑰/1.png", "train/玫瑰/2.png", "train/tulip/1.png", "test/tulip/3.png")
    splits = load(tmp_path)
    assert splits.describe().splitlines() == [
        f"{tmp_path / 'train'}: 4 samples, 2 classes",
        "  class  train  test",
        "  tulip      1     1",
        "  玫瑰       2     0",
        "  all        3     1",
    ]
    assert splits.train.describe().splitlines()[1:] == [
        "  class  samples",
        "  tulip        1",
        "  玫瑰         2",
    ]


def test_describe_is_short_for_many_classes_and_shows_the_extremes() -> None:
    train = load([(PIXELS, f"class{label:03d}") for label in range(200) for _ in range(1 + label % 7)]).train
    lines = train.describe().splitlines()
    assert len(lines) == 18
    assert lines[2] == "  class006            7"
    assert lines[12] == "  … 185 more …"
    assert lines[-1].split() == ["class196", "1"]


@pytest.mark.parametrize("source", [iter([]), 3, None, Counting])
def test_what_is_no_dataset_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match="expected a path or an object with __len__ and __getitem__, found"):
        load(source)


def test_options_for_tables_are_refused_for_objects() -> None:
    with pytest.raises(UsageError, match=r"path_column: only tables .* have columns, found list"):
        load([(PIXELS, "a")], path_column="image")
