"""Pictures without labels: what is found, how it is split, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hub.datasets import Sample, load
from hub.datasets.unlabelled import load_pictures, prepare_unlabelled, prepare_unlabelled_evaluation
from hub.errors import DataError, InputError, UsageError


class NoColourError(InputError):
    kind = "greyscale"


def probe(sample: Sample) -> None:
    pixels = np.asarray(
        sample.input if not isinstance(sample.input, Path) else Image.open(sample.input).convert("RGB")
    )
    if (pixels == pixels[..., :1]).all():
        raise NoColourError("a greyscale picture")


def write(folder: Path, count: int, *, grey: int = 0, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count + grey):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        picture = Image.fromarray(pixels)
        (picture if number < first + count else picture.convert("L")).save(folder / f"{number:02d}.png")
    return folder


def test_all_folders_in_a_folder_are_gone_through(tmp_path: Path) -> None:
    write(tmp_path / "a", 2)
    write(tmp_path / "b" / "c", 3, first=2)
    write(tmp_path / ".thumbnails", 1)
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    found = load_pictures(tmp_path)
    assert len(found) == 5
    assert found.describe() == f"{tmp_path}: 5 pictures; ignored: 1 .txt file"
    assert found.labels == ()
    assert found.counts() == {}
    assert not found.multi_label
    assert found.targets().tolist() == [0, 1, 2, 3, 4]
    assert found.select([3, 1])[0].label == 3
    with pytest.raises(UsageError, match="expected a dataset with labels, found pictures alone"):
        found.relabel(["a", "b"])


def test_linked_folders_are_gone_through_once(tmp_path: Path) -> None:
    top, far = write(tmp_path / "data" / "a", 2).parent, write(tmp_path / "far", 3)
    (top / "b").symlink_to(far, target_is_directory=True)
    (far / "up").symlink_to(top, target_is_directory=True)
    assert [sample.input.parent.name for sample in load_pictures(top)] == ["a", "a", "b", "b", "b"]


def test_load_gives_the_parts_of_a_folder_without_labels(tmp_path: Path) -> None:
    write(tmp_path / "train" / "sea", 3)
    write(tmp_path / "test", 2, first=3)
    found = load(tmp_path, "unlabelled")
    assert (len(found.train), found.valid, len(found.test or ())) == (3, None, 2)
    assert (
        found.describe() == f"train: {tmp_path / 'train'}: 3 pictures\ntest: {tmp_path / 'test'}: 2 pictures"
    )
    again = prepare_unlabelled(found, valid=False)
    assert [sample.input for sample in again.train] == [sample.input for sample in found.train]


def test_a_fifth_is_held_out_the_same_for_the_same_seed(tmp_path: Path) -> None:
    write(tmp_path, 10)
    first, again, other = (prepare_unlabelled(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.valid)) == (8, 2)  # type: ignore[arg-type]
    assert first.valid.targets().tolist() == again.valid.targets().tolist()  # type: ignore[union-attr]
    assert first.valid.targets().tolist() != other.valid.targets().tolist()  # type: ignore[union-attr]
    every = [*first.train.targets(), *first.valid.targets()]  # type: ignore[union-attr]
    assert sorted(every) == list(range(10))
    assert "2 of 10 pictures were held out" in first.describe()
    assert prepare_unlabelled(tmp_path, valid=False).valid is None


@pytest.mark.parametrize("names", [("train", "val", "test"), ("training", "validation", "testing")])
def test_folders_named_for_the_parts_are_the_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, (name, count) in enumerate(zip(names, (3, 2, 1), strict=True)):
        write(tmp_path / name, count, first=10 * number)
    parts = prepare_unlabelled(tmp_path)
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (3, 2, 1)  # type: ignore[arg-type]
    assert "3 pictures for train, 2 pictures for valid, 1 picture for test" in parts.describe()
    assert len(prepare_unlabelled_evaluation(tmp_path)) == 1


def test_pictures_beside_a_folder_called_train_are_for_training_too(tmp_path: Path) -> None:
    write(tmp_path / "train", 2)
    assert len(load_pictures(write(tmp_path, 1, first=5))) == len(load(tmp_path, "unlabelled").train) == 3


def test_parts_of_which_none_is_for_training_can_be_measured_on(tmp_path: Path) -> None:
    write(tmp_path / "val", 3)
    write(tmp_path / "test", 1, first=10)
    assert len(prepare_unlabelled_evaluation(tmp_path)) == 1
    with pytest.raises(DataError, match="expected a part called train, found valid and test alone"):
        prepare_unlabelled(tmp_path)


def test_greyscale_pictures_are_counted_and_refused_or_left_out(tmp_path: Path) -> None:
    write(tmp_path, 4, grey=2)
    with pytest.raises(DataError, match="of these, 2 greyscale pictures"):
        prepare_unlabelled(tmp_path, probe=probe)
    parts = prepare_unlabelled(tmp_path, probe=probe, on_bad="skip", valid=False)
    assert len(parts.train) == 4
    assert "of these, 2 greyscale pictures" in parts.describe()
    assert len(prepare_unlabelled_evaluation(tmp_path, probe=probe, on_bad="skip")) == 4


def test_lists_hold_paths_pictures_arrays_or_pairs(tmp_path: Path) -> None:
    folder = write(tmp_path, 3)
    array = np.zeros((4, 4, 3), np.uint8)
    given = [folder / "00.png", str(folder / "01.png"), Image.fromarray(array), array, (array, "label")]
    found = load_pictures(given)
    assert [type(found[i].input).__name__ for i in range(2, 5)] == ["Image", "ndarray", "ndarray"]
    assert found[1].input == folder / "01.png"
    names = tmp_path / "names.txt"
    (folder / "01.png").rename(folder / "one of them.png")
    names.write_text("00.png\n\n02.png\tanything\n00.png 3\none of them.png\nnone.png 3", encoding="utf-8")
    listed = load_pictures(names)
    assert [sample.input.name for sample in (listed[i] for i in range(5))] == [  # type: ignore[union-attr]
        "00.png", "02.png", "00.png", "one of them.png", "none.png 3",
    ]  # fmt: skip
    assert str(listed.origin(1)) == f"{names}, row 3"


def test_mappings_and_frames_of_pictures_are_taken(tmp_path: Path) -> None:
    paths = sorted(str(path) for path in write(tmp_path, 5).iterdir())
    frame = pytest.importorskip("pandas").DataFrame({"n": range(5), "image": paths}, index=[7] * 5)
    for source in (frame, [{"n": n, "image": path} for n, path in enumerate(paths)]):
        assert [str(sample.input) for sample in load(source, "unlabelled").train] == paths
        assert len(prepare_unlabelled_evaluation(source)) == 5
    given = {"train": paths[:3], "val": tmp_path, "test": frame[4:]}
    parts = load(given, "unlabelled")
    assert [None if part is None else len(part) for part in parts] == [3, 5, 1]
    found = prepare_unlabelled({"training": paths[:3], "validation": paths[3:]})
    assert (len(found.train), found.valid and len(found.valid)) == (3, 2)
    for wrong, said in (
        (frame[["n"]], "item 0: expected the key image, found n"),
        ({"a": 1}, "item 0 of dict: KeyError: 0"),
        ({"test": paths}, "dict: expected a part called train, found test alone"),
    ):
        with pytest.raises(DataError, match=said):
            load(wrong, "unlabelled")


def test_a_damaged_picture_is_named_and_a_repeat_is_a_repeat(tmp_path: Path) -> None:
    folder = write(tmp_path, 3)
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png: unreadable"):
        prepare_unlabelled(folder)
    paths = [folder / "00.png", folder / "00.png", folder / "01.png"]
    with pytest.raises(DataError, match="duplicate"):
        prepare_unlabelled(paths)
    assert len(prepare_unlabelled(paths, on_bad="skip", valid=False).train) == 2


def table(folder: Path) -> Path:
    (folder / "pictures.csv").write_text("path,label\n00.png,3\n", encoding="utf-8")
    return folder / "pictures.csv"


def listing(folder: Path, line: str) -> Path:
    (folder / "list.txt").write_text(line + "\n", encoding="utf-8")
    return folder / "list.txt"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda folder: folder / "nowhere", DataError, "no such file"),
        (lambda folder: "~nobody-at-all/pictures", DataError, "~nobody-at-all/pictures: no such file"),
        (lambda folder: folder / ("A" * 300), DataError, "no such file"),
        (lambda folder: str(folder / "nul\0"), DataError, "no such file"),
        (lambda folder: listing(folder, "A" * 300), DataError, r"unreadable .*\(File name too long\)"),
        (
            lambda folder: listing(folder, "~nobody-at-all.png"),
            DataError,
            "missing file '.*/~nobody-at-all.png'",
        ),
        (lambda folder: folder, DataError, "expected pictures"),
        (lambda folder: table(folder), DataError, "expected a list of paths .*found a table"),
        (lambda folder: [], DataError, "found none"),
        (lambda folder: [3], DataError, "item 0"),
        (lambda folder: 3, UsageError, "found int"),
        (lambda folder: [np.zeros((4, 4, 3), np.uint8)], DataError, "one image alone"),
    ],
)
def test_what_is_no_set_of_pictures_is_refused(tmp_path: Path, make: object, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        prepare_unlabelled(make(tmp_path))  # type: ignore[operator]
