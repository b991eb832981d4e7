"""Sounds from folders, tables, lists, ESC-50's layout, arrays and objects, by the same code as pictures."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub import inputs
from hub.datasets import KINDS, Dataset, builtin, check, load, prepare, prepare_evaluation
from hub.errors import DataError, InputError, IntegrityError, UsageError
from hub.registry.transport import MemoryTransport
from tests import sounds

pytest.importorskip("soundfile")

SOUNDS = KINDS["sounds"]
ROOT = Path(__file__).parents[1]


def names(dataset: Dataset | None) -> list[tuple[str, str]]:
    assert dataset is not None
    return [(Path(sample.input).name, dataset.labels[sample.label]) for sample in dataset]


def touch(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


# ---- folders, lists and tables ----


def test_a_folder_per_class_takes_sounds_and_passes_over_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "dog/1.wav", "dog/deep/2.FLAC", "rain/3.ogg", "rain/4.mp3", "rain/cover.jpg", "notes.txt")
    train, valid, test = load(tmp_path, "sounds")
    assert names(train) == [("1.wav", "dog"), ("2.FLAC", "dog"), ("3.ogg", "rain"), ("4.mp3", "rain")]
    assert (valid, test) == (None, None)
    assert train.ignored == {".jpg": 1, ".txt": 1}
    assert train.kind is SOUNDS


def test_the_parts_of_speech_commands_are_those_of_its_lists(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{word}/{n}.wav" for word in ("no", "yes") for n in range(3)))
    touch(tmp_path, "_background_noise_/running_tap.wav", "_background_noise_/README.md")
    text(tmp_path / "validation_list.txt", "yes/0.wav\nno/0.wav\n")
    text(tmp_path / "testing_list.txt", "yes/1.wav\nno/1.wav\n")
    found = load(tmp_path, "sounds")
    assert names(found.train) == [("2.wav", "no"), ("2.wav", "yes")]
    assert names(found.valid) == [("0.wav", "yes"), ("0.wav", "no")]
    assert names(found.test) == [("1.wav", "yes"), ("1.wav", "no")]
    assert "1 _background_noise_ .wav file" in found.describe()


def test_messages_speak_of_sounds(tmp_path: Path) -> None:
    touch(tmp_path / "pictures", "dog/1.jpg")
    with pytest.raises(DataError, match=r"1 folder, 1 \.jpg file, no sounds") as caught:
        load(tmp_path / "pictures", SOUNDS)
    assert "with its sounds inside: sounds/dog/1.wav" in caught.value.hint
    touch(tmp_path / "loose", "1.wav", "2.wav")
    with pytest.raises(DataError, match="2 sounds but no class folders with sounds"):
        load(tmp_path / "loose", SOUNDS)
    touch(tmp_path / "one", "dog/1.wav", "cat/1.txt", "9.wav")
    problems = [str(problem) for problem in load(tmp_path / "one", SOUNDS).train.problems]
    assert "no sounds; found 1 .txt file" in problems[0]
    assert "expected the sound inside a folder named after its class" in problems[1]


@pytest.mark.parametrize("column", ["path", "audio", "wav", "File Name"])
def test_tables_find_the_sounds_column(tmp_path: Path, column: str) -> None:
    path = text(tmp_path / "a.csv", f"{column},label\na.wav,dog\nb.wav,cat\n")
    assert names(load(path, SOUNDS).train) == [("a.wav", "dog"), ("b.wav", "cat")]


def test_jsonl_and_list_files_hold_sounds(tmp_path: Path) -> None:
    rows = [{"audio": "a.wav", "label": ["dog", "rain"]}, {"audio": "b.wav", "label": ["rain"]}]
    path = text(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    train = load(path, SOUNDS).train
    assert train.multi_label
    assert [sample.label for sample in train] == [(0, 1), (1,)]
    text(tmp_path / "lists" / "label_list.txt", "dog\nrain\n")
    path = text(tmp_path / "lists" / "train_list.txt", "my dog.wav 0\nb.wav 1\n")
    assert names(load(tmp_path / "lists", SOUNDS).train) == [("my dog.wav", "dog"), ("b.wav", "rain")]


# ---- ESC-50 ----


def esc50(root: Path) -> Path:
    """ESC-50's layout with two classes and five folds."""
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, label in ((0, "dog"), (10, "rain")):
            name = f"{fold}-{100 + target}-A-{target}.wav"
            lines.append(f"{name},{fold},{target},{label},True,{100 + target},A")
            sounds.write(root / "audio" / name, sounds.sound(sounds.LABELS[target // 10], fold))
    text(root / "meta" / "esc50.csv", "\n".join(lines) + "\n")
    return root


def test_esc50s_layout_has_a_fold_for_testing(tmp_path: Path) -> None:
    folder = esc50(tmp_path)
    train, valid, test = load(folder, SOUNDS)
    assert (len(train), valid) == (8, None)
    assert names(test) == [("5-100-A-0.wav", "dog"), ("5-110-A-10.wav", "rain")]
    assert str(train.origin(0)) == f"{folder / 'meta' / 'esc50.csv'}, row 2"
    assert Path(train[0].input) == folder / "audio" / "1-100-A-0.wav"
    train, _, test = load(folder, SOUNDS, fold=2)
    assert [name[0] for name, _ in names(test)] == ["2", "2"]
    check(train, test)
    with pytest.raises(UsageError, match="fold: expected one of 1, 2, 3, 4, 5, found 6"):
        load(folder, SOUNDS, fold=6)


def test_its_missing_files_are_reported_with_their_rows(tmp_path: Path) -> None:
    folder = esc50(tmp_path)
    (folder / "audio" / "3-100-A-0.wav").unlink()
    with pytest.raises(DataError, match=r"esc50\.csv, row 6: missing file"):
        prepare(folder, kind=SOUNDS)


# ---- PaddleHub's arrays ----


def arrays(path: Path, each: int = 2, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [
        (sounds.sound(label, n), number) for n in range(each) for number, label in enumerate(sounds.LABELS)
    ]
    waveforms, labels = zip(*found, strict=True)
    np.savez(path, **{"waveforms": np.stack(waveforms), "labels": np.array(labels), **more})
    return path


def test_arrays_of_paddlehub_are_read_with_the_rate_that_they_do_not_say(tmp_path: Path) -> None:
    arrays(tmp_path / "train.npz")
    arrays(tmp_path / "dev.npz", each=1)
    with pytest.raises(DataError, match="does not say its sample rate") as caught:
        load(tmp_path, SOUNDS)
    assert "rate=44100" in caught.value.hint
    train, valid, _ = load(tmp_path, SOUNDS, rate=sounds.RATE)
    assert (len(train), len(valid or [])) == (6, 3)
    assert train.labels == ("0", "1", "2")
    samples, rate = train[4].input
    assert rate == sounds.RATE
    assert (samples == sounds.sound("hiss", 1)).all()
    text(tmp_path / "label_list.txt", "buzz\nhiss\nrise\n")
    assert load(tmp_path, SOUNDS, rate=8000).train.labels == ("buzz", "hiss", "rise")
    check(train, valid)


def test_arrays_that_say_their_rate_need_none(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a.npz", sample_rate=np.array(8000))
    assert load(path, SOUNDS).train[0].input[1] == 8000
    with pytest.raises(UsageError, match="says 8000 Hz, found 16000"):
        load(path, SOUNDS, rate=16_000)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_arrays_may_be_packed_by_any_method_of_zip_however_small_they_become(
    tmp_path: Path, method: int
) -> None:
    quiet = arrays(
        tmp_path / "a.npz", waveforms=np.zeros((6, 20_000), np.float32), sample_rate=np.array(8000)
    )
    with zipfile.ZipFile(quiet) as one, zipfile.ZipFile(tmp_path / "b.npz", "w", method) as other:
        for name in one.namelist():
            other.writestr(name, one.read(name))
    assert len(load(tmp_path / "b.npz", SOUNDS).train) == 6


def pickled(path: Path) -> Path:
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(3), np.ones(4)]
    np.savez(path, waveforms=ragged, labels=np.array([0, 1]))
    return path


def promising(path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """An .npz whose header promises a terabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 18, 1 << 20)}
    )
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("waveforms.npy", header.getvalue() + bytes(100))
    return path


def promising_twice(path: Path) -> Path:
    """An .npz whose header promises four gigabytes, as does the zip file's directory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 10, (1 << 20) - 1)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("waveforms.npy", header.getvalue() + bytes(100))
    data = bytearray(path.read_bytes())
    size = data.find(b"PK\x01\x02") + 24
    data[size : size + 4] = b"\xfe\xff\xff\xff"
    path.write_bytes(data)
    return path


def described_as(header: str) -> Callable[[Path], Path]:
    """An .npz of an array with this header."""

    def make(path: Path) -> Path:
        line = header.encode().ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("waveforms.npy", b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line)
        return path

    return make


def damaged(*changes: tuple[int, int], central: tuple[tuple[int, int], ...] = ()) -> Callable[[Path], Path]:
    """A compressed .npz with other bytes at these places of its first entry, and of that in its directory."""

    def make(path: Path) -> Path:
        np.savez_compressed(path, waveforms=np.ones((2, 9)), labels=np.arange(2))
        data = bytearray(path.read_bytes())
        start = data.find(b"PK\x01\x02")
        for place, value in [*changes, *((start + place, value) for place, value in central)]:
            data[place] = value
        path.write_bytes(data)
        return path

    return make


def rated(rate: Any) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        np.savez(path, waveforms=np.ones((2, 9)), labels=np.arange(2), sample_rate=rate)
        return path

    return make


BEHIND_NAME = 30 + len("waveforms.npy") + 20
"""Where the bytes of a compressed array begin, behind the header, the name and what zipfile adds to it."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (described_as("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 400, }"), "one that is damaged"),
        (described_as("(" * 100), "one that is damaged"),
        (
            damaged((8, 99), central=((10, 99),)),
            "one that is damaged: That compression method is not supported",
        ),
        (damaged((6, 1), central=((8, 1),)), "one that is damaged: .*encrypted"),
        (damaged((BEHIND_NAME, 0xFF)), "one that is damaged: .*decompressing"),
        *(
            (rated(rate), r"sample_rate: expected a whole number from 1,000 to 768,000 Hz, found " + found)
            for rate, found in [
                (8000.7, "8000.7"),
                (np.nan, "nan"),
                (np.inf, "inf"),
                (0, "0"),
                (-5, "-5"),
                (1e300, r"1e\+300"),
                ([8000, 1], r"\[8000, 1\]"),
                ("fast", "'fast'"),
            ]
        ),
        (pickled, "cannot be read without running code"),
        (promising, "waveforms.npy promises 1,099,511,627,776 bytes, found"),
        (
            lambda p: promising(p, zipfile.ZIP_LZMA),
            "waveforms.npy promises 1,099,511,627,776 bytes, found at most 100$",
        ),
        (promising_twice, "waveforms.npy promises 4,294,963,200 bytes, found at most [0-9,]{6,8}$"),
        (lambda p: p.write_bytes(b"no zip") and p, "expected an .npz file, found one that is damaged"),
        (lambda p: np.savez(p, x=np.ones(3)) or p, "expected arrays called waveforms and labels, found x"),
        (lambda p: np.savez(p, waveforms=np.ones(3), labels=np.ones(3, int)) or p, "found shapes"),
        (lambda p: np.savez(p, waveforms=np.ones((3, 9)), labels=np.ones(2, int)) or p, "found shapes"),
    ],
)
def test_arrays_that_are_something_else_are_named(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path / "a.npz")
    with pytest.raises(DataError, match=message):
        load(path, SOUNDS, rate=8000)


LITTLE_MEMORY = """
import resource, sys
from hub.datasets import load
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
try:
    load(sys.argv[1], "sounds", rate=8000)
except MemoryError as problem:
    print(problem)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no limit on memory that is used")
def test_arrays_that_memory_is_too_little_for_are_not_called_damaged(tmp_path: Path, python: str) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, waveforms=np.zeros((2, 1 << 24), np.float32), labels=np.arange(2))
    done = subprocess.run(
        [python, "-c", LITTLE_MEMORY, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("Unable to allocate 128. MiB"), done.stderr


def test_options_of_other_layouts_are_refused(tmp_path: Path) -> None:
    folder = sounds.folder(tmp_path, 1)
    with pytest.raises(UsageError, match=r"fold: only ESC-50's layout"):
        load(folder, SOUNDS, fold=1)
    with pytest.raises(UsageError, match=r"rate: only \.npz files"):
        load(folder, SOUNDS, rate=8000)
    with pytest.raises(UsageError, match="fold"):
        load(sounds.samples(1), SOUNDS, fold=1)
    with pytest.raises(DataError, match=r"a \.npz file is no dataset"):
        load(arrays(tmp_path / "a.npz"))


# ---- objects ----


def test_objects_give_arrays_with_rates_or_paths(tmp_path: Path) -> None:
    array = sounds.sound("buzz", 0)
    items = [
        ((array, 8000), "dog"),
        (tmp_path / "a.wav", "rain"),
        {"audio": {"array": array.tolist(), "sampling_rate": 8000, "path": None}, "label": "dog"},
        {"sound": (array, np.int64(8000)), "label": "rain"},
        ((array, 8000.0), "dog"),
        ((8000, array), "rain"),
    ]
    train = load(items, SOUNDS).train
    assert train.problems == ()
    assert [train.path(n) for n in range(6)] == [None, str(tmp_path / "a.wav"), None, None, None, None]
    for n in (0, 2, 3, 4, 5):
        found, rate = train[n].input
        assert (found == array).all()
        assert type(rate) is int


def test_arrays_without_a_rate_and_other_things_are_problems() -> None:
    items = [
        (np.ones(9), "dog"),
        ((np.ones(9), 8000), "dog"),
        ((np.ones(9), 8000.5), "cat"),
        {"image": 1, "label": 2},
    ]
    problems = [str(problem) for problem in load(items, SOUNDS).train.problems]
    assert "item 0: bad item (expected the sound as a path or (array, rate), found ndarray)" in problems
    assert "item 2: bad item (expected the sound as a path or (array, rate), found tuple of 2)" in problems
    assert "item 3: bad item (expected the keys sound and label, found image, label)" in problems


# ---- check and prepare ----


def test_what_cannot_be_heard_is_reported_with_its_place(tmp_path: Path) -> None:
    sounds.folder(tmp_path, 2)
    sounds.write(tmp_path / "buzz" / "silent.wav", np.zeros(800))
    (tmp_path / "hiss" / "broken.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "hiss" / "empty.wav").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, kind="sounds")
    message = caught.value.message
    for place in (
        "silent.wav: unreadable (the sound is silent",
        "broken.wav: unreadable",
        "empty.wav: empty file",
    ):
        assert place in message
    prepared = prepare(tmp_path, kind="sounds", valid=False, on_bad="skip")
    assert len(prepared.train) == 6
    with pytest.raises(DataError) as caught:
        prepare([*sounds.samples(1)], kind="sounds")
    assert caught.value.hint.startswith("add sounds, pass valid=")


def test_evaluation_takes_the_test_part_and_the_modules_labels(tmp_path: Path) -> None:
    folder = esc50(tmp_path)
    found = prepare_evaluation(folder, labels=("rain", "dog"), multi_label=False, kind=SOUNDS)
    assert len(found) == 2
    assert found.labels == ("rain", "dog")


def test_a_dataset_of_another_kind_is_refused() -> None:
    pictures = load([(np.zeros((4, 4), np.uint8), "a"), (np.ones((4, 4), np.uint8), "b")])
    with pytest.raises(UsageError, match="expected sounds, found a dataset of pictures") as caught:
        load(pictures, SOUNDS)
    assert caught.value.hint.startswith("what is loaded keeps its kind")
    assert 'kind="sounds"' in caught.value.hint
    with pytest.raises(UsageError, match="kind"):
        load(pictures, "sound")


# ---- inputs of predict ----


def test_sounds_for_predict_are_told_from_lists_of_them(tmp_path: Path) -> None:
    sounds.folder(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("no sound", encoding="utf-8")
    one = (sounds.sound("buzz", 0), 8000)
    assert inputs.expand(one, SOUNDS) == [one]
    assert inputs.expand([one, one], SOUNDS) == [one, one]
    assert [Path(p).parent.name for p in inputs.expand(tmp_path, SOUNDS)] == ["buzz", "hiss", "rise"]
    assert inputs.expand(["a.wav", one], SOUNDS) == ["a.wav", one]
    assert len(inputs.expand(one[0], SOUNDS)) == 1, "an array without a rate is one bad input, not thousands"
    with next(tmp_path.rglob("*.wav")).open("rb") as file:
        assert inputs.expand(file, SOUNDS) == [file], "and not an input for each of its lines"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sounds in this folder"):
        inputs.expand(tmp_path / "empty", SOUNDS)


# ---- by name ----


def archive_of(folder: Path, name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, name)
    return file.getvalue()


def test_esc50_by_name_is_fetched_once_and_has_its_class_names(tmp_path: Path, empty_home: Path) -> None:
    arrays(tmp_path / "esc50" / "train.npz")
    arrays(tmp_path / "esc50" / "dev.npz", each=1)
    url = builtin.BUILT_IN["ESC50"].url
    web = MemoryTransport({url: archive_of(tmp_path / "esc50", "esc50")})
    train, valid, test = builtin.load_by_name("ESC50", transport=web)
    assert (len(train), len(valid or []), test) == (6, 3, None)
    assert len(train.labels) == 50
    assert [train.labels[sample.label] for sample in train][:3] == ["dog", "rooster", "pig"]
    assert train[0].input[1] == 44_100
    count = len(web.requests)
    builtin.load_by_name("ESC50", transport=web)
    assert len(web.requests) == count, "the second time it is here"


def test_another_archive_than_the_first_time_is_refused(tmp_path: Path, empty_home: Path) -> None:
    touch(tmp_path / "canvas", "train/1.jpg")
    url = builtin.BUILT_IN["Canvas"].url
    web = MemoryTransport({url: archive_of(tmp_path / "canvas", "canvas")})
    folder = builtin.fetch("Canvas", transport=web)
    assert (folder / "train" / "1.jpg").is_file()
    folder.parent.rename(tmp_path / "moved")
    touch(tmp_path / "canvas", "train/2.jpg")
    web.documents[url] = archive_of(tmp_path / "canvas", "canvas")
    with pytest.raises(IntegrityError, match="expected sha256"):
        builtin.fetch("Canvas", transport=web)


def test_names_are_corrected_and_sets_without_labels_are_not_loaded() -> None:
    with pytest.raises(UsageError, match="ESC50"):
        builtin.fetch("ESC-50")
    with pytest.raises(UsageError, match="Canvas has no class labels"):
        builtin.load_by_name("Canvas")


# ---- the digits that ship ----
