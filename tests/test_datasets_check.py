"""The pass that finds every problem before the first step: images, repeats, the report, skipping."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub.datasets import Dataset, Sample, check, load, split
from hub.errors import DataError, InputError, UsageError

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


def photo(root: Path) -> bytes:
    """A JPEG of noise, long enough to be cut anywhere."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "photo.jpg")
    return (root / "photo.jpg").read_bytes()


def said(*datasets: Dataset | None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        check(*datasets, **options)
    return str(caught.value)


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six images, which is the working directory, so that messages have short paths."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path, *(f"{name}.png" for name in "abcdef"))


HEADER = "path,label\na.png,cat\nb.png,dog\n"  # a bad row behind it is row 4


# ---- images ----


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95])
def test_a_truncated_jpeg_is_found_by_decoding_it(tmp_path: Path, keep: float) -> None:
    data = photo(tmp_path)
    write(tmp_path / "d" / "a" / "whole.jpg", data)
    write(tmp_path / "d" / "b" / "whole2.jpg", data)
    broken = write(tmp_path / "d" / "b" / "cut.jpg", data[: int(len(data) * keep)])
    message = said(load(tmp_path / "d").train)
    assert message.startswith(f"the data has a problem:\n  {broken}: unreadable (")


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tif", "bmp", "jpeg"])
def test_half_an_image_of_any_format_is_unreadable(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    write_images(tmp_path, "a/1.png", "b/1.png")
    Image.fromarray(pixels).save(tmp_path / "a" / f"2.{suffix}")
    check(load(tmp_path).train)
    whole = (tmp_path / "a" / f"2.{suffix}").read_bytes()
    write(tmp_path / "a" / f"2.{suffix}", whole[: len(whole) // 2])
    assert f"2.{suffix}: unreadable" in said(load(tmp_path).train)


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    Image.new("1", (60, 40)).save(tmp_path / "b" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.warns(Image.DecompressionBombWarning):
        message = said(load(tmp_path).train)
    assert "bomb.png: unreadable (60 × 40 pixels are more than the 2,000 that are safe to decode)" in message
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1100)
    assert "bomb.png: unreadable (Image size (2400 pixels) exceeds limit" in said(load(tmp_path).train)


def test_a_file_that_is_an_image_by_name_only_and_one_of_zero_bytes(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    write(tmp_path / "a" / "text.png", "hello")
    write(tmp_path / "a" / "zero.png", "")
    (tmp_path / "b" / "link.png").symlink_to(tmp_path / "gone.png")
    message = said(load(tmp_path).train)
    assert f"{tmp_path / 'a' / 'text.png'}: unreadable (none of PNG, JPEG, BMP, GIF, TIFF, WEBP)" in message
    assert f"{tmp_path / 'a' / 'zero.png'}: empty file (0 bytes)" in message
    assert f"{tmp_path / 'b' / 'link.png'}: missing file" in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_would_never_end_is_not_opened(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    assert "pipe.png: unreadable (not a regular file)" in said(load(tmp_path).train)


def test_a_pil_image_that_is_opened_lazily_is_decoded_too(tmp_path: Path) -> None:
    whole = photo(tmp_path)
    cut = write(tmp_path / "cut.jpg", whole[: len(whole) // 2])
    with Image.open(cut) as broken, Image.open(tmp_path / "photo.jpg") as good_one:
        message = said(load([(good_one, 0), (broken, 1)]).train)
    assert "item 1: unreadable (the image is damaged: image file is truncated" in message


# ---- folders ----


def test_folders_that_may_not_be_read_are_problems_and_the_outermost_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, "a/1.png", "a/locked/2.png", "b/1.png")
    scandir = os.scandir

    def deny(path: str | Path) -> Any:  # root, who runs tests in containers, may read everything
        if Path(path).name in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    locked = ["locked"]
    assert f"{tmp_path / 'a' / 'locked'}: unreadable (Permission denied)" in said(load(tmp_path).train)
    locked = [tmp_path.name]
    with pytest.raises(DataError, match="Permission denied"):
        load(tmp_path)


def test_one_class_and_an_empty_class_folder(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/1.png", "stray.png")
    write(tmp_path / "dog" / "1.heic", "x")
    (tmp_path / "fox").mkdir()
    train = load(tmp_path).train
    message = said(train)
    assert f"\n  {tmp_path}: one class only 'cat' (at least two are needed)" in message
    assert f"\n  {tmp_path / 'dog'}: empty class 'dog' (no images; found 1 .heic file)" in message
    assert f"\n  {tmp_path / 'fox'}: empty class 'fox' (no images; the folder is empty)" in message
    assert (
        f"\n  {tmp_path / 'stray.png'}: no class (expected the image inside a folder named after its class)"
        in message
    )
    assert 'hint: mend the data; on_bad="skip" cannot help with one class only' in message


# ---- the report ----


def test_all_problems_are_counted_and_the_first_five_are_spelled_out(good: Path) -> None:
    rows = "".join(f"gone{number}.png,cat\n" for number in range(1200))
    write(good / "train.csv", HEADER + "c.png\n" + rows + "\n\nd.png,dog\n")
    write(good / "valid.csv", "path,label\ne.png,bird\n")
    train, valid, _ = load(".")
    assert said(train, valid).splitlines() == [
        "the data has 1,205 problems:",
        "  valid.csv: no samples",
        "  train.csv, row 4: too few fields 'c.png' (expected 2: path, label; found 1)",
        *(f"  train.csv, row {5 + number}: missing file 'gone{number}.png'" for number in range(3)),
        "  … and 1,200 more",
        "  in all: 1,200 × missing file, 2 × empty line, 1 × no samples, 1 × too few fields, 1 × unknown label",
        '  hint: mend the data; on_bad="skip" cannot help with no samples',
    ]


def test_skipping_gives_clean_splits_and_says_what_was_dropped(good: Path) -> None:
    write(good / "t.csv", HEADER + "c.png,cat\nd.png\nd.png,dog\n\ngone.png,cat\na.png,cat\n")
    write(good / "v.csv", "path,label\na.png,cat\ne.png,dog\n")
    train = load("t.csv").train
    valid = load("v.csv", labels=train.labels).train
    checked = check(train, None, valid, on_bad="skip")
    kept, nothing, kept_valid = checked.splits
    assert kept is not None
    assert kept_valid is not None
    assert nothing is None
    assert kept.counts() == {"cat": 2, "dog": 2}
    assert kept_valid.counts() == {"cat": 0, "dog": 1}
    assert checked.counts() == {
        "too few fields": 1,
        "empty line": 1,
        "missing file": 1,
        "duplicate": 1,
        "leak": 1,
    }
    assert str(checked) == (
        "left out: 1 × too few fields, 1 × empty line, 1 × missing file, 1 × duplicate, 1 × leak"
    )
    assert check(*checked.splits).dropped == (), "what was kept is clean"
    assert str(check(kept)) == "no problems"


def test_the_same_file_in_train_and_valid_is_a_leak(good: Path) -> None:
    write(good / "train_list.txt", "a.png 0\nb.png 1\n")
    write(good / "val_list.txt", "c.png 0\nx/../b.png 1\n")
    (good / "x").mkdir()
    train, valid, _ = load(".")
    line = (
        "val_list.txt, row 2: leak 'x/../b.png' (the same file as train_list.txt, row 2, which is in train)"
    )
    assert line in said(train, valid)


def link(kind: str, to: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to) if kind == "symbolic" else path.hardlink_to(to)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_links_to_one_file_are_that_file(tmp_path: Path, kind: str) -> None:
    write_images(tmp_path / "all", *(f"{name}/{n}.png" for name in "ab" for n in range(4)))
    train, valid = tmp_path / "data" / "train", tmp_path / "data" / "valid"
    for name in ("a", "b"):
        for n in range(3):
            link(kind, tmp_path / "all" / name / f"{n}.png", train / name / f"{n}.png")
        link(kind, tmp_path / "all" / name / "3.png", valid / name / "3.png")
    assert check(*load(tmp_path / "data")).dropped == ()
    link(kind, tmp_path / "all" / "a" / "1.png", valid / "a" / "other.png")
    link(kind, tmp_path / "all" / "a" / "0.png", train / "a" / "again.png")
    link(kind, tmp_path / "all" / "b" / "2.png", train / "a" / "b.png")
    checked = check(*load(tmp_path / "data"), on_bad="skip")
    assert checked.counts() == {"conflicting labels": 2, "duplicate": 1, "leak": 1}


def test_a_file_with_two_different_labels_is_dropped_altogether(good: Path) -> None:
    write(good / "t.csv", HEADER + "a.png,dog\nc.png,cat\n")
    train = load("t.csv").train
    message = said(train)
    assert "t.csv, row 2: conflicting labels 'a.png' (the same file as t.csv, row 4)" in message
    assert "t.csv, row 4: conflicting labels 'a.png' (the same file as t.csv, row 2)" in message
    kept = check(train, on_bad="skip").splits[0]
    assert kept is not None
    assert kept.counts() == {"cat": 1, "dog": 1}


def test_skipping_never_loses_a_whole_class_or_a_whole_split_in_silence(good: Path) -> None:
    write(good / "t.csv", HEADER + "gone1.png,fox\ngone2.png,fox\n")
    assert "t.csv: lost class 'fox' (all its 2 samples were bad)" in said(load("t.csv").train, on_bad="skip")
    write(good / "t.csv", "path,label\ngone1.png,fox\ngone2.png,cat\n")
    assert "t.csv: no samples (all 2 were bad)" in said(load("t.csv").train, on_bad="skip")


def test_the_parts_of_a_split_report_their_common_problems_once(good: Path) -> None:
    write(good / "t.csv", HEADER + "\nc.png,cat\nd.png,dog\n")
    train, valid = split(load("t.csv").train, seed=0)
    assert said(train, valid).startswith("the data has a problem:\n  t.csv, row 4: empty line")
    assert "problems, which check() lists: 1 × empty line" in train.describe()


# ---- the pass itself ----


def test_the_probe_is_called_once_for_every_file_that_is_there(good: Path) -> None:
    write(good / "t.csv", HEADER + "gone.png,cat\nc.png,cat\n")
    seen: list[str] = []

    def probe(sample: Sample) -> None:
        seen.append(Path(str(sample.input)).name)
        if seen[-1] == "c.png":
            raise InputError("c.png: too dark", hint="unused")

    message = said(load("t.csv").train, probe=probe, workers=1)
    assert seen == ["a.png", "b.png", "c.png"]
    assert "t.csv, row 5: unreadable 'c.png' (too dark)" in message


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_order_for_any_number_of_threads(workers: int) -> None:
    data = load([(np.full((2, 2), i), i % 2) for i in range(101)]).train
    threads, counts = set(), []

    def probe(sample: Sample) -> None:
        threads.add(threading.current_thread().name)
        number = int(np.asarray(sample.input)[0, 0])
        if number % 3 == 0:
            raise OSError(f"number {number}")

    progress = lambda done, total: counts.append((done, total))  # noqa: E731
    checked = check(data, probe=probe, workers=workers, on_bad="skip", progress=progress)
    assert [problem.detail for problem in checked.dropped] == [f"number {i}" for i in range(0, 101, 3)]
    assert counts[-1] == (101, 101)
    assert counts == sorted(counts)
    assert threads <= {f"hub-check_{number}" for number in range(workers)}


def test_an_error_in_the_probe_itself_is_not_taken_for_bad_data() -> None:
    data = load([(PIXELS, i % 2) for i in range(1000)]).train
    calls = []

    def probe(sample: Sample) -> None:
        calls.append(sample)
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        check(data, probe=probe, workers=1)
    assert len(calls) < 100, "the rest of the pass was called off"


def test_a_dataset_checks_itself(good: Path) -> None:
    write(good / "t.csv", HEADER)
    train = load("t.csv").train
    assert train.check().splits[0].counts() == {"cat": 1, "dog": 1}  # type: ignore[union-attr]


TWO = load([(PIXELS, 0), (PIXELS, 1)]).train


@pytest.mark.parametrize(
    ("splits", "options", "text"),
    [
        ((), {}, "expected at least one dataset, found none"),
        ((None, None), {}, "expected at least one dataset, found none"),
        ((TWO,), {"on_bad": "ignore"}, "on_bad: expected one of raise, skip, found 'ignore'"),
        ((TWO,), {"workers": 0}, "workers: expected at least 1, found 0"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant(
    splits: tuple[Dataset | None, ...], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        check(*splits, **options)
