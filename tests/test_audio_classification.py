"""Audio classification from files to answers: fine-tuning, prediction, the timeline, pictures, module.yaml's steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hub
from hub.cli.main import main
from hub.errors import DataError, InputError, SpecError, UsageError
from hub.modules import preprocessor
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.sound_preprocessor import SoundPreprocessor
from hub.modules.spec import Named
from hub.tasks.audio_classification import AudioClassification
from tests import sounds

pytest.importorskip("soundfile")


def steps(*last: dict[str, Any], augment: tuple[str, ...] = ()) -> SoundPreprocessor:
    named = [Named(*item) for step in (last or sounds.PREPROCESS) for item in step.items()]
    built = preprocessor.build(named, [Named(name) for name in augment])
    assert isinstance(built, SoundPreprocessor)
    return built


# ---- the steps of module.yaml ----

MEL = sounds.PREPROCESS[-1]["log_mel"]


def test_the_last_step_says_that_a_module_takes_sounds() -> None:
    assert isinstance(preprocessor.build([Named("normalize")]), PicturePreprocessor)
    found = steps()
    item = found.read((sounds.sound("buzz", 0), 8000))
    assert (item.dtype, item.shape, found.seconds) == (np.float32, (3200,), 0.4)
    batch = found.batch([item, item])
    assert isinstance(batch, np.ndarray)
    assert (batch.dtype, batch.shape) == (np.float32, (2, 1, 33, 20))
    np.testing.assert_allclose(batch[0, 0] * MEL["std"] + MEL["mean"], found.spectrogram(item), atol=1e-4)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ([{"log_mel": {**MEL, "mels": 20.5}}], "log_mel.mels: expected a whole number, found 20.5"),
        ([{"log_mel": {**MEL, "hop": 0}}], "log_mel.hop: expected at least 1, found 0"),
        (
            [{"log_mel": {**MEL, "window": 10**9}}],
            "log_mel.window: expected at most 65,536, found 1000000000",
        ),
        ([{"log_mel": {**MEL, "mean": float("nan")}}], "log_mel.mean: expected a finite number, found nan"),
        ([{"clip": {}}, {"log_mel": MEL}], "preprocess.clip.seconds: missing"),
        (
            [{"clip": {"seconds": 1e9}}, {"log_mel": MEL}],
            "clip.seconds: expected a number from 0.001 to 600.0",
        ),
        ([{"log_mel": {**MEL, "low": "deep"}}], "log_mel.low: expected a number, found 'deep'"),
        ([{"log_mel": {**MEL, "std": 0}}], "std: expected a number above 0"),
        ([{"log_mel": {**MEL, "high": 5000}}], "expected 0 <= low < high <= 4000 Hz"),
        ([{"log_mel": {"rate": 8000}}], "expected high, hop, low, mels, window, found none"),
        ([{"log_mel": {**MEL, "fmax": 3}}], "log_mel.fmax: log_mel takes no such argument"),
        ([{"clipp": {"seconds": 1}}, {"log_mel": MEL}], "no step is called 'clipp'"),
        ([{"clip": {"seconds": "1"}}, {"log_mel": MEL}], "clip.seconds: expected a number"),
        ([{"clip": {"rate": 1}}, {"log_mel": MEL}], "clip.rate: clip takes no such argument"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(preprocess: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        steps(*preprocess)


def test_random_variants_follow_from_the_seed_and_keep_the_shape() -> None:
    found = steps(augment=("mask_spectrogram", "random_shift", "random_noise", "random_gain"))
    assert found.augments
    assert not steps().augments
    item = found.read((sounds.sound("buzz", 0), 8000))
    first, again, other = (found.augmented(item, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()
    assert found.batch([first, other]).shape == found.batch([item, item]).shape
    waves = steps(augment=("random_noise",)).augmented(item, np.random.default_rng(0))
    assert waves.shape == item.shape


def test_sounds_of_several_lengths_in_a_batch_are_refused_with_the_step_that_helps() -> None:
    found = steps({"log_mel": MEL})
    items = [found.read((sounds.sound("buzz", 0)[:length], 8000)) for length in (800, 1600)]
    with pytest.raises(
        InputError, match=r"sounds of one length in a batch, found 0\.10 s, 0\.20 s"
    ) as caught:
        found.batch(items)
    assert "clip" in caught.value.hint


# ---- answers ----


def told_by_loudness(batch: Any) -> np.ndarray:
    """A network that says "loud" of what is above the floor of -60 dB, as the module's steps scale it."""
    loud = batch.mean(axis=(1, 2, 3)) > (-58 - MEL["mean"]) / MEL["std"]
    return np.stack([np.where(loud, 0.0, 4.0), np.where(loud, 4.0, 0.0)], axis=1)


def answer(task: AudioClassification, sound: np.ndarray, **options: Any) -> dict[str, Any]:
    found = steps({"clip": {"seconds": 0.5}}, {"log_mel": MEL})
    source = (sound, 8000)
    return task.answers([source], [found.read(source)], run=told_by_loudness, preprocessor=found, **options)[
        0
    ]


def test_a_timeline_says_when_what_is_heard() -> None:
    sound = np.zeros(20_000, np.float32)
    sound[8_000:12_000] = 0.3 * np.random.default_rng(0).normal(size=4_000)
    task = AudioClassification(["quiet", "loud"])
    result = answer(task, sound, timeline=True)
    assert result["label"] == "loud"
    rows = result["timeline"]
    assert [row["start"] for row in rows] == [0.25 * n for n in range(9)]
    assert rows[-1]["end"] == 2.5
    loud = [(row["start"], row["end"]) for row in rows if row["label"] == "loud"]
    assert loud == [(0.75, 1.25), (1.0, 1.5), (1.25, 1.75)]
    assert set(rows[0]) == {"start", "end", "label", "score"}
    assert "timeline" not in answer(task, sound)
    assert len(answer(task, sound, timeline=True, step=0.1)["timeline"]) == 21


@pytest.mark.parametrize(
    ("seconds", "step", "stretches"),
    [
        (2.5, 2, [(0, 0.5), (2, 2.5)]),
        (2.5, 2.2, [(0, 0.5), (2.2, 2.5)]),
        (2.5, 2.5, [(0, 0.5)]),
        (2.5, 3, [(0, 0.5)]),
        (2.5, 1e300, [(0, 0.5)]),
        (0.2, None, [(0, 0.2)]),
    ],
)
def test_no_stretch_begins_after_the_end(
    seconds: float, step: float | None, stretches: list[tuple[float, float]]
) -> None:
    sound = np.full(round(seconds * 8000), 0.3, np.float32)
    rows = answer(AudioClassification(["a", "b"]), sound, timeline=True, step=step)["timeline"]
    assert [(row["start"], row["end"]) for row in rows] == stretches


def test_the_timeline_of_a_single_sample_is_drawn() -> None:
    task = AudioClassification(["quiet", "loud"])
    result = answer(task, np.full(1, 0.3, np.float32), timeline=True)
    assert task.draw(Image.new("RGB", (300, 100)), result).width == 300


def test_the_timeline_of_a_sound_of_one_stretch_says_of_it_what_the_answer_says() -> None:
    """Silence is put around it, and not behind it: here the network tells where the sound is."""

    def told_by_place(batch: Any) -> np.ndarray:
        heard = batch.max(axis=(1, 3)) > (-58 - MEL["mean"]) / MEL["std"]
        place = (heard * np.arange(heard.shape[1])).sum(axis=1) / heard.sum(axis=1) / heard.shape[1]
        return np.stack([place, 0 * place], axis=1).astype(np.float32)

    found = steps({"clip": {"seconds": 0.5}}, {"log_mel": MEL})
    for seconds in (0.1, 0.3, 0.5):
        source = (sounds.sound("buzz", 0)[: round(seconds * 8000)], 8000)
        result = AudioClassification(["a", "b"]).answers(
            [source], [found.read(source)], run=told_by_place, preprocessor=found, timeline=True
        )[0]
        [only] = result["timeline"]
        assert (only["label"], only["score"]) == (result["label"], pytest.approx(result["score"], abs=1e-6))


def test_several_tags_have_a_timeline_as_well() -> None:
    task = AudioClassification(["quiet", "loud"], multi_label=True)
    result = answer(task, np.full(8_000, 0.3, np.float32), timeline=True)
    assert result["labels"] == result["timeline"][0]["labels"]
    assert set(result["timeline"][0]["scores"]) == {"quiet", "loud"}
    drawn = task.draw(Image.new("RGB", (300, 100)), result)
    assert drawn.height > 124


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeline": 1}, "timeline: expected true or false, found 1"),
        ({"timeline": True, "step": 0}, "step: expected seconds above 0, found 0"),
        ({"timeline": True, "step": "1"}, "step: expected seconds above 0"),
        ({"timeline": True, "step": float("inf")}, "step: expected seconds above 0, found inf"),
        ({"timeline": True, "step": float("nan")}, "step: expected seconds above 0, found nan"),
        ({"step": 1.0}, "belongs to timeline=True"),
        ({"timeline": True, "step": 1e-9}, r"at most 100,000|stretches"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        answer(AudioClassification(["a", "b"]), np.full(120_000, 0.1, np.float32), **options)


def test_steps_for_pictures_are_refused() -> None:
    with pytest.raises(SpecError, match="needs steps for sounds"):
        AudioClassification.examples(PicturePreprocessor([Named("normalize")]))


def test_each_stretch_has_the_part_of_the_strip_around_its_middle() -> None:
    timeline = [
        {"start": n / 2, "end": n / 2 + 1, "label": "x", "score": float(n == 1)} for n in range(3)
    ]  # two seconds in 400 pixels, the middles at 100, 200 and 300
    result = {"timeline": timeline, "top": [{"label": "x", "score": 1.0}]}
    drawn = AudioClassification(["x", "y"]).draw(Image.new("RGB", (400, 50)), result)
    dark = [drawn.getpixel((x, 72)) != (255, 255, 255) for x in (10, 145, 155, 245, 255, 390)]
    assert dark == [False, False, True, True, False, False]


def test_a_picture_has_the_timeline_below_the_spectrogram() -> None:
    sound = np.zeros(16_000, np.float32)
    sound[8_000:] = 0.3
    task = AudioClassification(["quiet", "loud"])
    result = answer(task, sound, timeline=True)
    picture = steps().picture((sound, 8000))
    drawn = task.draw(picture, result)
    plain = task.draw(picture, {key: value for key, value in result.items() if key != "timeline"})
    assert drawn.width == picture.width
    assert drawn.height > plain.height
    assert task.show((sound, 8000)).size == picture.size


# ---- a module from files to answers ----


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    root = tmp_path_factory.mktemp("sounds")
    folder = sounds.folder(root / "data", 8)
    module = sounds.tiny_module()
    module.finetune(folder, epochs=8, batch_size=8, output_dir=root / "run", progress=False)
    return module, root


def test_finetuning_on_a_folder_of_files_learns_to_tell_them_apart(
    trained: tuple[Any, Path], tmp_path: Path
) -> None:
    module, _ = trained
    assert module.labels == sounds.LABELS
    folder = sounds.folder(tmp_path, 5, seed=1, suffix=".flac")
    metrics = module.evaluate(folder)
    assert metrics["count"] == 15
    assert metrics["accuracy"] > 0.8
    results = module.predict(folder)
    assert [set(result) for result in results] == [{"input", "label", "score", "top"}] * 15


def test_files_arrays_and_what_cannot_be_read_are_answered_in_order(
    trained: tuple[Any, Path], tmp_path: Path
) -> None:
    module, _ = trained
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    path = sounds.write(tmp_path / "a.wav", sounds.sound("hiss", 3))
    results = module.predict([path, tmp_path / "broken.wav", (sounds.sound("hiss", 3), 8000)], timeline=True)
    assert [result.get("label") for result in results] == ["hiss", None, "hiss"]
    assert "broken.wav: expected a sound" in results[1]["error"]
    assert results[0]["timeline"][0]["start"] == 0
    with pytest.raises(UsageError, match="timeline"):
        module.predict(path, timelines=True)
    assert module.embed([(sounds.sound("hiss", 3), 8000)]).shape == (1, 40)


@pytest.mark.parametrize(
    "given",
    [
        lambda array: (array, 8000.0),
        lambda array: (array, np.float32(8000)),
        lambda array: (8000, array),
        lambda array: (np.int64(8000), array),
        lambda array: {"array": array, "sampling_rate": 8000},
        lambda array: {"array": array.tolist(), "sampling_rate": 8000, "path": None},
        lambda array: [(8000, array)],
    ],
)
def test_a_sound_in_memory_is_taken_as_other_libraries_give_it(trained: tuple[Any, Path], given: Any) -> None:
    module, _ = trained
    array = sounds.sound("buzz", 5)
    assert module.predict(given(array)) == module.predict((array, 8000))
    assert (module.embed(given(array)) == module.embed((array, 8000))).all()


def test_an_open_file_is_one_bad_input(trained: tuple[Any, Path]) -> None:
    module, root = trained
    with next(root.rglob("*.wav")).open("rb") as file:
        [result] = module.predict(file)
    assert result["error"] == "expected a path or (array, rate), found BufferedReader"


def test_a_saved_module_gives_the_same_answers_and_verifies(
    trained: tuple[Any, Path], tmp_path: Path
) -> None:
    module, _ = trained
    module.save(tmp_path / "my_sounds")
    again = hub.Module(tmp_path / "my_sounds")
    assert again.verify().ok
    given = (sounds.sound("rise", 9), 8000)
    assert again.predict(given) == module.predict(given)


def test_the_command_line_runs_evaluates_and_draws(
    trained: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, root = trained
    folder = str(module.save(tmp_path / "my_sounds"))
    path = str(sounds.write(tmp_path / "a.wav", sounds.sound("hiss", 3)))
    saved = tmp_path / "answers"
    assert main(["run", folder, path, "--option", "timeline=true", "--save", str(saved), "--json"]) == 0
    [result] = json.loads(capsys.readouterr().out)
    assert result["label"] == "hiss"
    assert result["timeline"]
    assert Image.open(saved / "a.png").width == 640
    assert main(["evaluate", folder, str(root / "data")]) == 0


def test_several_tags_are_learnt_from_a_table(tmp_path: Path) -> None:
    lines = ["path,tags"]
    for n in range(12):
        mixed = [label for k, label in enumerate(sounds.LABELS[:2]) if (n + 1) >> k & 1]
        wave = sum((sounds.sound(label, n) for label in mixed), np.zeros(3200, np.float32) + 1e-4)
        sounds.write(tmp_path / f"{n}.wav", wave / 2)
        lines.append(f"{n}.wav,{'|'.join(mixed)}")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    module = sounds.tiny_module()
    module.finetune(
        tmp_path / "train.csv",
        multi_label=True,
        valid=False,
        epochs=2,
        output_dir=tmp_path / "run",
        progress=False,
    )
    [result] = module.predict(tmp_path / "0.wav")
    assert set(result["scores"]) == {"buzz", "hiss"}


def test_bad_files_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    folder = sounds.folder(tmp_path / "data", 2)
    sounds.write(folder / "buzz" / "silent.wav", np.zeros(800))
    with pytest.raises(DataError, match=r"silent\.wav: unreadable \(the sound is silent"):
        sounds.tiny_module().finetune(folder, output_dir=tmp_path / "run", progress=False)
