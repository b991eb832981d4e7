"""Folders, list files and tables, read as they are meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hub import inputs
from hub.cli.texts import texts_of
from hub.datasets import Dataset, Origin, load, prepare, prepare_evaluation
from hub.datasets.folders import require_no_data
from hub.datasets.kinds import PICTURES
from hub.datasets.unlabelled import prepare_unlabelled
from hub.errors import DataError, UsageError


def write_images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), "red").save(root / name)
    return root


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def table(dataset: Dataset | None) -> list[tuple[str, str]]:
    """The samples as (path below the test's folder, label name)."""
    assert dataset is not None
    return [(Path(str(sample.input)).name, dataset.labels[sample.label]) for sample in dataset]  # type: ignore[index]


def problems(dataset: Dataset | None) -> list[str]:
    assert dataset is not None
    return [str(problem) for problem in dataset.problems]


# ---- folders ----


def test_a_folder_per_class_gives_sorted_labels_and_paths(tmp_path: Path) -> None:
    write_images(
        tmp_path, "b10/x.png", "b9/deep/er/z.PNG", "b9/a.JpEg", "玫瑰 花/1.webp", "B/1.gif", "B/2.tiff"
    )
    train, valid, test = load(tmp_path)
    assert train.labels == ("B", "b10", "b9", "玫瑰 花"), "plain sorting, the same on every machine"
    assert table(train) == [
        *(
            ("1.gif", "B"),
            ("2.tiff", "B"),
            ("x.png", "b10"),
            ("a.JpEg", "b9"),
            ("z.PNG", "b9"),
            ("1.webp", "玫瑰 花"),
        )
    ]
    assert (valid, test) == (None, None)
    assert train.problems == ()
    assert train.origin(0) == Origin(str(tmp_path / "B" / "1.gif"))
    assert isinstance(train[0].input, Path)


def test_what_systems_leave_in_folders_is_not_seen_and_other_files_are_counted(tmp_path: Path) -> None:
    write_images(
        tmp_path, "a/1.png", "b/1.png", ".git/x.png", "__MACOSX/a/1.png", "a/._1.png", "a/@eaDir/1.png"
    )
    for name in (
        "Thumbs.db",
        "a/desktop.ini",
        "a/notes.txt",
        "b/more/raw.HEIC",
        "b/more/raw2.heic",
        "README",
    ):
        write(tmp_path / name, "x")
    train = load(tmp_path).train
    assert table(train) == [("1.png", "a"), ("1.png", "b")]
    assert train.ignored == {".heic": 2, ".txt": 1, "": 1}
    assert "ignored: 2 .heic files, 1 suffixless file, 1 .txt file" in train.describe()
    assert train.problems == ()


@pytest.mark.parametrize(
    ("train", "name", "test"),
    [
        ("train", "valid", "test"),
        ("train", "val", "test"),
        ("train", "Validation", "test"),
        ("train", "dev", "Test"),
        ("training", "validation", "testing"),
        ("Training", "valid", "Test"),
    ],
)
def test_folders_named_train_valid_test_are_splits_that_share_labels(
    tmp_path: Path, train: str, name: str, test: str
) -> None:
    write_images(
        tmp_path,
        f"{train}/a/1.png",
        f"{train}/b/1.png",
        f"{name}/b/2.png",
        f"{test}/a/3.png",
        ".cache/x/1.png",
    )
    splits = load(str(tmp_path))
    assert [table(each) for each in splits] == [
        [("1.png", "a"), ("1.png", "b")],
        [("2.png", "b")],
        [("3.png", "a")],
    ]
    assert {each.labels for each in splits if each} == {("a", "b")}
    assert splits.valid is not None
    assert splits.valid.counts() == {"a": 0, "b": 1}


@pytest.mark.parametrize("begun", ["config.json", "checkpoints/state.json", "logs/launch.log"])
@pytest.mark.parametrize("top", ["", "train/"])
@pytest.mark.parametrize("kind", ["pictures", "unlabelled"])
def test_the_runs_of_who_trained_in_the_folder_of_the_data_are_none_of_it(
    tmp_path: Path, kind: str, top: str, begun: str
) -> None:
    write_images(tmp_path, *(f"{top}{label}/1.png" for label in "ab"))
    before = load(tmp_path, kind).describe()
    for place in ("runs/glyphs-1", "runs/glyphs-2", "mine", "some/day/glyphs", "a/one"):
        write(tmp_path / place / begun, '{"environment": {}, "command": ""}')
        if begun == "config.json":
            write_images(tmp_path, f"{place}/best/style.png")
    assert load(tmp_path, kind).describe() == before


def test_what_is_found_below_a_class_may_be_called_logs(tmp_path: Path) -> None:
    write_images(tmp_path, "wood/logs/1.png", "wood/logs/2.png", "metal/1.png", "stone/logs/one/day/1.png")
    assert load(tmp_path).train.counts() == {"metal": 1, "stone": 1, "wood": 2}


@pytest.mark.parametrize("name", ["1.png", "more/1.png", "logs/day/1.png"])
def test_a_class_in_whose_folder_a_run_was_written_is_read_as_before(tmp_path: Path, name: str) -> None:
    write_images(tmp_path, f"a/{name}", "a/more/2.png", "b/1.png")
    write(tmp_path / "a" / "config.json", '{"environment": {}, "command": ""}')
    write_images(tmp_path, "runs/one/best/style.png", "runs/one/second/best/style.png")
    for file in ("module.yaml", "labels.txt"):
        write(tmp_path / "runs" / "one" / "final" / file, "")
    for run in ("one", "one/second"):
        write(tmp_path / "runs" / run / "config.json", '{"environment": {}, "command": ""}')
    assert load(tmp_path).train.counts() == {"a": 2, "b": 1}
    with pytest.raises(UsageError, match="expected a folder for a run, found one of the data"):
        require_no_data(tmp_path / "a", tmp_path)


def test_a_link_to_itself_hides_no_other_file(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "more/2.png")
    for place in (tmp_path, tmp_path / "more"):
        (place / "self").symlink_to("self")
    assert [path.name for path in inputs.expand(tmp_path, PICTURES)] == ["1.png", "2.png"]
    assert load(tmp_path).train.counts() == {"more": 1}


def test_files_that_links_lead_to_as_well_are_named_where_they_are(tmp_path: Path) -> None:
    write_images(tmp_path, "z/deep/1.png", "z/2.png")
    for link in ("a", "m", "z/again"):
        (tmp_path / link).symlink_to(tmp_path / "z" / "deep", target_is_directory=True)
    found = inputs.expand(tmp_path, PICTURES)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["z/2.png", "z/deep/1.png"]


def test_a_folder_that_cannot_be_read_is_an_input_with_an_answer_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, "1.png", "locked/2.png")
    scandir = os.scandir

    def deny(path: str | Path) -> Any:  # root, who runs tests in containers, may read everything
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert [path.name for path in inputs.expand(tmp_path, PICTURES)] == ["1.png", "locked"]
    with pytest.raises(UsageError, match=r"locked: unreadable \(Permission denied"):
        texts_of(str(tmp_path))


def test_a_class_may_be_called_runs(tmp_path: Path) -> None:
    write_images(tmp_path, "runs/1.png", "runs/more/2.png", "walks/1.png")
    write(tmp_path / "runs" / "glyphs-1" / "config.json", '{"environment": {}, "command": ""}')
    write(tmp_path / "walks" / "config.json", "{}")
    assert load(tmp_path).train.counts() == {"runs": 2, "walks": 1}


@pytest.mark.parametrize(
    "names",
    [
        ("bus", "car", "train"),
        ("bullet_train", "freight-train", "steam train"),
        ("beaker", "bus", "car", "test_tube", "train"),
        ("detrain", "latest", "training wheels"),
        ("dev", "prod", "test"),
        ("dev/2020", "prod/2019", "test/2020"),
    ],
)
def test_a_class_may_be_called_train(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_images(tmp_path, *(f"{name}/1.png" for name in names))
    assert load(tmp_path).train.labels == tuple(name.partition("/")[0] for name in names)


@pytest.mark.parametrize("kind", ["pictures", "unlabelled"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "test1"), "test1 and train"),
        (("train_images", "val", "test", "more"), "test, train_images and val"),
        (("seg_train", "seg_test", "seg_pred"), "seg_test and seg_train"),
        (("train", "val", "train_extra"), "train, train_extra and val"),
        (("Train", "train2"), "Train and train2"),
        (("train-images", "test-images", "more"), "test-images and train-images"),
    ],
)
def test_folders_that_may_be_parts_are_not_taken_for_classes(
    tmp_path: Path, kind: str, names: tuple[str, ...], said: str
) -> None:
    write_images(tmp_path, *(f"{name}/{label}/1.png" for name in names for label in "ab"))
    with pytest.raises(DataError, match=f"{said}: are these parts or classes") as caught:
        load(tmp_path, kind)
    assert "call folders of parts train, valid and test" in caught.value.hint


def test_frames_and_mappings_of_labelled_pictures_are_taken() -> None:
    frame = pytest.importorskip("pandas").DataFrame({"path": ["a.png", "b.png"], "label": ["x", "y"]})
    splits = load({"training": frame, "validation": frame[:1]})
    assert [table(part) for part in (splits.train, splits.valid)] == [
        [("a.png", "x"), ("b.png", "y")],
        [("a.png", "x")],
    ]
    assert load(frame).train.name == "DataFrame"
    with pytest.raises(DataError, match="dict: expected a part called train, found test alone"):
        load({"test": frame})


@pytest.mark.parametrize("kind", ["pictures", "unlabelled"])
@pytest.mark.parametrize("names", [("val", "testing"), ("val", "testing", "more")])
def test_parts_without_one_to_learn_from_are_refused(
    tmp_path: Path, kind: str, names: tuple[str, ...]
) -> None:
    write_images(tmp_path, *(f"{name}/{label}/1.png" for name in names for label in "ab"))
    with pytest.raises(DataError, match="expected a part called train, found valid and test alone"):
        load(tmp_path, kind)


def test_parts_of_which_none_is_for_training_can_be_measured_on_and_chosen_by(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"ev/{name}/{label}/{name}.png" for name in ("val", "test") for label in "ab"))
    pairs = [(tmp_path / f"ev/test/{label}/test.png", label) for label in "ab"]
    for data in (tmp_path / "ev", {"test": pairs}, {"test": tmp_path / "ev" / "test"}):
        found = prepare_evaluation(data, labels=["a", "b"], multi_label=False)
        assert table(found) == [("test.png", "a"), ("test.png", "b")]
    write_images(tmp_path, *(f"more/{label}/train.png" for label in "ab"))
    parts = prepare(tmp_path / "more", valid=tmp_path / "ev", test=tmp_path / "ev")
    assert [table(part)[0][0] for part in (parts.train, parts.valid, parts.test)] == [
        "train.png",
        "val.png",
        "test.png",
    ]
    with pytest.raises(DataError, match="expected a part called train, found valid and test alone"):
        prepare(tmp_path / "ev")


@pytest.mark.parametrize(("kind", "prepared"), [("pictures", prepare), ("unlabelled", prepare_unlabelled)])
def test_folders_beside_train_and_test_are_left_out_with_a_note(
    tmp_path: Path, kind: str, prepared: Any
) -> None:
    write_images(
        tmp_path,
        *(f"{name}/{label}/{name}{n}.png" for name in ("train", "test") for label in "ab" for n in range(3)),
    )
    assert "left out" not in prepared(tmp_path).describe()
    write_images(tmp_path, "train_extra/a/x.png", "test_images/y.png", "more/a/z.png")
    splits = load(tmp_path, kind)
    assert [len(part) for part in (splits.train, splits.test)] == [6, 6]
    said = "more, test_images, train_extra beside test, train: left out"
    assert said in prepared(tmp_path).describe()


def test_the_parts_of_a_mapping_may_be_paths(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "file,kind\n1.png,x\n2.png,y\n")
    write(tmp_path / "split" / "train.csv", "file,kind\n5.png,x\n")
    write(tmp_path / "split" / "valid.csv", "file,kind\n3.png,y\n")
    given = {"train": str(tmp_path / "a.csv"), "valid": tmp_path / "split", "test": [("4.png", "x")]}
    with pytest.raises(UsageError, match="label_column: only tables"):
        load(given, label_column="kind")
    given.pop("test")
    splits = load(given, label_column="kind")
    assert [table(part) for part in (splits.train, splits.valid)] == [
        [("1.png", "x"), ("2.png", "y")],
        [("3.png", "y")],
    ]
    texts = {"train": write(tmp_path / "t.csv", "text,label\n你,好\n".encode("gbk"))}
    assert load(texts, kind="texts", encoding="gbk").train.labels == ("好",)
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        load({"train": "nowhere.csv"})
    with pytest.raises(UsageError, match="valid: expected a path, found an empty text"):
        load({"train": tmp_path / "a.csv", "valid": ""}, label_column="kind")


def test_lists_beside_the_classes_say_what_is_not_for_training(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"{label}/{n} x.png" for label in "ab" for n in range(4)))
    write(tmp_path / "validation_list.txt", "a/0 x.png\nb/0 x.png\n\n")
    write(tmp_path / "testing_list.txt", "./a/1 x.png 0\nb/9.png\n")
    splits = load(tmp_path)
    assert [[name for name, _ in table(part)] for part in splits] == [
        ["2 x.png", "3 x.png", "1 x.png", "2 x.png", "3 x.png"],
        ["0 x.png", "0 x.png"],
        ["1 x.png"],
    ]
    assert problems(splits.train) == [
        f"{tmp_path / 'testing_list.txt'}, row 2: missing file 'b/9.png' (expected a file of a class in {tmp_path})"
    ]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert len(load(tmp_path).train) == 2


def test_names_from_macos_are_the_same_class_as_names_from_linux(tmp_path: Path) -> None:
    write_images(tmp_path, unicodedata.normalize("NFD", "train/café/1.png"), "train/tea/1.png")
    write_images(tmp_path, unicodedata.normalize("NFC", "valid/café/2.png"))
    splits = load(tmp_path)
    assert splits.train.labels == (unicodedata.normalize("NFC", "café"), "tea")
    assert problems(splits.valid) == []


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere names of files are Unicode whatever the locale"
)
def test_class_folders_have_the_same_names_in_every_locale(tmp_path: Path, python: str) -> None:
    write_images(tmp_path, "ü猫/a.png", "b/b.png")
    code = "import sys; from hub.datasets import load; print(ascii(load(sys.argv[1]).train.labels))"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [python, "-c", code, str(tmp_path)], capture_output=True, text=True, env={**os.environ, **plain}
    )
    assert done.stdout.strip() == ascii(("b", "ü猫")), done.stderr


def test_ten_thousand_files_are_listed_and_none_is_opened(tmp_path: Path) -> None:
    for label in range(10):
        (tmp_path / f"class{label}").mkdir()
        for number in range(1000):
            (tmp_path / f"class{label}" / f"image_{number:05d}.jpg").touch()
    opened: list[str] = []
    watching = True

    def watch(event: str, details: tuple[object, ...]) -> None:  # for good: a hook cannot be taken back
        if watching and event == "open" and str(details[0]).endswith(".jpg"):
            opened.append(str(details[0]))

    sys.addaudithook(watch)
    train = load(tmp_path).train
    watching = False
    assert not opened
    assert train.counts() == {f"class{label}": 1000 for label in range(10)}


# ---- list files ----


def test_paddlehub_list_files_are_read_with_all_their_quirks(tmp_path: Path) -> None:
    write(tmp_path / "label_list.txt", "roses\r\ntulips\r\n郁 金香\r\n")
    write(
        tmp_path / "train_list.txt", "\ufeffroses/a b.jpg 0\r\nt/中文.jpg\t1\r\n../outside/c.jpg  2\r\n\r\n"
    )
    write(tmp_path / "validate_list.txt", "roses/d.jpg 0\n")
    write(tmp_path / "test_list.txt", "roses/e.jpg 2")
    splits = load(tmp_path)
    assert splits.train.labels == ("roses", "tulips", "郁 金香"), (
        "the order of label_list.txt, which the numbers count"
    )
    assert table(splits.train) == [("a b.jpg", "roses"), ("中文.jpg", "tulips"), ("c.jpg", "郁 金香")]
    assert table(splits.valid) == [("d.jpg", "roses")]
    assert table(splits.test) == [("e.jpg", "郁 金香")]
    assert problems(splits.train) == []
    assert splits.train[0].input == tmp_path / "roses" / "a b.jpg"
    assert str(splits.train.origin(1)) == f"{tmp_path / 'train_list.txt'}, row 2"


def test_without_a_label_list_the_numbers_are_the_names(tmp_path: Path) -> None:
    lines = [f"{number}.jpg {number}" for number in (10, 2, 1, 7)]
    train = load(write(tmp_path / "any.txt", "\n".join(lines))).train
    assert train.labels == ("1", "2", "7", "10")
    assert table(train) == [("10.jpg", "10"), ("2.jpg", "2"), ("1.jpg", "1"), ("7.jpg", "7")]


def test_numbers_that_are_names_mean_the_same_in_every_split(tmp_path: Path) -> None:
    write(tmp_path / "train_list.txt", "a.jpg 1\nb.jpg 2\n")
    write(tmp_path / "val_list.txt", "c.jpg 1\nd.jpg 2\n")
    assert table(load(tmp_path).valid) == [("c.jpg", "1"), ("d.jpg", "2")]


# ---- tables ----

GOOD_TABLES = {
    "plain.csv": "path,label\na.png,cat\nb.png,dog\n",
    "bom_crlf.csv": "\ufeffPath,Label\r\na.png,cat\r\nb.png,dog\r\n\r\n",
    "quoted.csv": '"image","class"\n"a.png","cat"\n"b.png"," dog "\n',
    "more_columns.csv": "id,File Name,width,category\n1,a.png,3,cat\n2,b.png,,dog",
    "trailing_comma.csv": "path,label\na.png,cat,\nb.png,dog,\n",
    "semicolons.csv": "path;label\na.png;cat\nb.png;dog\n",
    "tabs.tsv": "label\timg\ncat\ta.png\ndog\tb.png\n",
    "open_quotes.tsv": 'path\tsentence\tlabel\na.png\t"I am going.\tcat\nb.png\tSo are you."\tdog\n',
    "tab_in_quotes.tsv": 'path\tcaption\tlabel\tnote\na.png\t"a\tb"\tcat\t\nb.png\t"Say ""b"""\tdog\t""\n',
    "quoted.tsv": '"path"\t"label"\r\n"a.png"\t"cat"\r\n"b.png"\t"dog"\r\n',
    "lines.jsonl": '{"image": "a.png", "label": "cat"}\n{"label": "dog", "image": "b.png", "extra": null}\n',
    "upper.CSV": "FILENAME,TARGET\na.png,cat\nb.png,dog\n",
}


@pytest.mark.parametrize("name", GOOD_TABLES)
def test_tables_find_their_columns(tmp_path: Path, name: str) -> None:
    train = load(write(tmp_path / name, GOOD_TABLES[name])).train
    assert problems(train) == []
    assert train.labels == ("cat", "dog")
    assert table(train) == [("a.png", "cat"), ("b.png", "dog")]
    assert train[0].input == tmp_path / "a.png", "paths count from the table's folder"
    assert train.origin(1).row == (2 if name == "lines.jsonl" else 3), "the line that an editor shows"


def test_a_caption_of_several_lines_is_one_cell_of_a_tsv(tmp_path: Path) -> None:
    content = 'caption\tpath\tlabel\r\n"two\n\nlines"\ta.png\tcat\r\n"I am\tb.png\tdog\r\n'
    train = load(write(tmp_path / "a.tsv", content)).train
    assert problems(train) == []
    assert table(train) == [("a.png", "cat"), ("b.png", "dog")]
    assert [train.origin(n).row for n in range(2)] == [2, 5]


def test_columns_can_be_named_and_paths_can_be_absolute_or_chinese(tmp_path: Path) -> None:
    source = write(
        tmp_path / "t.csv", f"path,label,文件,真 值\nx,y,{tmp_path}/图 片/一.png,猫\nx,y,二.png,狗\n"
    )
    train = load(source, path_column="文件", label_column="真 值").train
    assert train.labels == ("狗", "猫")
    assert [sample.input for sample in train] == [tmp_path / "图 片" / "一.png", tmp_path / "二.png"]


def test_rows_are_counted_as_lines_even_where_a_cell_has_two(tmp_path: Path) -> None:
    train = load(write(tmp_path / "t.csv", 'note,path,label\n"two\nlines",a.png,x\nplain,b.png,y\n')).train
    assert [train.origin(i).row for i in range(2)] == [2, 4]


def test_a_folder_of_tables_is_a_set_of_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "path,label\na.png,x\nb.png,y\n")
    write(tmp_path / "dev.csv", "path,label\nc.png,y\n")
    write_images(tmp_path, "images/a.png")
    splits = load(tmp_path)
    assert table(splits.train) == [("a.png", "x"), ("b.png", "y")]
    assert table(splits.valid) == [("c.png", "y")]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("t.csv", "path,labels\na.png,cat|dog\nb.png,dog\nc.png,\n", {"multi_label": True}),
        (
            "t.csv",
            "path,labels\na.png,cat / dog\nb.png,dog\nc.png,\n",
            {"multi_label": True, "label_separator": "/"},
        ),
        (
            "t.jsonl",
            '{"path":"a","label":["dog","cat"]}\n{"path":"b","label":"dog"}\n{"path":"c","label":[]}',
            {},
        ),
    ],
)
def test_several_labels_for_a_sample(tmp_path: Path, name: str, text: str, options: dict[str, Any]) -> None:
    train = load(write(tmp_path / name, text), **options).train
    assert problems(train) == []
    assert train.multi_label
    assert train.labels == ("cat", "dog")
    assert [sample.label for sample in train] == [(0, 1), (1,), ()]
    assert train.targets().tolist() == [[1, 1], [0, 1], [0, 0]]
    assert train.counts() == {"cat": 1, "dog": 2}


def test_a_separator_in_a_name_is_left_alone_unless_there_are_several_labels(tmp_path: Path) -> None:
    assert load(write(tmp_path / "t.csv", "path,label\na,x|y\nb,z\n")).train.labels == ("x|y", "z")


def test_labels_of_jsonl_may_be_numbers_or_truth_values(tmp_path: Path) -> None:
    rows = [{"path": f"{number}.png", "label": label} for number, label in enumerate([10, 9, 10])]
    train = load(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows)))).train
    assert train.labels == ("9", "10")
    train = load(
        write(tmp_path / "u.jsonl", '{"path": "a", "label": true}\n{"path": "b", "label": false}')
    ).train
    assert train.labels == ("false", "true")


# ---- what cannot be read at all ----


@pytest.mark.parametrize("kind", [None, "pictures", "masks", "unlabelled"])
def test_the_home_of_a_user_that_there_is_not_is_no_such_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no such file or folder|there is no '~nobody-at-all'"):
        load("~nobody-at-all/data", kind)


@pytest.mark.parametrize(
    ("source", "files", "options", "error", "said"),
    [
        ("flower", {"flowers/a/1.png": ""}, {}, DataError, "no such file or folder\n  hint: did you mean 'flowers'?"),
        ("x/flowers", {"y.txt": ""}, {}, DataError, "there is no 'x' in"),
        ("~nobody-at-all/flowers", {"y.txt": ""}, {}, DataError, "there is no '~nobody-at-all' in"),
        ("A" * 300, {"y.txt": ""}, {}, DataError, "File name too long"),
        ("nul\0", {"y.txt": ""}, {}, DataError, "no such file or folder"),
        ("zzz", {"a.txt": "", ".hid": ""}, {}, DataError, "has: a.txt"),
        ("d", {f"d/{number}.txt": "" for number in range(17)}, {}, DataError, "d: 17 .txt files, no images"),
        ("d", {"d/a/1.txt": "", "d/b/2.md": ""}, {}, DataError, "d: 2 folders, 1 .md file, 1 .txt file, no images"),
        ("d", {"d/1.png": "", "d/2.jpg": ""}, {}, DataError, "d: 2 images but no class folders"),
        ("d", {"d/.hidden": ""}, {}, DataError, "d: the folder is empty"),
        ("d.zip", {"d.zip": ""}, {}, DataError, "a .zip file is no dataset"),
        ("d", {"d/train/a/1.png": "", "d/val/b/x": "", "d/valid/b/x": ""}, {}, DataError, "are both valid data"),
        ("d", {"d/a/1.png": ""}, {"path_column": "p"}, UsageError, "path_column: only tables"),
        ("d", {"d/a/1.png": ""}, {"kind": ["masks"]}, UsageError, "expected a name such as 'pictures', found list"),
        ("d.csv", {"d.csv": ""}, {"label_separator": "/"}, UsageError, "together with multi_label=True"),
        ("d.txt", {"d.txt": ""}, {"label_column": "p"}, UsageError, "label_column: only tables"),
        ("d.csv", {"d.csv": "path,label"}, {"labels": ["a", "a"]}, UsageError, "found a more than once"),
        ("d.csv", {"d.csv": "path,label"}, {"labels": "abc"}, UsageError, "expected a list of class names, found 'a"),
        ("d.csv", {"d.csv": "path,label"}, {"labels": []}, UsageError, "expected a list of class names, found []"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_what_was_found(
    tmp_path: Path, source: str, files: dict[str, str], options: dict[str, Any], error: type, said: str
) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(error) as caught:
        load(tmp_path / source, **options)
    assert said in str(caught.value)
