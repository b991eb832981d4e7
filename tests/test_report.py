"""The page of a run: what it says, that data cannot become markup, that it stays small, and who can read it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import wave
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

from hub.errors import StorageError, UsageError
from hub.finetune import charts, report_findings, report_page
from hub.finetune.report import MOST_CLASSES_DRAWN, MOST_MISTAKES, Audio, Mistake, Report, render, write
from hub.tasks.classification_metrics import MultiLabelMeter, SingleLabelMeter

LABELS = ("daisy", "rose", "tulip")
VOID = {"meta", "link", "img", "br"}
TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "header", "nav", "main", "section", "h1", "h2", "p",
    "ul", "li", "a", "div", "strong", "span", "bdi", "code", "pre", "figure", "figcaption", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "svg", "g", "line", "polyline", "path", "text", "img", "audio", "blockquote",
    "dl", "dt", "dd",
}  # fmt: skip
MEGABYTE = 1_000_000


class Page(HTMLParser):
    """A page as a strict reader sees it: every element closed in order, text and attributes collected."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self._open[-1] if self._open else ""
        self.text[where] = self.text.get(where, "") + data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment that nobody wrote")

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        found = [attributes for name, attributes in self.elements if name == tag]
        return [one for one in found if all(one.get(k.rstrip("_")) == v for k, v in wanted.items())]

    def words(self) -> str:
        return " ".join(text for tag, text in self.text.items() if tag != "style")


def metrics(matrix: list[list[int]], labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """What the task's own meter gives for a confusion matrix."""
    meter = SingleLabelMeter(labels)
    counts = np.array(matrix)
    rows, columns = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    meter.update(np.eye(len(labels))[columns], rows)
    return meter.compute()


def row(epoch: int, train: float | None, valid: float, accuracy: float) -> dict[str, Any]:
    training = {} if train is None else {"train_loss": train, "learning_rate": 5e-4 / (1 + epoch)}
    return {
        "epoch": epoch,
        **training,
        "valid_loss": valid,
        "valid_accuracy": accuracy,
        "valid_f1_macro": accuracy,
    }


HISTORY = [
    row(0, None, 0.9, 0.70),
    row(1, 0.8, 0.6, 0.80),
    row(2, 0.5, 0.4, 0.95),
    row(3, 0.4, 0.41, 0.94),
]
GOOD = Report(
    title="flowers from a small network",
    task="image_classification",
    data="flowers/: 3 classes\n  200 samples for training",
    config={"epochs": 3, "metric": "accuracy", "class_weight": None, "learning_rate": 5e-4},
    history=HISTORY,
    metrics=metrics([[190, 8, 2], [5, 195, 0], [3, 0, 197]]),
    test_metrics=metrics([[95, 3, 2], [3, 97, 0], [2, 0, 98]]),
    best_epoch=2,
    labels=LABELS,
    mistakes=[Mistake("flowers/valid/daisy/7.png", "daisy", "rose", 0.81, np.full((8, 12), 200, np.uint8))],
    environment={"hub": "1.0.0", "paddle": "3.3.1", "device": "cpu"},
    command='module.finetune("flowers/", epochs=3)\nmodule.run.report("report.html")',
)


# ---- what it says ----


def test_everything_that_was_asked_for_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "new folder" / "report.html", GOOD)
    page = Page(path.read_text(encoding="utf-8"))
    words = page.words()
    for expected in [
        "Accuracy 97.0 % (95 % interval 95.3 % to 98.1 %) on 600 validation samples at epoch 2.",
        "Accuracy 96.7 %", "on 300 test samples", "flowers from a small network", "image classification",
        "What to look at", "train loss", "learning rate", "best: epoch 2", "2 (best)", "f1 macro", "Wilson",
        "200 samples for training", "flowers/valid/daisy/7.png", "0.8100", "3.3.1",
        'module.finetune("flowers/", epochs=3)',
    ]:  # fmt: skip
        assert expected in words, expected
    links = {one["href"] for one in page.all("a")}
    assert links == {f"#{one['id']}" for one in page.all("section")}
    assert len(links) == 10


def test_the_interval_is_wilsons() -> None:
    for right, count in [(0, 1), (1, 1), (0, 7), (3, 7), (57, 60), (582, 600), (99_000, 100_000)]:
        expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
        assert report_findings.wilson(right / count, count) == pytest.approx(tuple(expected), abs=1e-6)


def test_pixels_and_words_have_no_interval() -> None:
    for task in ("semantic_segmentation", "sequence_labeling"):
        assert "interval" not in Page(render(replace(GOOD, task=task))).words()


def test_another_metric_stands_first_when_it_chose_the_epoch() -> None:
    report = replace(GOOD, config={"metric": "f1_macro"})
    assert report_findings.answer(report)[0].startswith("F1 macro 0.9700, accuracy 97.0 % (95 % interval")


def without_validation(report: Report) -> dict[str, Any]:
    history = [{"epoch": one["epoch"], "train_loss": one["train_loss"]} for one in report.history[1:]]
    return {"metrics": {}, "history": history, "mistakes": []}


RISING = [row(1, 0.8, 0.6, 0.8), row(2, 0.5, 0.4, 0.9), row(3, 0.3, 0.5, 0.89), row(4, 0.2, 0.7, 0.89)]
BLOWN = [row(1, 0.8, 0.6, 0.8), row(2, 0.9, 0.4, 0.9), row(3, 1.3, 0.5, 0.89), row(4, 2.0, 0.7, 0.89)]
WARNINGS: dict[str, tuple[dict[str, Any], str]] = {
    "last is best": ({"best_epoch": 3}, "The best epoch, 3, is the last one: more epochs may help."),
    "start is best": ({"best_epoch": 0}, "is better than every epoch of training"),
    "overfitting": ({"history": RISING}, "rises from epoch 2 on, while the training loss falls: overfitting"),
    "worse at once": (
        {"history": [row(0, None, 0.2, 0.9), *RISING], "best_epoch": 0},
        "rises from epoch 0 on, while the training loss falls: overfitting",
    ),
    "unstable": ({"history": BLOWN}, "rises from epoch 2 on, and the training loss does not fall"),
    "not learning": ({"history": BLOWN}, "The training loss did not fall (0.8000 to 2.0000)"),
    "not a number": ({"history": [*HISTORY, row(4, float("nan"), 0.4, 0.9)]}, "finite number: train loss."),
    "no validation": (without_validation(GOOD), "Without a validation set the last epoch was kept"),
    "few samples": (
        {"metrics": metrics([[190, 8, 2], [5, 195, 0], [1, 0, 3]])},
        "One class has fewer than 5 validation samples, which says little: “tulip”.",
    ),
    "no samples": (
        {"metrics": metrics([[190, 10, 0], [5, 195, 0], [0, 0, 0]])},
        "One class has no validation samples at all: “tulip”.",
    ),
    "never found": (
        {"metrics": metrics([[190, 10, 0], [5, 195, 0], [40, 60, 0]])},
        "One class was never found: “tulip”.",
    ),
    "imbalance": (
        {"metrics": metrics([[390, 8, 2], [5, 195, 0], [1, 0, 39]])},
        "has 10 times as many samples",
    ),
    "small set": ({"metrics": metrics([[9, 1, 0], [0, 10, 0], [3, 0, 7]])}, "uncertain by about 12 points"),
    "no better than chance": (
        {"metrics": metrics([[300, 50, 50], [90, 10, 0], [100, 0, 0]])},
        "Always answering “daisy” would be right 66.7 % of the time",
    ),
    "test differs": ({"test_metrics": metrics([[60, 40, 0], [30, 70, 0], [0, 0, 99]])}, "more than chance"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_is_off_is_said(case: str) -> None:
    changes, expected = WARNINGS[case]
    report = replace(GOOD, **changes)
    found = [one.text for one in report_findings.findings(report) if one.warning]
    assert any(expected in text for text in found), found
    assert expected in Page(render(report)).words()


def test_a_good_run_has_no_warning() -> None:
    found = report_findings.findings(GOOD)
    assert not any(one.warning for one in found)
    assert any("Nothing stands out" in one.text for one in found)
    assert any("“daisy” is taken for “rose” in 4.0 % of its samples (8)" in one.text for one in found)


def test_class_weights_silence_the_remark_on_imbalance() -> None:
    changed = replace(GOOD, **WARNINGS["imbalance"][0], config={"class_weight": "balanced"})
    assert not any("times as many" in one.text for one in report_findings.findings(changed))


def test_without_validation_the_test_set_is_shown_in_detail() -> None:
    words = Page(render(replace(GOOD, **without_validation(GOOD)))).words()
    assert "Accuracy 96.7 %" in words
    assert "The test set, the weakest class first" in words
    nothing = Page(render(replace(GOOD, **without_validation(GOOD), test_metrics=None)))
    assert "nothing here says how good the module is" in nothing.words()
    assert {"confusion", "classes", "metrics", "mistakes"}.isdisjoint(
        one["id"] for one in nothing.all("section")
    )


def test_several_labels_a_sample_and_other_columns_are_fine() -> None:
    meter = MultiLabelMeter(LABELS)
    meter.update(np.array([[1.0, -1, 1], [-1, 1, -1]]), np.array([[1, 0, 1], [0, 1, 1]]))
    page = Page(render(replace(GOOD, metrics=meter.compute())))
    assert "confusion" not in {one["id"] for one in page.all("section")}
    segmented = {"miou": 0.6, "per_class": {name: {"iou": n / 3} for n, name in enumerate(LABELS)}}
    page = Page(render(replace(GOOD, task="semantic_segmentation", metrics=segmented)))
    assert "iou" in page.words()
    assert "Miou 0.6000 on the validation set at epoch 2." in page.words()


def test_weak_classes_come_first() -> None:
    per_class = {"a": {"precision": 0.1, "f1": 0.9}, "b": {"precision": 0.9, "f1": 0.2}, "c": {"f1": None}}
    assert report_findings.weakest(per_class) == ["b", "a", "c"]


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_confused_pairs_are_those_off_the_diagonal(matrix: list[list[int]]) -> None:
    found = report_findings.confused(replace(GOOD, metrics=metrics(matrix)))
    expected = {(a, b): matrix[a][b] for a in range(3) for b in range(3) if a != b and matrix[a][b]}
    assert {(LABELS.index(one.expected), LABELS.index(one.found)): one.count for one in found} == expected
    assert [one.count for one in found] == sorted(expected.values(), reverse=True)
    for one in found:
        assert one.share == pytest.approx(one.count / sum(matrix[LABELS.index(one.expected)]))


# ---- data stays data ----

UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
HOSTILE = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</title></style></pre><script>",
            "<!-- ",
            "]]>",
            "&lt;b&gt;&amp;",
            "' onmouseover='x",
            "\x00\x1b[31m",
            "\u202egnp.exe",
            "caf\udce9.png",
            "{{7*7}} ${x} $title %s {0}",
        ]
    ),
    st.text(max_size=30),
)


@settings(max_examples=60)
@given(st.lists(HOSTILE, min_size=8, max_size=8, unique=True))
def test_hostile_names_stay_text(names: list[str]) -> None:
    title, origin, sample, data, command, *labels = names
    report = replace(
        GOOD,
        title=title,
        data=data,
        command=command,
        labels=labels,
        config={origin: sample, "metric": "accuracy"},
        environment={sample: origin},
        metrics=metrics([[9, 1, 0], [0, 9, 1], [1, 0, 9]], tuple(labels)),
        mistakes=[
            Mistake(origin, labels[0], labels[1], 0.9, sample),
            Mistake(origin, labels[0], labels[1], 0.9, np.zeros((4, 4, 3), np.uint8)),
        ],
    )
    text = render(report)
    text.encode("utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.elements} <= TAGS
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    clean = [re.sub(UNPRINTABLE, "\ufffd", name) for name in names]
    assert page.text.get("h1", "") == clean[0]
    assert page.text["title"].startswith(clean[0])
    assert page.text.get("code", "") == clean[4]
    assert all(name in page.text["bdi"] for name in clean[5:])


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path: Path) -> None:
    mistake = Mistake("caf\udce9.png", "daisy", "rose", 0.5, "text")
    text = write(tmp_path / "report.html", replace(GOOD, mistakes=[mistake])).read_text(encoding="utf-8")
    assert "caf\ufffd.png" in text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = Page(render(replace(GOOD, mistakes=[*GOOD.mistakes, Mistake("a.wav", "a", "b", 1.0, tone(1.0))])))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), (tag, attributes)
    assert "script" not in {tag for tag, _ in page.elements}
    assert not re.search(r"url\(|@import|expression", page.text["style"])
    policy = [one for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    )


# ---- the same bytes, whole or not at all ----

ONE_PAGE = """
import hashlib
import numpy as np
from hub.finetune.report import Mistake, Report, render
labels = [f"class {n}" for n in range(9)]
pictures = np.random.default_rng(0).integers(0, 255, (3, 100, 80, 3), np.uint8)
matrix = np.random.default_rng(0).integers(0, 9, (9, 9)).tolist()
text = render(Report(
    "t", "image_classification", "d", {"metric": "accuracy"}, [{"epoch": 1, "train_loss": float("nan"), "b": 2.0}],
    {"accuracy": 0.5, "count": 10, "confusion_matrix": matrix}, None, 1, labels,
    [Mistake(f"{n}.png", "a", "b", 0.9, picture) for n, picture in enumerate(pictures)], {}, "c",
))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_run_gives_the_same_bytes(python: str) -> None:
    digests = {
        subprocess.run(
            [python, "-c", ONE_PAGE], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == len(hashlib.sha256().hexdigest())


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path / "report.html", GOOD)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"odd\.bin: expected a sample to show .* found bytes"):
        write(path, replace(GOOD, mistakes=[Mistake("odd.bin", "a", "b", 0.5, b"bytes")]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=re.escape(str(tmp_path))):
        write(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: replace(GOOD, labels=LABELS[:2]), r"confusion_matrix: expected \(2, 2\).* found \(3, 3\)"),
        (lambda: Audio(np.zeros((2, 100)), 16_000), r"found \[2, 100\] at 16000"),
        (lambda: Audio(np.zeros(100), 0), r"found \[100\] at 0"),
        (
            lambda: render(replace(GOOD, mistakes=[Mistake("x", "a", "b", 0.5, np.zeros((2, 2)))])),
            "float64",
        ),
        (
            lambda: render(
                replace(GOOD, mistakes=[Mistake("x", "a", "b", 0.5, np.zeros((2, 2, 7), np.uint8))])
            ),
            r"\[2, 2, 7\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        make()


# ---- it stays small ----


def tone(seconds: float, rate: int = 44_100, hertz: float = 440.0) -> Audio:
    return Audio(
        np.sin(np.arange(int(seconds * rate)) / rate * hertz * 2 * np.pi).astype(np.float32) / 2, rate
    )


def test_many_large_samples_stay_below_three_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    for sample in (noise, tone(60.0, 48_000), "many words " * 100_000):
        report = replace(GOOD, mistakes=[Mistake("a" * 5000, "b" * 5000, "c" * 5000, 0.9, sample)] * 200)
        text = render(report)
        assert len(text.encode()) < 3 * MEGABYTE
        assert len(Page(text).all("li", class_="card")) == MOST_MISTAKES
        assert f"{MOST_MISTAKES} of 200" in text


def test_a_thousand_classes_stay_readable() -> None:
    labels = tuple(f"{n:04d} {'long name ' * 20}" for n in range(1000))
    matrix = np.diag(np.full(1000, 20))
    matrix[7, 8] = 13
    page = Page(text := render(replace(GOOD, labels=labels, metrics=metrics(matrix.tolist(), labels))))
    assert len(text) < 1.5 * MEGABYTE
    assert page.all("div", class_="scroll matrix") == []
    assert "With 1,000 classes the matrix would be unreadable" in page.words()
    assert "in 39.4 % of its samples (13)" in page.words()


@pytest.mark.parametrize(("classes", "drawn"), [(2, 1), (MOST_CLASSES_DRAWN, 1), (MOST_CLASSES_DRAWN + 1, 0)])
def test_the_matrix_is_drawn_up_to_a_size(classes: int, drawn: int) -> None:
    labels = tuple(f"class {n}" for n in range(classes))
    counted = metrics((np.eye(classes, dtype=int) * 6 + 1).tolist(), labels)
    page = Page(render(replace(GOOD, labels=labels, metrics=counted)))
    assert len(page.all("div", class_="scroll matrix")) == drawn
    assert len(page.all("td", class_="right")) == drawn * classes


def test_a_long_history_is_thinned_and_keeps_the_best_and_the_last() -> None:
    history = [row(n, 1 / n, 1 / n, 1 - 1 / n) for n in range(1, 3001)]
    text = render(replace(GOOD, history=history, best_epoch=1234))
    assert len(text) < MEGABYTE
    words = Page(text).words()
    assert "every 15 epochs" in words
    assert "1,234 (best)" in words
    assert "3,000" in words


# ---- pictures, texts, sounds ----


def shown_picture(sample: Any) -> tuple[Image.Image, dict[str, str | None]]:
    (image,) = Page(render(replace(GOOD, mistakes=[Mistake("a.png", "x", "y", 0.5, sample)]))).all("img")
    return Image.open(io.BytesIO(base64.b64decode((image["src"] or "").partition(",")[2]))), image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_picture_is_shown(mode: str) -> None:
    ramp = np.linspace(0, 255, 400).astype(np.uint8)[None].repeat(200, axis=0)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        given_picture = Image.fromarray(ramp.astype(kind) * 200)
    else:
        given_picture = Image.fromarray(ramp).convert("RGB").convert(mode)
    picture, attributes = shown_picture(given_picture)
    assert picture.size == (160, 80)
    assert (attributes["width"], attributes["height"]) == ("160", "80")
    grey = np.asarray(picture.convert("L"), np.float64)
    assert grey[:, :20].mean() < 40
    assert grey[:, -20:].mean() > 215
    assert given_picture.size == (400, 200), "the caller's picture stays as it was"


@pytest.mark.parametrize("shape", [(28, 28), (28, 20, 1), (8, 8, 3), (64, 64, 4)])
def test_small_pictures_are_enlarged_without_blur(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    array[..., 3:] = 255
    picture, attributes = shown_picture(array)
    assert attributes["class"] == "pixels"
    assert 2 * shape[0] <= int(attributes["height"] or 0) <= 160
    expected = array[..., :3] if array.shape[2:] in ((3,), (4,)) else array.reshape(shape[:2])
    np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_picture_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    for sample in (Image.open(path), np.zeros((0, 7), np.uint8)):
        page = Page(render(replace(GOOD, mistakes=[Mistake("a.png", "x", "y", 0.5, sample)])))
        assert "This picture cannot be read" in page.words()
        assert page.all("img") == []


def test_a_long_text_is_cut_and_the_rest_counted() -> None:
    words = Page(
        render(replace(GOOD, mistakes=[Mistake("a.csv, row 3", "x", "y", 0.5, "ab" * 1000)]))
    ).words()
    assert "… and 1,400 more characters" in words
    assert "ab" * 300 in words
    assert "ab" * 301 not in words


@pytest.mark.parametrize(
    ("rate", "shown_rate"), [(8_000, 8_000), (16_000, 16_000), (22_050, 11_025), (44_100, 14_700)]
)
def test_a_sound_keeps_its_pitch(rate: int, shown_rate: int) -> None:
    mistakes = [Mistake("a.wav", "x", "y", 0.5, tone(2.0, rate))]
    (audio,) = Page(render(replace(GOOD, mistakes=mistakes))).all("audio")
    assert "controls" in audio
    assert audio["aria-label"] == "a.wav: expected x, found y"
    with wave.open(io.BytesIO(base64.b64decode((audio["src"] or "").partition(",")[2]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (shown_rate, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    assert len(samples) / shown_rate == pytest.approx(2.0, abs=0.001)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) / 2.0 == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.02)


def test_a_long_sound_is_cut_and_says_so() -> None:
    mistakes = [Mistake("a.wav", "x", "y", 0.5, tone(60.0, 16_000))] * 24
    words = Page(render(replace(GOOD, mistakes=mistakes))).words()
    assert "the first 2.3 of 60.0 s" in words
    empty = Mistake("a.wav", "x", "y", 0.5, Audio(np.zeros(0, np.float32), 16_000))
    assert "0.0 s" in Page(render(replace(GOOD, mistakes=[empty]))).words()


# ---- curves ----


def test_what_is_not_a_number_is_left_out_of_a_curve() -> None:
    history = [*HISTORY[:3], row(3, float("inf"), float("nan"), 0.9)]
    assert "nan" not in " ".join(
        str(one) for one in Page(render(replace(GOOD, history=history))).all("polyline")
    )


# ---- who can read it ----


def test_pictures_tables_and_headings_can_be_read_aloud() -> None:
    mistakes = [*GOOD.mistakes, Mistake("a.wav", "x", "y", 0.5, tone(0.1))]
    page = Page(render(replace(GOOD, mistakes=mistakes)))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert page.all("img")[0]["alt"] == "flowers/valid/daisy/7.png: expected daisy, found rose"
    for drawing in page.all("svg"):
        assert drawing.get("aria-hidden") or (
            drawing["role"] == "img" and "from" in (drawing["aria-label"] or "")
        )
    assert all(one["scope"] in ("row", "col") for one in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in page.all("div", role="region"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9]+): ([^;]+);", block))


def luminance(rgb: np.ndarray) -> float:
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """WCAG 2.1, contrast ratio."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def rgb(text: str) -> np.ndarray:
    if not text.startswith("#"):
        return np.array([int(part) for part in text.split()]) / 255
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    return np.array([int(digits[n : n + 2], 16) for n in (0, 2, 4)]) / 255


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_legible(dark: bool) -> None:
    light, _, rest = report_page.STYLE.partition("@media screen")
    ink = colours(light) | (colours(rest.partition("* {")[0]) if dark else {})
    for back in ("paper", "box"):
        assert contrast(rgb(ink["ink"]), rgb(ink[back])) >= 7
        assert contrast(rgb(ink["dim"]), rgb(ink[back])) >= 4.5
    for line in range(charts.MOST_LINES):
        assert contrast(rgb(ink[f"s{line}"]), rgb(ink["paper"])) >= 3.0, line
    for cell in ("right", "wrong"):
        for shade in np.linspace(0, 1, 6):
            share = shade * float(ink["top"])
            back = share * rgb(ink[cell]) + (1 - share) * rgb(ink["paper"])
            assert contrast(rgb(ink["ink"]), back) >= 4.5, (cell, shade)
