"""Pictures with masks: every layout reads the same, and every fault is named in one error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from hub.datasets import load, split
from hub.datasets.mask import Polygons
from hub.datasets.masks import prepare_masks, prepare_masks_evaluation
from hub.errors import DataError, UsageError
from hub.transforms.image import read

NAMES = ("ground", "road", "tree")


def picture_and_mask(seed: int, *, size: tuple[int, int] = (12, 10)) -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 3, (size[1], size[0])).astype(np.uint8)
    mask = Image.fromarray(numbers)
    mask.putpalette(rng.integers(0, 255, 768, dtype=np.uint8).tobytes())
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)), mask


def write(folder: Path, name: str, seed: int, pictures: str = "images", masks: str = "masks") -> None:
    picture, mask = picture_and_mask(seed)
    for where, what, suffix in ((pictures, picture, "jpg"), (masks, mask, "png")):
        (folder / where).mkdir(parents=True, exist_ok=True)
        what.save(folder / where / f"{name}.{suffix}")


def folders(root: Path) -> Path:
    for n in range(5):
        write(root, f"p{n}", n)
    (root / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return root


def voc(root: Path) -> Path:
    for n in range(5):
        write(root, f"p{n}", n, "JPEGImages", "SegmentationClass")
    (root / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return root


def lists(root: Path) -> Path:
    folders(root)
    lines = [f"images/p{n}.jpg masks/p{n}.png\n" for n in range(5)]
    (root / "train_list.txt").write_text("".join(lines[:4]), encoding="utf-8")
    (root / "val_list.txt").write_text(lines[4], encoding="utf-8")
    return root


def split_folders(root: Path) -> Path:
    for n in range(5):
        part = "train" if n < 4 else "val"
        write(root, f"p{n}", n, f"images/{part}", f"annotations/{part}")
    (root / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return root


def ade20k(root: Path) -> Path:
    for n in range(5):
        part = "training" if n < 4 else "validation"
        write(root, f"p{n}", n, f"images/{part}", f"annotations/{part}")
    (root / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return root


def parts_of_two_names(root: Path) -> Path:
    (split_folders(root) / "annotations" / "val").rename(root / "annotations" / "Validation")
    (root / ".ipynb_checkpoints").mkdir()
    return root


@pytest.mark.parametrize("layout", [folders, voc, lists, split_folders, ade20k, parts_of_two_names])
def test_every_layout_gives_the_same_pairs(layout: object, tmp_path: Path) -> None:
    found = prepare_masks(layout(tmp_path))  # type: ignore[operator]
    assert found.valid is not None
    assert (len(found.train), len(found.valid)) == (4, 1)
    for data in (found.train, found.valid):
        assert data.labels == NAMES
        for sample in data:
            seed = int(sample.input.stem[1:])  # type: ignore[union-attr]
            assert np.array_equal(np.asarray(sample.label), np.asarray(picture_and_mask(seed)[1]))
    assert sum(found.train.counts().values()) == 4 * 120
    assert "4 pictures" in found.describe()


@pytest.mark.parametrize(
    ("layout", "kind"),
    [(folders, None), (split_folders, None), (parts_of_two_names, None), (lists, "masks"), (voc, "masks")],
)
def test_load_reads_masks_as_finetune_does(layout: Any, kind: str | None, tmp_path: Path) -> None:
    given = load(layout(tmp_path), kind)
    read, again = prepare_masks(tmp_path), prepare_masks(given)
    assert given.train.labels == NAMES
    assert (
        given.train.counts()
        == load(given.train).train.counts()
        == prepare_masks(given, valid=False).train.counts()
    )
    for one, other in ((read.train, again.train), (read.valid, again.valid)):
        assert one is not None
        assert other is not None
        assert [sample.input for sample in one] == [sample.input for sample in other]
        assert one.counts() == other.counts()
    assert "pictures; pixels: ground 3" in given.describe()
    assert given.train.check().dropped == ()


def test_pictures_beside_the_folders_of_parts_are_left_out_with_a_note(tmp_path: Path) -> None:
    write(split_folders(tmp_path), "p5", 5, "images", "annotations")
    write(tmp_path, "train", 6, "images", "annotations")
    picture_and_mask(7)[0].save(tmp_path / "images" / "val" / "p4.png")
    for source in (tmp_path, load(tmp_path)):
        described = prepare_masks(source, on_bad="skip").describe()
        assert "2 of 8 pictures are in none of train, val, and were left out" in described
    assert "were left out" not in prepare_masks(split_folders(tmp_path / "more")).describe()


@pytest.mark.parametrize("layout", [folders, parts_of_two_names])
def test_folders_of_masks_are_known_as_such_also_where_there_are_runs_in_them(
    layout: Any, tmp_path: Path
) -> None:
    layout(tmp_path)
    (tmp_path / "runs" / "signs-1" / "logs").mkdir(parents=True)
    assert load(tmp_path).train.holds == "masks"


@pytest.mark.parametrize("name", ["val_list.txt", "val.txt"])
def test_pairs_that_no_list_names_are_for_training(name: str, tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / name).write_text("images/p4.jpg masks/p4.png\n./images/p1.jpg masks/p1.png", encoding="utf-8")
    (tmp_path / "test_list.txt").write_text("images/t.jpg far/t.png", encoding="utf-8")
    write(tmp_path, "t", 6, "images", "far")
    for found in (prepare_masks(tmp_path), load(tmp_path, "masks")):
        names = [[sample.input.stem for sample in part] for part in (found.train, found.valid, found.test)]
        assert names == [["p0", "p2", "p3"], ["p4", "p1"], ["t"]]


def test_a_list_of_one_part_leaves_the_folders_of_the_others(tmp_path: Path) -> None:
    split_folders(tmp_path)
    write(tmp_path, "t", 6, "far", "far_masks")
    (tmp_path / "test.txt").write_text("far/t.jpg far_masks/t.png", encoding="utf-8")
    found = prepare_masks(tmp_path)
    names = [[sample.input.stem for sample in part] for part in (found.train, found.valid, found.test)]
    assert names == [["p0", "p1", "p2", "p3"], ["p4"], ["t"]]


@pytest.mark.parametrize("through", [".", "link"])
def test_a_list_may_name_files_by_another_path_than_the_data(
    tmp_path: Path, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path / "data")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    line = f"{tmp_path}/data/images/p4.jpg {tmp_path}/data/masks/p4.png"
    (tmp_path / "data" / "val.txt").write_text(line, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "data")
    found = prepare_masks(through)
    assert [sample.input.stem for sample in found.train] == ["p0", "p1", "p2", "p3"]
    assert found.valid is not None
    assert [sample.input.stem for sample in found.valid] == ["p4"]


@pytest.mark.parametrize("layout", ["images/test", "test/images", "test_list.txt"])
def test_a_part_alone_is_measured_on_and_not_learnt_from(tmp_path: Path, layout: str) -> None:
    pictures = "images" if layout.endswith(".txt") else layout
    masks = pictures.replace("images", "masks")
    write(tmp_path, "p0", 0, pictures, masks)
    if layout.endswith(".txt"):
        (tmp_path / layout).write_text("images/p0.jpg masks/p0.png", encoding="utf-8")
    assert len(prepare_masks_evaluation(tmp_path, labels=NAMES)) == 1
    for refused in (prepare_masks, lambda folder: load(folder, "masks")):
        with pytest.raises(DataError, match="expected a part called train, found test alone"):
            refused(tmp_path)
    with pytest.raises(DataError, match="expected a part called train, found test alone"):
        prepare_masks([picture_and_mask(n) for n in range(4)], valid=tmp_path)


def test_a_mapping_names_the_parts(tmp_path: Path) -> None:
    pairs = [picture_and_mask(n) for n in range(5)]
    for names in (("train", "valid"), ("training", "val")):
        given = dict(zip(names, (pairs[:3], pairs[3:]), strict=True))
        for found in (load(given, "masks"), prepare_masks(given)):
            assert [None if part is None else len(part) for part in (found.train, found.valid)] == [3, 2]
    assert len(prepare_masks_evaluation({"test": pairs}, labels=NAMES)) == 5
    with pytest.raises(DataError, match="dict: expected a part called train, found test alone"):
        load({"test": pairs}, "masks")


def test_the_parts_of_a_mapping_may_be_paths_with_classes_in_another_order(tmp_path: Path) -> None:
    folders(tmp_path / "a")
    lists(tmp_path / "b")
    write(tmp_path / "b", "q", 9)
    (tmp_path / "b" / "labels.txt").write_text("\n".join([NAMES[1], NAMES[0], NAMES[2]]), encoding="utf-8")
    given = {"train": tmp_path / "a", "valid": str(tmp_path / "b")}
    (tmp_path / "b" / "train_list.txt").unlink()
    own = load(tmp_path / "b", "masks").valid
    for found in (load(given, "masks"), prepare_masks(given, on_bad="skip")):
        assert (len(found.train), found.train.labels) == (5, NAMES)
        counts = found.valid.counts()
        assert [counts[name] for name in NAMES] == [own.counts()[name] for name in NAMES]


def test_linked_folders_are_gone_through_and_what_systems_leave_is_not(tmp_path: Path) -> None:
    for n in range(5):
        write(tmp_path / ("data" if n < 3 else "far"), f"p{n}", n)
        write(tmp_path / "data", f"p{n}-checkpoint", n, "images/.ipynb_checkpoints", "checkpoints")
    for where in ("images", "masks"):
        (tmp_path / "data" / where / "more").symlink_to(tmp_path / "far" / where, target_is_directory=True)
        (tmp_path / "data" / where / "again").symlink_to(tmp_path / "data" / where, target_is_directory=True)
    found = load(tmp_path / "data", "masks").train
    assert [sample.input.stem for sample in found] == ["p3", "p4", "p0", "p1", "p2"]
    assert found.problems == ()


def test_load_holds_a_problem_of_a_mask_back_for_check(tmp_path: Path) -> None:
    (folders(tmp_path) / "masks" / "p1.png").unlink()
    found = load(tmp_path).train
    assert (len(found), len(found.problems)) == (4, 1)
    with pytest.raises(DataError, match=r"p1\.jpg: missing mask"):
        found.check()
    train, valid = split(load([picture_and_mask(n) for n in range(5)], "masks").train, seed=0)
    assert (len(train), len(valid)) == (4, 1)


def test_load_numbers_masks_by_the_labels_of_a_module(tmp_path: Path) -> None:
    own = load(folders(tmp_path)).train
    turned = load(tmp_path, labels=["tree", "road", "ground"]).train
    assert turned.counts() == {name: own.counts()[name] for name in ("tree", "road", "ground")}
    known = load(tmp_path, labels=["tree", "road"]).train
    assert not len(known)
    assert {problem.kind for problem in known.problems} == {"unknown class in mask"}


def test_loaded_masks_are_numbered_anew_by_name(tmp_path: Path) -> None:
    own = load(folders(tmp_path)).train
    turned = own.select([0, 2]).relabel(["tree", "road", "ground"])
    assert turned.counts() == {name: own.select([0, 2]).counts()[name] for name in turned.labels}
    assert np.array_equal(np.asarray(turned[0].label), np.array([2, 1, 0])[np.asarray(own[0].label)])
    assert own.relabel().counts() == own.counts()
    assert {problem.kind for problem in own.relabel(["tree", "road"]).problems} == {"unknown class in mask"}
    counted = load([picture_and_mask(0)] * 2, "masks").train
    assert counted.relabel(NAMES).labels == NAMES
    with pytest.raises(UsageError, match="multi_label"):
        own.relabel(multi_label=True)


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        ("ab", UsageError, "labels: expected a list of class names, found 'ab'"),
        ([0, 1], UsageError, "labels: expected a list of class names"),
        (["a", "a"], DataError, "labels: expected 2 to 255 class names, .* found 'a' twice"),
        (["x"], DataError, "found 1"),
        ([], DataError, "found 0"),
        (["x", "a\nb"], DataError, r"found 'a\\nb'"),
    ],
)
def test_labels_that_no_module_could_have_are_refused(
    tmp_path: Path, labels: Any, error: type, said: str
) -> None:
    found = load(folders(tmp_path)).train
    for refused in (lambda: load(tmp_path, labels=labels), lambda: found.relabel(labels)):
        with pytest.raises(error, match=said):
            refused()


def voc2012(root: Path, **lists: str) -> Path:
    """Write five pictures with masks, two without, a folder of boxes, and lists of the names p0 to p6."""
    voc(root)
    for name in ("p5", "p6"):
        picture_and_mask(0)[0].save(root / "JPEGImages" / f"{name}.jpg")
    (root / "Annotations").mkdir()
    (root / "Annotations" / "p0.xml").write_text("<annotation/>", encoding="utf-8")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, numbers in lists.items():
        names = "".join(f"p{n}\n" for n in numbers)
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(names, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("lists", "train", "valid", "test"),
    [
        ({"train": "012", "val": "34", "trainval": "01234", "test": "56"}, "012", "34", None),
        ({"train": "01", "val": "2", "test": "34"}, "01", "2", "34"),
        ({"trainval": "012", "test": "34"}, "012", None, "34"),
        ({"trainval": "01234", "val": "34"}, "012", "34", None),
    ],
)
def test_the_lists_of_voc_say_which_pictures_are_which(
    tmp_path: Path, lists: dict[str, str], train: str, valid: str | None, test: str | None
) -> None:
    found = load(voc2012(tmp_path, **lists))
    for part, numbers in zip(found, (train, valid, test), strict=True):
        assert (part is None) == (numbers is None)
        if part is not None and numbers is not None:
            assert [sample.input.stem for sample in part] == [f"p{n}" for n in numbers]
            for n, sample in zip(numbers, part, strict=True):
                assert np.array_equal(np.asarray(sample.label), np.asarray(picture_and_mask(int(n))[1]))


def test_pictures_in_no_list_of_voc_are_left_out_with_a_note(tmp_path: Path) -> None:
    said = "3 of 7 pictures are in none of train.txt, val.txt, and were left out"
    for source in (voc2012(tmp_path, train="012", val="3"), load(tmp_path)):
        assert said in prepare_masks(source).describe()
    for name in ("p4", "p5", "p6"):
        (tmp_path / "JPEGImages" / f"{name}.jpg").unlink()
    assert "left out" not in prepare_masks(tmp_path).describe()


def test_a_name_in_a_list_of_voc_without_its_files_is_named_with_its_line(tmp_path: Path) -> None:
    voc2012(tmp_path, train="01592", val="3", test="45")
    with pytest.raises(DataError) as caught:
        prepare_masks(tmp_path)
    for said in (
        "3 problems",
        "train.txt, row 3: missing mask 'p5' (none of this name in",
        "train.txt, row 4: missing picture 'p9' (none of this name in",
        "test.txt, row 2: missing mask 'p5'",
    ):
        assert said in str(caught.value)
    assert len(prepare_masks(tmp_path, on_bad="skip").train) == 3


def test_lists_of_voc_without_one_to_learn_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"Segmentation: expected train\.txt or trainval\.txt, found val\.txt"
    ):
        prepare_masks(voc2012(tmp_path, val="3"))


@pytest.mark.parametrize(
    ("kind", "option"),
    [("masks", {"multi_label": True}), ("masks", {"fold": 1}), ("unlabelled", {"labels": ["a"]})],
)
def test_an_option_of_other_data_is_refused(kind: str, option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(option))}: means nothing for kind='{kind}'"):
        load(folders(tmp_path), kind, **option)


def test_classes_are_no_masks(tmp_path: Path) -> None:
    for n, name in enumerate(("images", "masks", "frames")):
        write(tmp_path, f"p{n}", n, name, name)
    assert load(tmp_path).train.labels == ("frames", "images", "masks")
    with pytest.raises(UsageError, match="expected pictures with masks, found a dataset of pictures"):
        prepare_masks(load(tmp_path))


def test_pairs_of_objects_number_their_classes() -> None:
    pairs = [picture_and_mask(n) for n in range(5)]
    found = prepare_masks(pairs, seed=3)
    assert found.train.labels == ("0", "1", "2")
    assert len(found.train) == 4
    assert len(set(found.train.targets().tolist())) == 4
    again = prepare_masks(pairs, seed=3)
    assert np.array_equal(found.train.targets(), again.train.targets())


def pairs_as_frame(root: Path) -> Any:
    folders(root)
    paths = [{"n": n, "image": root / f"images/p{n}.jpg", "mask": f"{root}/masks/p{n}.png"} for n in range(5)]
    return pytest.importorskip("pandas").DataFrame(paths, index=[7] * 5)


def pairs_as_mappings(root: Path) -> Any:
    folders(root)
    return [
        {"Image": Image.open(root / f"images/p{n}.jpg"), "label": Image.open(root / f"masks/p{n}.png")}
        for n in range(5)
    ]


@pytest.mark.parametrize("make", [pairs_as_frame, pairs_as_mappings])
def test_pairs_may_have_names(make: Any, tmp_path: Path) -> None:
    found = prepare_masks(make(tmp_path), valid=False).train
    assert len(found) == 5
    for n, sample in enumerate(found):
        assert np.array_equal(np.asarray(sample.label), np.asarray(picture_and_mask(n)[1]))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([{"image": "a.png", "cover": 3}], "item 0: expected the keys image and mask, found image, cover"),
        ({"a": 1}, "item 0 of dict: KeyError: 0"),
        ([("a.png", "b.png", "c.png")], r"item 0: expected \(picture, mask\), found tuple"),
    ],
)
def test_objects_that_hold_no_pairs_are_refused(source: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepare_masks(source)


def test_a_frame_without_masks_names_its_columns() -> None:
    frame = pytest.importorskip("pandas").DataFrame({"image": ["a.png"], "cover": ["b.png"]})
    with pytest.raises(DataError, match="expected the keys image and mask, found image, cover"):
        prepare_masks(frame)


def test_names_that_no_file_can_have_are_missing_masks(tmp_path: Path) -> None:
    for name in ("n" * 300, "a\0b"):
        with pytest.raises(DataError, match="item 0: missing mask"):
            prepare_masks([(folders(tmp_path) / "images/p0.jpg", f"{name}.png")] * 2, valid=False)
    with pytest.raises(DataError, match="no such file or folder"):
        prepare_masks("n" * 300)


SQUARE = [2, 2, 8, 2, 8, 8, 2, 8]


def coco(
    root: Path, annotations: list[dict[str, Any]], *, names: Sequence[str] = ("dog", "car"), **more: Any
) -> Path:
    """Write two pictures of 20×10 pixels and a file of their outlines, whose categories count from 1."""
    for n, name in enumerate("ab"):
        Image.new("RGB", (20, 10), ("black", "red")[n]).save(root / f"{name}.png")
    data = {
        "images": [
            {"id": n, "file_name": f"{name}.png", "width": 20, "height": 10} for n, name in enumerate("ab")
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
        "annotations": [
            {"id": n, "image_id": 0, "category_id": 1, "segmentation": [SQUARE]} | each
            for n, each in enumerate(annotations)
        ],
    }
    path = root / "instances.json"
    path.write_text(json.dumps(data | more), encoding="utf-8")
    return path


def test_polygons_are_drawn_in_order_over_a_background(tmp_path: Path) -> None:
    given = [{"category_id": 7}, {"category_id": 3, "segmentation": [[5, 2, 8, 2, 8, 8, 5, 8]]}]
    path = coco(tmp_path, given, categories=[{"id": 7, "name": "car"}, {"id": 3, "name": "dog"}])
    found = prepare_masks(path, valid=False)
    assert found.train.labels == ("background", "dog", "car")
    mask = np.asarray(found.train[0].label)
    assert mask.shape == (10, 20)
    assert (mask[5, 3], mask[5, 6], mask[0, 0]) == (2, 1, 0)
    assert not np.asarray(found.train[1].label).any()


@pytest.mark.parametrize("name", ["Background", "_background_"])
def test_a_category_called_background_is_what_nothing_covers(tmp_path: Path, name: str) -> None:
    given = [{"category_id": 2}, {"category_id": 1, "segmentation": [[2, 2, 5, 2, 5, 8, 2, 8]]}]
    found = prepare_masks(coco(tmp_path, given, names=(name, "dog")), valid=False)
    assert found.train.labels == ("background", "dog")
    assert np.asarray(found.train[0].label)[5].tolist() == [0] * 5 + [1] * 3 + [0] * 12


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"names": ("dog", "dog")}, "each once and in one line, found 'dog' twice"),
        ({"names": ("dog\ncat", "car")}, r"found 'dog\\ncat'"),
        ({"names": [str(n) for n in range(255)]}, "found 256"),
        ({"categories": [{"id": 1}]}, "there is no 'name'"),
        ({"categories": [{"id": 1, "name": "dog"}, {"id": 1, "name": "car"}]}, "another id for every category"),
        ({"images": [{"id": 0, "file_name": n, "width": 20, "height": 10} for n in ("a.png", "b.png")]}, "picture"),
        ({"images": 3}, "expected COCO's images"),
    ],
)  # fmt: skip
def test_coco_files_that_cannot_be_meant_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepare_masks(coco(tmp_path, [{}], **more), valid=False)


def test_objects_whose_labels_repeat_are_refused() -> None:
    class Pairs(list[Any]):
        labels = ("ground", "road", "road")

    with pytest.raises(DataError, match=r"labels: .*found 'road' twice"):
        prepare_masks(Pairs([picture_and_mask(0)]), valid=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segmentation": {"counts": "Pg0", "size": [10, 20]}}, "a.png: .*found compressed ones"),
        ({"segmentation": {"counts": [0, 201], "size": [10, 20]}}, "run lengths of a picture of 20×10"),
        ({"segmentation": {"counts": [0, 10], "size": [20, 10]}}, "run lengths of a picture of 20×10"),
        ({"segmentation": []}, "expected polygons, found none"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three points"),
        ({"segmentation": [[1, 2, 3, float("nan"), 4, 5]]}, "points on the picture"),
        ({"segmentation": [[1, 2, 3, 1e300, 4, 5]]}, "points on the picture"),
        ({"segmentation": [["x"] * 6]}, "could not convert"),
        ({"category_id": 9}, "no category has the id 9"),
        ({"image_id": 7}, "of no picture"),
        ({"iscrowd": "maybe"}, "expected 0 or 1 for iscrowd, found 'maybe'"),
        ({"iscrowd": 2}, "expected 0 or 1 for iscrowd, found 2"),
    ],
)
def test_a_picture_with_an_annotation_that_cannot_be_drawn_is_no_example(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = coco(tmp_path, [{"image_id": 1}, {"image_id": 0}, change])
    with pytest.raises(DataError, match=f"bad annotation '2' .*{said}"):
        prepare_masks(path, valid=False)
    found = prepare_masks(path, valid=False, on_bad="skip")
    left = {sample.input.name for sample in (found.train[i] for i in range(len(found.train)))}  # type: ignore[union-attr]
    assert left == ({"b.png"} if "image_id" not in change else {"a.png", "b.png"})


def test_ids_of_pictures_are_the_same_as_text(tmp_path: Path) -> None:
    found = prepare_masks(coco(tmp_path, [{"image_id": "1", "category_id": "2"}]), valid=False)
    assert np.asarray(found.train[1].label)[4, 4] == 2


def test_run_lengths_go_down_the_columns_and_a_crowd_has_no_class(tmp_path: Path) -> None:
    runs = {"counts": [15, 10, 5, 3], "size": [10, 20]}
    crowd = {"counts": [0, 12], "size": [10, 20]}
    path = coco(tmp_path, [{"segmentation": runs}, {"segmentation": crowd, "iscrowd": 1}, {"image_id": 1}])
    mask = np.asarray(prepare_masks(path, valid=False).train[0].label)
    expected = np.zeros(200, np.uint8)
    expected[15:25] = expected[30:33] = 1
    expected[:12] = 255
    assert np.array_equal(mask, expected.reshape(20, 10).T)


@pytest.mark.parametrize(
    ("given", "number"),
    [(0, 1), ("0", 1), (False, 1), ("False", 1), (None, 1), (1, 255), ("1", 255), (True, 255), ("true", 255)],
)
def test_a_crowd_is_one_in_any_way_to_write_it(tmp_path: Path, given: Any, number: int) -> None:
    found = prepare_masks(coco(tmp_path, [{"iscrowd": given}, {"image_id": 1}]), valid=False)
    assert np.asarray(found.train[0].label)[4, 4] == number


@pytest.mark.parametrize("first", [True, False])
def test_a_crowd_lies_below_what_is_known(tmp_path: Path, first: bool) -> None:
    crowd = {"segmentation": [[0, 0, 20, 0, 20, 5, 0, 5]], "iscrowd": 1}
    path = coco(tmp_path, [crowd, {}] if first else [{}, crowd], names=("dog",))
    counts = np.bincount(np.asarray(prepare_masks(path, valid=False).train[0].label).ravel(), minlength=256)
    assert (counts[0], counts[1], counts[255]) == (200 - 100 - 18, 36, 100 - 18)


def test_json_of_other_programs_is_read_or_refused_in_words(tmp_path: Path) -> None:
    path = coco(tmp_path, [{}, {"image_id": 1}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(prepare_masks(path, valid=False).train) == 2
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match="expected COCO's images, annotations and categories"):
        prepare_masks(path)


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("instances.json", "."),
        ("instances.json", "images"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/instances_default.json", "images"),
        ("annotations/train.json", "train"),
    ],
)
def test_pictures_are_found_where_coco_and_its_like_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, pictures: str
) -> None:
    written = coco(tmp_path, [{}, {"image_id": 1}])
    for old, new in (
        (written, tmp_path / file),
        *((p, tmp_path / pictures / p.name) for p in tmp_path.glob("*.png")),
    ):
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)
    monkeypatch.chdir((tmp_path / file).parent)
    for path in (tmp_path / file, Path(file).name):
        found = prepare_masks(path, valid=False).train
        assert [Path(sample.input).resolve() for sample in found] == [
            tmp_path.resolve() / pictures / name for name in ("a.png", "b.png")
        ]


@pytest.mark.parametrize("name", ["none.png", "n" * 300 + ".png"])
def test_a_picture_of_coco_that_is_nowhere_says_where_was_looked(tmp_path: Path, name: str) -> None:
    (tmp_path / "annotations").mkdir()
    images = [
        {"id": n, "file_name": each, "width": 20, "height": 10} for n, each in enumerate(("a.png", name))
    ]
    path = coco(tmp_path / "annotations", [{}, {"image_id": 1}], images=images)
    path = path.rename(path.with_name("instances_val.json"))
    with pytest.raises(DataError, match=f"missing picture '{name[:200]}.* \\(looked in ") as caught:
        prepare_masks(path, valid=False)
    for where in ("annotations", "annotations/images", "val", "images/val", "images"):
        assert f"{tmp_path / where}" in str(caught.value)
    assert len(prepare_masks(path, valid=False, on_bad="skip").train) == 1


# corners, and the pixels [row, column] whose middles lie inside
OUTLINES = [
    ([3, 2, 7, 2, 7, 5, 3, 5], [(y, x) for y in (2, 3, 4) for x in (3, 4, 5, 6)]),
    ([3.6, 2.6, 5.4, 2.6, 5.4, 4.4, 3.6, 4.4], [(3, 4)]),
    ([0, 0, 4, 0, 0, 4], [(y, x) for y in range(4) for x in range(4) if y + x < 3]),
    ([-5, -5, 3, -5, 3, 2, -5, 2], [(y, x) for y in (0, 1) for x in (0, 1, 2)]),
    ([30, 2, 40, 2, 40, 5, 30, 5], []),
    ([2, 2, 9, 2, 9, 2.4], []),
]


@pytest.mark.parametrize(("corners", "pixels"), OUTLINES)
def test_a_polygon_has_the_pixels_whose_middles_it_covers(
    tmp_path: Path, corners: list[float], pixels: list[tuple[int, int]]
) -> None:
    path = coco(tmp_path, [{"segmentation": [corners]}, {"image_id": 1}])
    mask = np.asarray(prepare_masks(path, valid=False).train[0].label)
    assert list(map(tuple, np.argwhere(mask).tolist())) == pixels


@given(
    arrays(np.float64, (7, 2), elements=st.floats(-5, 25)),
    st.floats(0, 1),
)
def test_polygons_that_share_their_sides_share_no_pixel(corners: np.ndarray, at: float) -> None:
    whole, first, second = np.zeros((20, 20), np.uint8), np.zeros((20, 20), int), np.zeros((20, 20), int)
    middle = (1 - at) * corners[0] + at * corners[3]
    for mask, points in (
        (whole, corners), (first, [*corners[:4], middle]), (second, [*corners[3:], corners[0], middle]),
    ):  # fmt: skip
        mask[:] = np.asarray(Polygons((20, 20), ((1, np.array(points)),)))
    assert np.array_equal(whole, (first + second) % 2)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((21, 10), "the mask has 21×10 pixels, its picture 20×10"),
        ((400_000, 400_000), "the mask has 400000×400000 pixels, its picture 20×10"),
    ],
)
def test_a_mask_of_another_size_is_refused_before_it_is_drawn(
    tmp_path: Path, size: tuple[int, int], said: str
) -> None:
    images = [
        {"id": n, "file_name": f"{name}.png", "width": size[0], "height": size[1]}
        for n, name in enumerate("ab")
    ]
    with pytest.raises(DataError, match=said):
        prepare_masks(coco(tmp_path, [{}], images=images), valid=False)


def test_a_mask_too_large_for_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "labels.txt").unlink()  # without names, the numbers in the masks are the classes
    (tmp_path / "images" / "p0.jpg").write_bytes(b"no picture")
    Image.new("1", (60_000, 1000)).save(tmp_path / "masks" / "p0.png")
    with pytest.raises(DataError, match=r"unreadable mask .*60000×1000 pixels; at most 50,000,000 are read"):
        prepare_masks(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_picture_may_be_turned_by_its_exif(tmp_path: Path, as_file: bool, suffix: str, mode: str) -> None:
    picture, mask = picture_and_mask(0, size=(10, 12))
    turned = Image.Exif()
    turned[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    picture.convert(mode).transpose(Image.Transpose.ROTATE_90).save(path, exif=turned)
    for other, fits in ((mask, True), (mask.transpose(Image.Transpose.ROTATE_90), False)):
        with Image.open(path) as opened:
            pairs = [(path if as_file else opened, other)]
            if fits:
                [sample] = prepare_masks(pairs, valid=False).train
                upright, expected = read(sample.input).convert("L"), picture.convert("L")
                assert np.abs(np.asarray(upright, int) - np.asarray(expected, int)).mean() < 20  # JPEG blurs
                continue
            with pytest.raises(DataError, match="the mask has 12×10 pixels, its picture 10×12"):
                prepare_masks(pairs, valid=False)


def test_a_mask_that_is_a_tiff_is_turned_by_its_exif(tmp_path: Path) -> None:
    picture, mask = picture_and_mask(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    grey = Image.fromarray(np.asarray(mask))
    grey.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "mask.tif", exif=turned)
    pairs = [(picture, tmp_path / "mask.tif")] * 2
    sample = prepare_masks(pairs, valid=False, on_bad="skip").train[0]
    assert np.array_equal(np.asarray(sample.label), np.asarray(mask))


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\x08", b"Exif\0\0hello, this is no EXIF"])
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_a_picture_whose_exif_cannot_be_read_is_upright(tmp_path: Path, exif: bytes, suffix: str) -> None:
    picture, mask = picture_and_mask(0)
    path = tmp_path / f"a.{suffix}"
    picture.save(path, exif=exif)
    assert len(prepare_masks([(path, mask)], valid=False).train) == 1
    with pytest.raises(DataError, match="the mask has 10×12 pixels, its picture 12×10"):
        prepare_masks([(path, mask.transpose(Image.Transpose.ROTATE_90))], valid=False)


def damage(root: Path) -> None:
    Image.new("L", (5, 5)).save(root / "masks/p0.png")
    bad = np.asarray(picture_and_mask(1)[1]).copy()
    bad[0, :2] = 77
    Image.fromarray(bad).save(root / "masks/p1.png")
    (root / "masks/p2.png").unlink()
    (root / "masks/p3.png").write_bytes(b"no picture")
    (root / "images/p4.jpg").write_bytes(b"no picture")


def test_every_fault_is_named_in_one_error(tmp_path: Path) -> None:
    damage(folders(tmp_path))
    with pytest.raises(DataError) as caught:
        prepare_masks(tmp_path)
    text = str(caught.value)
    for said in (
        "5 problems",
        "p0.jpg: size of mask",
        "the mask has 5×5 pixels, its picture 12×10",
        "p1.jpg: unknown class in mask",
        "found 77 (2 pixels); expected 0 to 2, or 255",
        "p2.jpg: missing mask",
        "p3.jpg: unreadable mask",
        "p4.jpg: unreadable",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("JPEG", r"p0\.jpg: unreadable mask .*found a JPEG, which may change values: save masks as PNG"),
        ("WEBP", r"unreadable mask .*found a WEBP, which may change values: save masks as PNG"),
        (
            "PPM",
            r"unreadable mask .*\(expected one of PNG, BMP, GIF, TIFF, found [0-9]+ bytes that are none of PNG",
        ),
    ],
)
def test_a_mask_in_a_form_that_may_change_values_is_refused_in_words(
    tmp_path: Path, form: str, said: str
) -> None:
    picture_and_mask(0)[1].convert("L").save(folders(tmp_path) / "masks" / "p0.png", format=form)
    with pytest.raises(DataError, match=said):
        prepare_masks(tmp_path)


def test_bad_pictures_are_left_out_when_asked_for(tmp_path: Path) -> None:
    damage(folders(tmp_path))
    for n in range(5, 9):
        write(tmp_path, f"p{n}", n)
    found = prepare_masks(tmp_path, on_bad="skip")
    assert found.valid is not None
    assert len(found.train) + len(found.valid) == 4
    assert "left out" in found.describe()


def test_255_counts_for_no_class(tmp_path: Path) -> None:
    pairs = []
    for n in range(3):
        picture, mask = picture_and_mask(n)
        numbers = np.asarray(mask).copy()
        numbers[:5] = 255
        pairs.append((picture, numbers))
    found = prepare_masks(pairs, valid=False)
    assert found.train.labels == ("0", "1", "2")
    assert sum(found.train.counts().values()) == 3 * 60


def test_pictures_without_a_labelled_pixel_measure_nothing(tmp_path: Path) -> None:
    pairs = [picture_and_mask(n) for n in range(6)]
    blank = [(picture_and_mask(n)[0], np.full((10, 12), 255, np.uint8)) for n in range(10, 40)]
    found = prepare_masks([*pairs, *blank])
    assert found.valid is not None
    assert (len(found.train), len(found.valid)) == (5, 1)
    assert sum(found.valid.counts().values()) == 120
    assert "30 of 36 pictures have no pixel with a class, and were left out" in found.describe()
    said = "expected pixels that have a class, found none: all are 255"
    for refused in (
        lambda: prepare_masks(pairs, valid=blank),
        lambda: prepare_masks(pairs, test=blank),
        lambda: prepare_masks_evaluation(blank, labels=NAMES),
    ):
        with pytest.raises(DataError, match=said):
            refused()


def test_masks_of_0_and_255_say_what_to_do() -> None:
    picture, mask = picture_and_mask(0)
    numbers = (np.asarray(mask) > 0).astype(np.uint8) * 255
    with pytest.raises(DataError, match="should be saved as 0 and 1"):
        prepare_masks([(picture, numbers)] * 2, valid=False)
    pairs = [(picture, numbers), (picture, numbers), (picture, numbers[1:])]
    with pytest.raises(DataError, match="size of mask"):
        prepare_masks(pairs, valid=False)
    named = load(pairs, "masks", labels=["ground", "ink"])
    with pytest.raises(DataError, match="found only 'ground'"):
        prepare_masks(named, valid=False, on_bad="skip")


@pytest.mark.parametrize("on_bad", ["raise", "skip"])
def test_masks_of_one_class_can_be_measured_on(on_bad: str) -> None:
    picture, mask = picture_and_mask(0)
    pairs = [(picture, np.zeros_like(np.asarray(mask)))] * 2
    found = prepare_masks_evaluation(pairs, labels=NAMES, on_bad=on_bad)
    assert found.counts() == {NAMES[0]: 240, NAMES[1]: 0, NAMES[2]: 0}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 128), "127 of the 129 classes, 0 to 128, have no pixel in any mask; values 0, 128 occur"),
        ((0, 4), "3 of the 5 classes, 0 to 4, have no pixel in any mask; values 0, 4 occur"),
        ((0, 3), None),
        ((0, 1), None),
    ],
)
def test_values_of_masks_that_leave_most_classes_empty_are_noted(
    values: tuple[int, int], said: str | None
) -> None:
    pairs = []
    for n in range(5):
        picture, mask = picture_and_mask(n)
        pairs.append((picture, np.where(np.asarray(mask) > 0, *values).astype(np.uint8)))
    for source in (pairs, load(pairs, "masks")):
        text = prepare_masks(source).describe()
        assert said in text if said else "have no pixel" not in text
        assert len(text) < 800


def test_palettes_that_give_a_number_several_colours_are_noted(tmp_path: Path) -> None:
    for n, colour in enumerate([(255, 0, 0), (255, 0, 0), (0, 255, 0)]):
        picture, _ = picture_and_mask(n)
        drawn = Image.new("RGB", picture.size)
        drawn.paste(colour, (2, 2, 6, 6))
        for where, what in (("images", picture), ("masks", drawn.quantize(2))):
            (tmp_path / where).mkdir(exist_ok=True)
            what.save(tmp_path / where / f"{n}.png")
    [note] = prepare_masks(tmp_path, valid=False).notes
    assert f"{tmp_path / 'images' / '2.png'}: the number counts and not the colour" in note
    assert note.startswith("class 0 is #ff0000 in the mask of ")
    assert "and #00ff00 in that of" in note
    (tmp_path / "images" / "2.png").unlink()
    (tmp_path / "masks" / "2.png").unlink()
    assert prepare_masks(tmp_path, valid=False).notes == ()


def test_names_of_classes_that_occur_nowhere_are_no_mistake(tmp_path: Path) -> None:
    path = coco(tmp_path, [{}, {"image_id": 1}], names=[f"thing {n}" for n in range(80)])
    found = prepare_masks(path, valid=False)
    assert found.notes == ()
    assert found.describe().endswith("pixels: background 82.0%, thing 0 18.0%; none of the other 79 classes")


def test_evaluation_numbers_classes_by_the_modules_names(tmp_path: Path) -> None:
    folders(tmp_path)
    found = prepare_masks_evaluation(tmp_path, labels=("tree", "ground", "road"))
    mine, written = np.asarray(found[0].label), np.asarray(picture_and_mask(0)[1])
    assert np.array_equal(mine, np.array([1, 2, 0])[written])
    said = r"found road \(\d+ pixels\); expected tree, ground, roads, or 255; did you mean 'roads'"
    with pytest.raises(DataError, match=f"unknown class in mask .*{said}"):
        prepare_masks_evaluation(tmp_path, labels=("tree", "ground", "roads"))


def test_the_background_of_outlines_is_the_ground_of_a_module(tmp_path: Path) -> None:
    path = coco(tmp_path, [{"category_id": 2}, {"image_id": 1}])
    found = prepare_masks_evaluation(path, labels=("ground", "car", "dog"))
    assert found.counts() == {"ground": 2 * 200 - 72, "car": 36, "dog": 36}
    with pytest.raises(
        DataError, match=r"found background \(164 pixels\); expected car, ground, dog, or 255"
    ):
        prepare_masks_evaluation(path, labels=("car", "ground", "dog"))


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_part_of_prepared_masks_is_that_part_again(tmp_path: Path, in_memory: bool) -> None:
    source = [picture_and_mask(n) for n in range(5)] if in_memory else folders(tmp_path)
    found = prepare_masks(source, seed=1)
    assert found.valid is not None
    names = found.train.labels
    valid = prepare_masks_evaluation(found.valid, labels=names)
    assert (len(valid), valid.counts()) == (1, found.valid.counts())
    assert valid.origin(0) == found.valid.origin(0)
    assert np.array_equal(np.asarray(valid[0].label), np.asarray(found.valid[0].label))
    again = prepare_masks(found.train, valid=found.valid)
    assert again.valid is not None
    assert (len(again.train), len(again.valid)) == (4, 1)
    assert again.train.counts() == found.train.counts()


def test_links_to_a_picture_and_its_mask_are_a_repeat(tmp_path: Path) -> None:
    folders(tmp_path)
    for where, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / where / f"p9.{suffix}").symlink_to(tmp_path / where / f"p0.{suffix}")
    with pytest.raises(DataError, match=r"p9\.jpg: duplicate"):
        prepare_masks(tmp_path)


def test_a_part_without_its_bad_pictures_is_taken_as_it_is(tmp_path: Path) -> None:
    (folders(tmp_path) / "masks" / "p2.png").unlink()
    whole = prepare_masks(tmp_path, valid=False, on_bad="skip").train
    assert len(prepare_masks_evaluation(whole, labels=NAMES)) == 4


def test_classes_that_were_numbered_anew_can_be_numbered_anew_again(tmp_path: Path) -> None:
    labels, others = ("tree", "ground", "road"), ("road", "sky", "tree", "ground")
    found = prepare_masks_evaluation(folders(tmp_path), labels=labels)
    again = prepare_masks_evaluation(found, labels=others)
    written = np.asarray(picture_and_mask(0)[1])
    assert np.array_equal(np.asarray(again[0].label), np.array([3, 0, 2])[written])
    with pytest.raises(DataError, match="unknown class in mask"):
        prepare_masks_evaluation(found, labels=("tree", "ground"))


def test_a_path_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    folders(tmp_path / "roads")
    with pytest.raises(DataError, match="did you mean 'roads'"):
        prepare_masks(tmp_path / "road")
