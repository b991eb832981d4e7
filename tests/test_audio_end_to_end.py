"""The sound module that ships with hub and the sounds of its tutorial, from files to answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import hub
from hub.datasets import check, load
from hub.datasets.kinds import SOUNDS
from hub.datasets.spoken import export_spoken_digits


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return export_spoken_digits(tmp_path / "digits")


def test_the_spoken_digits_are_whole_and_no_voice_is_in_both_parts(digits: Path) -> None:
    train, _, test = load(digits, SOUNDS)
    assert test is not None
    assert train.labels == test.labels
    assert set(train.counts().values()) == set(test.counts().values()) == {5}
    assert len(train.labels) == 10
    voices = [{Path(sample.input).stem for sample in part} for part in (train, test)]
    assert not voices[0] & voices[1]
    check(train, test)


def test_the_bundled_module_replays_its_golden_values_and_fits_a_wheel() -> None:
    module = hub.Module("speech_cnn")
    assert module.verify().ok
    assert module.folder is not None
    assert sum(path.stat().st_size for path in module.folder.rglob("*") if path.is_file()) < 2_000_000
    assert len(module.labels) == 165


def test_with_its_features_a_head_learns_other_words_that_random_features_do_not_tell(
    digits: Path, tmp_path: Path
) -> None:
    pretrained = hub.Module("speech_cnn")
    spec = pretrained.spec.to_dict()
    random = hub.Module.create(
        "random", task=spec["task"], arch=spec["arch"], labels=["a", "b"], preprocess=spec["preprocess"]
    )
    scores = []
    for module in (pretrained, random):
        module.finetune(
            digits / "train", strategy="probe", valid=False, output_dir=tmp_path / module.name, progress=False
        )
        scores.append(module.evaluate(digits / "test")["accuracy"])
    assert scores[0] > 0.9
    assert scores[0] > scores[1] + 0.2
