"""Fine-tuning: what it changes and what it leaves alone, what it keeps, and what it refuses before it begins."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import shutil
import subprocess
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import hub
from hub import tasks
from hub.contents import digest_of
from hub.errors import DataError, DeviceError, StorageError, TrainingError, UsageError
from hub.files import sha256_of
from hub.finetune import freezing, optimizer, optimizer_state, trainer
from hub.finetune.batches import Batches, ItemCache, Read, Stored, in_order
from hub.finetune.callbacks import Callback
from hub.finetune.config import Config
from hub.finetune.sampling import shuffled_order
from hub.finetune.trainer import Trainer
from hub.modules import weights
from hub.tasks.base import Examples
from hub.tasks.segmentation_losses import dice, lovasz
from hub.transforms import image
from tests.pictures import LABELS, folder, samples, tiny_module

ROOT = Path(__file__).parents[1]


def trained(tmp_path: Path, **options):
    return tiny_module().finetune(
        samples(12),
        output_dir=tmp_path / "run",
        **{"epochs": 2, "batch_size": 8, "progress": False, **options},
    )


def test_a_module_learns_and_its_answers_have_names(tmp_path: Path) -> None:
    module = trained(tmp_path, epochs=8, learning_rate=0.01, strategy="full")
    assert module.run.metrics["accuracy"] > 0.8
    assert module.labels == LABELS
    answers = module.predict([array for array, _ in samples(10, seed=5)])
    right = [
        answer["label"] == label for answer, (_, label) in zip(answers, samples(10, seed=5), strict=True)
    ]
    assert np.mean(right) > 0.8


def test_the_run_is_kept_with_its_settings_history_curves_and_metrics(tmp_path: Path) -> None:
    module = trained(tmp_path, test=samples(4, seed=9))
    run = module.run
    assert {path.name for path in run.folder.iterdir()} == {
        "best", "checkpoints", "config.json", "history.json", "history.svg", "metrics.json",
    }  # fmt: skip
    history = json.loads((run.folder / "history.json").read_text(encoding="utf-8"))
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert history == run.history
    config = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert config["batch_size"] == 8
    assert config["learning_rate"] == 5e-4, "what was chosen is written down"
    assert f"best: epoch {run.best_epoch}" in (run.folder / "history.svg").read_text(encoding="utf-8")
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["valid"] == run.metrics
    assert metrics["test"]["count"] == 12
    assert run.history[run.best_epoch]["valid_accuracy"] == run.metrics["accuracy"]


def test_a_module_that_answers_no_better_than_one_answer_is_said_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {LABELS[n]: LABELS[n - 1] for n in range(len(LABELS))}
    for name, valid in (("right", samples(6)), ("wrong", [(x, wrong[label]) for x, label in samples(6)])):
        trained(tmp_path / name, valid=valid, progress=True)
        said = capsys.readouterr().err
        assert ("the module is no better than that" in said) == (name == "wrong"), said


def test_the_best_weights_are_those_in_memory_on_disk_and_measured(tmp_path: Path) -> None:
    module = trained(tmp_path, epochs=4, learning_rate=0.5)  # too high: later epochs are worse
    best = max(row["valid_accuracy"] for row in module.run.history)
    assert module.run.metrics["accuracy"] == best
    again = hub.Module(module.run.best)
    assert again.verify().ok
    held = samples(6, seed=3)
    assert (again.embed([a for a, _ in held]) == module.embed([a for a, _ in held])).all()
    assert again.predict(held[0][0]) == module.predict(held[0][0])


def test_a_probe_leaves_the_backbone_bit_for_bit(tmp_path: Path) -> None:
    module = tiny_module()
    before = weights.state_of(module.network.backbone)
    module.finetune(samples(12), strategy="probe", epochs=3, output_dir=tmp_path / "r", progress=False)
    after = weights.state_of(module.network.backbone)
    assert all((after[name] == before[name]).all() for name in before), "norm statistics count as well"


def test_full_training_changes_every_parameter(tmp_path: Path) -> None:
    module = tiny_module()
    before = weights.state_of(module.network.backbone)
    module.finetune(
        samples(12), strategy="full", valid=False, epochs=2, output_dir=tmp_path / "r", progress=False
    )
    after = weights.state_of(module.network.backbone)
    assert not [name for name in before if (after[name] == before[name]).all()]


@pytest.mark.parametrize("strategy", ["probe", "probe_then_full"])
def test_epoch_zero_is_the_closed_form_head(tmp_path: Path, strategy: str) -> None:
    row = trained(tmp_path, strategy=strategy).run.history[0]
    assert row["epoch"] == 0
    assert "train_loss" not in row
    assert row["valid_accuracy"] > 0.5


RUN = """
import sys, hashlib
from tests.pictures import samples, tiny_module
from hub.modules import weights
module = tiny_module().finetune(samples(9), epochs=2, batch_size=8, seed=int(sys.argv[1]), workers=int(sys.argv[2]),
                                output_dir=sys.argv[3], progress=False)
digest = hashlib.sha256()
for name, array in sorted(weights.state_of(module.network).items()):
    digest.update(name.encode() + array.tobytes())
print(digest.hexdigest(), [row.get("train_loss") for row in module.run.history])
"""


def test_two_processes_with_one_seed_are_equal_bit_for_bit(tmp_path: Path, python: str) -> None:
    def run(seed: int, workers: int, name: str) -> str:
        return subprocess.run(
            [python, "-W", "ignore", "-c", RUN, str(seed), str(workers), str(tmp_path / name)],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
        ).stdout  # fmt: skip

    first = run(7, 0, "a")
    assert first == run(7, 0, "b")
    assert first == run(7, 3, "c"), "the number of workers never matters"
    assert first != run(8, 0, "d")


INTERRUPTED = """
import os, signal, sys
import hub
from hub import tasks
from hub.finetune.callbacks import Callback
from tests.pictures import samples, tiny_module

class Interrupt(Callback):
    def on_step_end(self, trainer, step):
        if trainer.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

module = tiny_module()
try:
    module.finetune(samples(9), epochs=5, batch_size=8, output_dir=sys.argv[1], callbacks=[Interrupt()])
except KeyboardInterrupt:
    assert module.run.interrupted
    print(module.predict(samples(1)[0][0])[0]["label"], module.run.best_epoch)
    sys.exit(130)
"""


def test_ctrl_c_in_an_epoch_keeps_the_best_and_says_where(tmp_path: Path, python: str) -> None:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", INTERRUPTED, str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert str(tmp_path / "run" / "best") in done.stderr
    label, epoch = done.stdout.split()
    kept = hub.Module(tmp_path / "run" / "best")
    assert kept.verify().ok
    assert kept.predict(samples(1)[0][0])[0]["label"] == label
    assert int(epoch) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1, found 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1 or 'auto', found 0"),
        ({"learning_rate": -1}, "learning_rate: expected a number above 0 and at most 10, found -1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected a number at least 0 and below 1, found 1.0"),
        ({"strategy": "porbe"}, "did you mean 'probe'"),
        ({"loss": "foccal"}, "did you mean 'focal'"),
        ({"loss": "dice"}, "loss: expected one of cross_entropy, focal, logit_adjusted, found 'dice'"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"metric": "accuracy", "valid": False}, "there is no validation set"),
        ({"class_weight": {"barr": 2}}, "did you mean 'bar'"),
        ({"on_bad": "ignore"}, "on_bad"),
        ({"device": "tpu"}, "device: expected None, 'cpu', 'gpu' or 'gpu:N', found 'tpu'"),
        (
            {"class_weight": {"bar": float("inf")}},
            "class_weight['bar']: expected a number above 0, found inf",
        ),
        ({"class_weight": {"bar": "2"}}, "class_weight['bar']: expected a number above 0, found '2'"),
        ({"class_weight": [1, 2]}, "class_weight: expected 'balanced' or {name: weight}, found list"),
        ({"class_weight": np.ones(3)}, "{name: weight}, found ndarray"),
        ({"clip_norm": float("inf")}, "clip_norm: expected a number above 0 and below inf, found inf"),
        ({"checkpoint_minutes": float("inf")}, "checkpoint_minutes: expected a number above 0 and below inf"),
        ({"multi_label": "no"}, "multi_label: expected True or False, found 'no'"),
        ({"freeze": 2.5}, "freeze: expected a number of groups, 'backbone' or a pattern of names, found 2.5"),
        ({"callbacks": Callback()}, "callbacks: expected a list of hub.finetune.callbacks.Callback, found <"),
        (
            {"callbacks": [Callback]},
            "callbacks: expected a list of hub.finetune.callbacks.Callback, found <class",
        ),
        (
            {"callbacks": [print]},
            "callbacks: expected a list of hub.finetune.callbacks.Callback, found <built-in",
        ),
        ({"seed": -1}, "seed: expected a whole number of at least 0 and below 4294967296, found -1"),
        (
            {"seed": 2**32},
            "seed: expected a whole number of at least 0 and below 4294967296, found 4294967296",
        ),
        ({"workers": -1}, "workers: expected a whole number of at least 0, found -1"),
        ({"focal_gamma": 3.0}, "focal_gamma=3.0 belongs to loss='focal', found loss='cross_entropy'"),
        ({"temperature": 2}, "temperature=2 belongs to teacher, found teacher=None"),
        ({"teacher_weight": 0.0}, "teacher_weight=0.0 belongs to teacher, found teacher=None"),
        ({"views": 2}, "views=2 belongs to features that are kept, and nothing is frozen from the input on"),
        (
            {"views": 2, "freeze": ["backbone.*.bias"]},
            "views=2 belongs to features that are kept, and nothing is frozen",
        ),
        (
            {"views": 2, "freeze": 2, "cache": False},
            "views=2 belongs to features that are kept, found cache=False",
        ),
        (
            {"views": 2, "freeze": 2, "mixup": 0.2},
            "views=2 belongs to features that are kept, found mixup=0.2, which mixes samples anew",
        ),
        (
            {"views": 2, "freeze": 2, "augment": False},
            "views=2 keeps random variants of a sample, and augment=False: each would be the same",
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_before_anything_happens(
    tmp_path: Path, options: dict, message: str
) -> None:
    module = tiny_module()
    before = weights.state_of(module.network)
    with pytest.raises(UsageError) as caught:
        module.finetune(samples(4), output_dir=tmp_path / "run", progress=False, **options)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()
    after = weights.state_of(module.network)
    assert all((after[name] == before[name]).all() for name in before)
    assert module.labels == ("this", "that")


def masks(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.stack([a] * 3, axis=2), (a > 128).astype(np.uint8)) for a, _ in samples(count)]


def painted(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(n).integers(0, 255, (32, 32, 3)).astype(np.uint8) for n in range(count)]


OTHERS = {
    "semantic_segmentation": ("signs_fpn", masks),
    "colorization": ("scenes_colorizer", painted),
    "style_transfer": ("textures_stylizer", painted),
    "sequence_labeling": ("sentences_static", lambda count: [(["a", "b"], ["O", "B-X"])] * count),
    "text_classification": ("sentences_static", lambda count: [(f"a {n}", str(n % 2)) for n in range(count)]),
}


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *((task, name) for name in ("sampler", "mixup", "cutmix") for task in OTHERS if task != "text_classification"),
        ("text_classification", "mixup"), ("text_classification", "cutmix"),
        *((task, name) for name in ("teacher", "temperature", "teacher_weight") for task in [*OTHERS][:3]),
    ],
)  # fmt: skip
def test_a_setting_for_other_tasks_is_refused_before_anything_happens(
    tmp_path: Path, task: str, name: str
) -> None:
    module_name, data = OTHERS[task]
    module = hub.Module(module_name, task=task)
    value = {"sampler": "balanced", "teacher": module}.get(name, 0.2)
    before = module.labels, module.task
    with pytest.raises(
        UsageError, match=f"{name}.* (means nothing for {task}|expected inputs of real numbers)"
    ):
        module.finetune(data(6), epochs=1, output_dir=tmp_path / "run", progress=False, **{name: value})
    assert not (tmp_path / "run").exists()
    assert (module.run, module.labels, module.task) == (None, *before)


@pytest.mark.parametrize("task", ["colorization", "style_transfer"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "probe"}, "strategy='probe' trains the head alone, and {} has no head to train"),
        ({"freeze": "backbone"}, "freeze='backbone' leaves nothing to train: it matches all"),
    ],
    ids=str,
)
def test_a_head_that_is_not_there_is_not_trained_alone(
    tmp_path: Path, task: str, settings: dict[str, Any], said: str
) -> None:
    name, data = OTHERS[task]
    with pytest.raises(UsageError) as caught:
        hub.Module(name).finetune(data(6), output_dir=tmp_path / "run", progress=False, **settings)
    assert caught.value.message.startswith(said.format(task))
    assert "freeze=1" in caught.value.hint
    assert "freeze='backbone'" not in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    one, other = (
        trained(
            tmp_path / kind.__name__, strategy="full", epochs=kind(2), batch_size=kind(8), freeze=kind(1), seed=kind(3),
            learning_rate=rate, weight_decay=rate, class_weight={name: kind(2), "dot": rate, "frame": share},
            early_stop={"patience": kind(2), "min_delta": rate}, multi_label=no, cache=no,
        ).run
        for kind, rate, name, share, no in (
            (int, 0.0078125, "bar", 0.5, False),
            (np.int64, np.float32(0.0078125), np.str_("bar"), Fraction(1, 2), np.False_),
        )
    )  # fmt: skip
    assert one.config == other.config
    assert one.command == other.command
    assert one.history[-1]["train_loss"] == other.history[-1]["train_loss"]


def test_a_gpu_that_cannot_be_had_is_an_error_with_its_cause(tmp_path: Path) -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this build has GPU support")
    with pytest.raises(DeviceError, match="without GPU support"):
        tiny_module().finetune(samples(4), device="gpu", output_dir=tmp_path / "run")


def test_a_class_with_one_picture_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    data = [*samples(4), (samples(1)[0][0], "lonely")]
    with pytest.raises(DataError, match="'lonely' has only one sample") as caught:
        tiny_module().finetune(data, output_dir=tmp_path / "run", progress=False)
    assert "valid=False" in caught.value.hint
    tiny_module().finetune(data, valid=False, epochs=1, output_dir=tmp_path / "run", progress=False)


def test_bad_pictures_stop_the_run_or_are_left_out(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", 5)
    (data / "dot" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        tiny_module().finetune(data, epochs=1, output_dir=tmp_path / "run", progress=False)
    module = tiny_module().finetune(
        data, epochs=1, on_bad="skip", output_dir=tmp_path / "run", progress=False
    )
    assert "left out: 1 × unreadable" in module.run.data


def test_a_loss_that_is_no_number_stops_the_run_and_saves_none_of_it(tmp_path: Path) -> None:
    module = tiny_module()

    class Poison(Callback):
        def on_step_end(self, trainer, step) -> None:
            if trainer.epoch == 2:
                module.network.head.weight.set_value(
                    np.full(module.network.head.weight.shape, np.nan, np.float32)
                )

    with pytest.raises(TrainingError, match="the loss became nan in epoch 2, step"):
        module.finetune(
            samples(9),
            epochs=3,
            batch_size=8,
            callbacks=[Poison()],
            output_dir=tmp_path / "run",
            progress=False,
        )
    kept = weights.state_of(hub.Module(tmp_path / "run" / "best").network)
    assert all(np.isfinite(array).all() for array in kept.values())
    assert all(np.isfinite(array).all() for array in weights.state_of(module.network).values())


def test_weights_that_turn_into_no_numbers_in_the_last_step_of_an_epoch_are_not_the_best(
    tmp_path: Path,
) -> None:
    """Their loss is seen nowhere but on the validation set, where every answer may by chance be right."""
    module = tiny_module()

    class Poison(Callback):
        def on_evaluate_begin(self, trainer) -> None:
            if trainer.epoch == 2:
                head = module.network.head.weight
                head.set_value(np.full(head.shape, np.inf, np.float32))

    with pytest.raises(TrainingError, match="weights are no longer finite after step"):
        module.finetune(
            samples(9), valid=[pair for pair in samples(9) if pair[1] == "bar"], epochs=2, batch_size=8,
            strategy="full", callbacks=[Poison()], output_dir=tmp_path / "run", progress=False,
        )  # fmt: skip
    assert module.run.best_epoch == 1
    for network in (module.network, hub.Module(tmp_path / "run" / "best").network):
        assert all(np.isfinite(array).all() for array in weights.state_of(network).values())


@pytest.mark.parametrize("options", [{}, {"freeze": 2}, {"drop_groups": 1}], ids=str)
@pytest.mark.parametrize("raises", [None, ZeroDivisionError, KeyboardInterrupt])
def test_a_run_that_breaks_off_in_its_first_epoch_leaves_the_module_as_it_was(
    tmp_path: Path, raises: type[BaseException] | None, options: dict[str, Any]
) -> None:
    class Break(Callback):
        def on_step_end(self, trainer, step) -> None:
            if trainer.step == 2 and raises:
                raise raises
            if trainer.step == 2:
                bias = module.network.head.bias
                bias.set_value(np.full(bias.shape, np.inf, np.float32))

    def train(module: Any, name: str, **more: Any) -> Any:
        settings = {"strategy": "full", "epochs": 2, "batch_size": 6, "progress": False}
        return module.finetune(samples(9), output_dir=tmp_path / name, **{**settings, **options, **more})

    module = tiny_module()
    before, answer = weights.state_of(module.network), module.predict(samples(1)[0][0])
    with pytest.raises(raises or TrainingError):
        train(module, "broken", learning_rate=0.01, callbacks=[Break()])
    after = weights.state_of(module.network)
    assert before.keys() == after.keys()
    assert all(np.array_equal(array, after[name]) for name, array in before.items())
    assert (module.name, module.labels, module.run) == ("tiny", ("this", "that"), None)
    assert module.predict(samples(1)[0][0]) == answer
    losses = [row["train_loss"] for row in train(module, "again").run.history]
    assert losses == [row["train_loss"] for row in train(tiny_module(), "fresh").run.history]


def test_hooks_come_in_order_and_a_callback_can_stop_the_run(tmp_path: Path) -> None:
    class Record(Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def __getattribute__(self, name: str):
            if name.startswith("on_"):
                self.seen.append(name)
            return super().__getattribute__(name)

        def on_epoch_end(self, trainer, row) -> None:
            trainer.stop = row["epoch"] == 2

    record = Record()
    module = trained(tmp_path, epochs=5, strategy="full", callbacks=[record])
    assert [row["epoch"] for row in module.run.history] == [1, 2]
    assert record.seen[:2] == ["on_train_begin", "on_epoch_begin"]
    assert record.seen[-1] == "on_train_end"
    hooks = {name for name in vars(Callback) if name.startswith("on_")}
    assert set(record.seen) == hooks
    assert len(hooks) == 8


def test_several_labels_at_once(tmp_path: Path) -> None:
    data = []
    for n in range(16):
        array, label = samples(16)[n * 3 + n % 3]
        data.append((array, [label, "bright"] if n % 2 else [label]))
        data.append((255 - array, [label]))
    module = tiny_module().finetune(data, epochs=2, output_dir=tmp_path / "run", progress=False)
    assert module.labels == ("bar", "bright", "dot", "frame")
    answer = hub.Module(module.run.best).predict(data[0][0])[0]
    assert set(answer) == {"input", "labels", "scores"}
    assert set(module.run.metrics) >= {"accuracy", "f1_macro", "f1_micro", "per_class"}
    assert module.evaluate(data)["count"] == len(data)


def read(each: int, *, seed: int | None = None) -> Read:
    """A training set as a run has it."""
    from hub.datasets import load

    data = load(samples(each)).train
    return Read(data, ItemCache(Examples(tiny_module().preprocessor)), data.targets(), seed=seed)


def test_variants_differ_from_epoch_to_epoch_and_are_the_same_for_the_same_epoch() -> None:
    chosen = np.arange(5)
    plain, varied = read(4).take(chosen, 1)[0], read(4, seed=3)
    first = varied.take(chosen, 1)[0]
    assert not (plain == first).all()
    assert (varied.take(chosen, 1)[0] == first).all()
    assert (read(4, seed=3).take(chosen[::-1], 1)[0][::-1] == first).all(), "whatever the order"
    assert not (varied.take(chosen, 2)[0] == first).all()


def repeated(source: Any, order: list[int], *, epoch: int = 1, start: int = 0, **options: Any) -> np.ndarray:
    """The inputs of an epoch that goes through the samples in this order."""
    batches = Batches(source, batch_size=2, order=lambda epoch: np.array(order), **options)
    return np.concatenate([inputs for inputs, _ in batches.epoch(epoch, start=start)])


def test_a_sample_that_comes_again_in_an_epoch_is_another_variant_then() -> None:
    order = [1, 0, 1, 1, 0, 2, 3, 1, 4, 1, 5, 6]
    source = read(4, seed=3)  # 12 samples
    seen = repeated(source, order)
    again = [place for place, index in enumerate(order) if index == 1]
    assert len({seen[place].tobytes() for place in again}) == len(again) == 5
    first = [order.index(index) for index in range(7)]
    assert (seen[first] == source.take(np.arange(7), 1)[0]).all(), "the first is what it is without repeats"
    assert (repeated(source, order, start=3) == seen[6:]).all(), "an epoch can be entered in the middle"
    assert (repeated(source, order, workers=2) == seen).all()
    shares = [repeated(source, order, part=(rank, 2)) for rank in range(2)]
    assert (np.stack(shares, axis=1).reshape(seen.shape) == seen).all(), "in several processes too"
    plain = repeated(read(4), order)
    assert all((plain[place] == plain[again[0]]).all() for place in again), (
        "without augmentation it is itself"
    )


@pytest.mark.parametrize(
    ("count", "batch_size", "ranks", "sizes"),
    [
        (5, 2, 2, [3, 2]),
        (5, 4, 2, [3, 2]),
        (7, 3, 3, [4, 3]),
        (6, 2, 2, [2, 2, 2]),
        (1, 64, 2, [1]),
        (2, 3, 3, [2]),
    ],
)
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_every_process_takes_every_step_and_their_shares_are_the_step(
    count: int, batch_size: int, ranks: int, sizes: list[int], kept: int
) -> None:
    source: Any = read(3)
    if kept:
        source = Stored([source.take(np.arange(count), view)[0] for view in range(kept)], np.arange(count))
    else:
        source.samples, source.targets = source.samples.select(range(count)), np.arange(count)
    shares = [Batches(source, batch_size=batch_size, part=(rank, ranks)) for rank in range(ranks)]
    assert [each.sizes for each in shares] == [sizes] * ranks
    start = 0
    for *parts, size in zip(*(each.epoch(1) for each in shares), sizes, strict=True):
        whole = source.take(np.arange(start, start + size), 1)
        for place in (0, 1):
            arrays = [part[place] for part in parts]
            assert {array.dtype for array in arrays} == {whole[place].dtype}
            assert np.array_equal(np.concatenate(arrays), whole[place])
        assert count < ranks or all(len(inputs) for inputs, _ in parts)
        start += size


def test_views_that_are_kept_take_turns_within_an_epoch_too() -> None:
    views = [np.array([[10 * view + index] for index in range(4)]) for view in range(3)]
    order = [2, 1, 2, 2, 2, 0]
    source = Stored(views, np.arange(4))
    for epoch in (1, 2):
        seen = repeated(source, [*order], epoch=epoch)[:, 0].tolist()
        turns = {2: [0, 1, 2, 3], 1: [0], 0: [0]}
        for index, each in turns.items():
            found = [value // 10 for value in seen if value % 10 == index]
            assert found == [(index + epoch + turn) % 3 for turn in each]


class Unsafe:
    """A dataset whose items must not be asked for by two threads at once, as an open archive's."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.inside, self.clashes = items, threading.Lock(), 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if not self.inside.acquire(blocking=False):
            self.clashes += 1
            return self.items[index]
        try:
            threading.Event().wait(0.001)  # other threads may run
            return self.items[index]
        finally:
            self.inside.release()


def test_a_dataset_is_asked_for_one_item_at_a_time(tmp_path: Path) -> None:
    data = Unsafe(samples(12))
    tiny_module().finetune(
        data, valid=Unsafe(samples(2)), epochs=1, batch_size=2, strategy="full", workers=4,
        output_dir=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert data.clashes == 0


def test_files_are_read_by_several_threads_at_once(tmp_path: Path) -> None:
    from hub.datasets import load

    data, together = load(folder(tmp_path, 2)).train, threading.Barrier(2, timeout=60)

    class Watched(Examples):
        def read(self, sample: Any) -> Any:
            together.wait()  # it comes back when two are here
            return super().read(sample)

    items = ItemCache(Watched(tiny_module().preprocessor))
    batches = Batches(Read(data, items, data.targets()), batch_size=1, workers=2)
    assert sum(len(inputs) for inputs, _ in batches.epoch()) == 6


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_every_sample_comes_once_an_epoch_in_batches_of_nearly_one_size(start: int) -> None:
    source = read(7)
    source.targets = np.arange(21)
    batches = Batches(source, batch_size=10, order=lambda epoch: shuffled_order(21, seed=1, epoch=epoch))
    whole = [targets for _, targets in batches.epoch(1)]
    assert [len(targets) for targets in whole] == batches.sizes == [7, 7, 7]
    seen = np.concatenate(whole)
    assert sorted(seen.tolist()) == list(range(21))
    assert seen.tolist() != list(range(21))
    rest = [targets.tolist() for _, targets in batches.epoch(1, start=start)]
    assert rest == [targets.tolist() for targets in whole[start:]], "an epoch can be entered in the middle"


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_reading_raises_arrives_in_its_place_and_ends_the_threads(workers: int) -> None:
    def make(number: int) -> int:
        if number == 5:
            raise DataError("row 5")
        return number

    made = in_order(make, range(100), workers)
    assert [next(made) for _ in range(5)] == list(range(5))
    with pytest.raises(DataError, match="row 5"):
        next(made)


def test_a_sample_that_hangs_ends_the_run_with_words() -> None:
    never = threading.Event()
    made = in_order(lambda number: never.wait() if number == 2 else number, range(9), 2, patience=0.2)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(TrainingError, match=r"not read within 0\.2 seconds"):
        next(made)
    never.set()


def test_a_second_finetune_goes_on_from_the_first(tmp_path: Path) -> None:
    module = trained(tmp_path)
    module.finetune(samples(6)[::2], epochs=1, output_dir=tmp_path / "second", progress=False)
    assert module.spec.source["finetuned_from"] == "tiny 1.0.0"
    assert hub.Module(tmp_path / "second" / "best").name == "tiny_finetuned"


@pytest.mark.gpu
def test_a_gpu_trains_and_answers_like_the_cpu(tmp_path: Path) -> None:
    module = tiny_module(device="gpu").finetune(
        samples(12), epochs=2, batch_size=8, output_dir=tmp_path / "run", progress=False
    )
    array = samples(1)[0][0]
    on_gpu, on_cpu = module.embed(array), hub.Module(module.run.best, device="cpu").embed(array)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2, atol=1e-3)  # TF32 on the GPU


def test_a_module_without_its_last_groups_is_saved_and_loaded_as_such(tmp_path: Path) -> None:
    module = trained(tmp_path, drop_groups=2)
    assert module.spec.arch.arguments["drop_groups"] == 2
    again = hub.Module(module.run.best)
    array = samples(1)[0][0]
    assert again.predict(array) == module.predict(array)
    assert again.verify().ok
    again.finetune(samples(6), drop_groups=1, epochs=1, output_dir=tmp_path / "more", progress=False)
    assert hub.Module(again.run.best).embed(array).shape == again.embed(array).shape


def test_a_second_run_on_the_same_files_does_not_decode_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    usual = Examples.read

    def watched(self: Examples, sample: Any) -> Any:
        read.append(sample.input)
        return usual(self, sample)

    monkeypatch.setattr(Examples, "read", watched)
    data, settings = folder(tmp_path / "data", 8), {"strategy": "probe", "augment": False, "epochs": 1}
    seen = []
    for number in range(2):
        read.clear()
        tiny_module().finetune(data, output_dir=tmp_path / str(number), progress=False, **settings)
        seen.append(len(set(read)))
    assert seen[0] == 24
    assert seen[1] <= 2  # one of each part, for its shape


@pytest.mark.parametrize("options", [
    {"loss": "focal", "focal_gamma": 1.0}, {"loss": "logit_adjusted"}, {"sampler": "balanced"}, {"mixup": 0.2},
    {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}, {"average": 0.9}, {"anchor": 0.1}, {"dropout": 0.3},
    {"clip_norm": 0.1}, {"accumulate": 2}, {"schedule": "one_cycle", "warmup": 0.3}, {"to_static": True},
    {"strategy": "gradual"}, {"freeze": 2, "views": 3}, {"batch_size": "auto"}, {"class_weight": "balanced"},
], ids=str)  # fmt: skip
def test_every_setting_changes_the_run_and_the_module_still_learns(tmp_path: Path, options: dict) -> None:
    plain = trained(tmp_path / "plain", epochs=3, learning_rate=0.01, strategy="full")
    module = trained(tmp_path / "run", **{"epochs": 3, "learning_rate": 0.01, "strategy": "full", **options})
    for name, value in options.items():
        assert module.run.config[name] == value, "it is written down"
    losses = [[row["train_loss"] for row in one.run.history] for one in (plain, module)]
    # The data is balanced, and compiled or averaged weights are for what comes after a step's loss.
    same = ({"to_static": True}, {"class_weight": "balanced"}, {"loss": "logit_adjusted"}, {"average": 0.9})
    assert np.allclose(*losses, rtol=1e-4) == (options in same)
    array = samples(1)[0][0]
    assert hub.Module(module.run.best).predict(array) == module.predict(array)


MOBILE = {
    "arch": {"name": "mobilenet_v1", "scale": 0.25},
    "preprocess": [{"normalize": {"mean": [0.3] * 3, "std": [0.3] * 3}}],
}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ({}, {"strategy": "full", "freeze": 2}),
        ({}, {"strategy": "probe"}),
        ({}, {"strategy": "gradual"}),
        (MOBILE, {"strategy": "full", "freeze": 1}),
        (MOBILE, {"strategy": "full"}),
    ],
    ids=["freeze", "probe", "gradual", "mobilenet, freeze", "mobilenet"],
)
def test_a_compiled_network_learns_what_it_does_otherwise_whatever_is_frozen(
    tmp_path: Path, module: dict, options: dict
) -> None:
    """Also where more of it is opened from one epoch to the next."""
    data = [(np.stack([array] * 3, axis=2), label) for array, label in samples(8)]
    losses = []
    for to_static in (False, True):
        run = tiny_module(**module).finetune(
            data, output_dir=tmp_path / str(to_static), epochs=4, learning_rate=0.003, batch_size=8, augment=False,
            progress=False, to_static=to_static, **options,
        ).run  # fmt: skip
        losses.append([row["train_loss"] for row in run.history if row["epoch"]])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_compiled_network_learns_from_all_parts_of_a_step_where_they_are_of_several_sizes(
    tmp_path: Path,
) -> None:
    losses: list[list[float]] = []

    class Losses(Callback):
        def on_step_end(self, trainer: Any, row: Any) -> None:
            losses[-1].append(row["loss"])

    for to_static in (False, True):
        losses.append([])
        tiny_module().finetune(
            samples(13), valid=False, output_dir=tmp_path / str(to_static), epochs=2, learning_rate=0.003, batch_size=6,
            accumulate=2, augment=False, strategy="full", progress=False, to_static=to_static, callbacks=[Losses()],
        )  # fmt: skip
    assert len(losses[0]) == 8, "of 10, 10, 10 and 9 samples: 5 and 5, or 5 and 4"
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_sweep_normalizes_as_the_run_does_that_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own statistics or the pretrained ones, which the size of a part of a step decides."""
    sizes: list[int] = []
    plain = freezing.train_mode
    monkeypatch.setattr(trainer, "train_mode", lambda model, size: (sizes.append(size), plain(model, size)))
    with contextlib.suppress(TrainingError):  # so few steps need not suggest anything
        tiny_module().range_test(samples(12), steps=20, batch_size=6, accumulate=4, progress=False)
    swept, sizes = set(sizes), []
    trained(tmp_path, valid=False, strategy="full", batch_size=6, accumulate=4)
    assert swept == set(sizes) == {5}, "a quarter of 18"


def test_a_teacher_is_learnt_from(tmp_path: Path) -> None:
    teacher = trained(tmp_path / "teacher", epochs=8, learning_rate=0.01, strategy="full")
    student = trained(
        tmp_path / "run", strategy="full", learning_rate=0.01, epochs=8, teacher=teacher, valid=False
    )
    assert student.run.config["teacher"] == str(teacher.run.best)
    held = [array for array, _ in samples(8, seed=4)]
    answers = [[row["label"] for row in one.predict(held)] for one in (teacher, student)]
    assert np.mean(np.array(answers[0]) == np.array(answers[1])) > 0.6
    other = tiny_module()
    with pytest.raises(
        UsageError, match="teacher tiny: expected the labels bar, dot, frame, found this, that"
    ):
        trained(tmp_path / "no", teacher=other)
    with pytest.raises(UsageError, match="range_test takes no teacher"):
        tiny_module().range_test(samples(12), teacher=teacher)


def test_a_teacher_beside_weights_of_classes_is_the_same_in_parts(tmp_path: Path) -> None:
    settings = {"strategy": "probe", "epochs": 3, "valid": False, "class_weight": {"bar": 20.0}}
    teacher = trained(tmp_path / "teacher")
    whole, parts = (
        trained(tmp_path / f"{count}", teacher=teacher, batch_size=12 // count, accumulate=count, **settings)
        for count in (1, 4)
    )
    for one, other in zip(whole.run.history[1:], parts.run.history[1:], strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)


def test_early_stopping_ends_the_run_and_keeps_the_best(tmp_path: Path) -> None:
    module = trained(tmp_path, epochs=30, learning_rate=0.5, strategy="full", early_stop=2)
    assert len(module.run.history) < 30
    assert module.run.metrics["accuracy"] == max(row["valid_accuracy"] for row in module.run.history)


def test_what_it_says_to_write_does_the_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = hub.Module(tiny_module().save(tmp_path / "mine"))
    data = folder(tmp_path / "data", 8)
    (data / "dot" / "broken.png").write_bytes(b"none")
    module.finetune(
        data, epochs=30, learning_rate=0.5, strategy="full", early_stop=2, on_bad="skip", multi_label=False
    )
    assert "ended early: accuracy has not risen since epoch" in capsys.readouterr().err
    assert module.run.config["early_stop"]["patience"] == 2
    rows = [curve(module.run), curve(done_again(module.run))]
    assert rows[0] == rows[1]


def curve(run: hub.finetune.run.Run) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in run.history]


def done_again(run: hub.finetune.run.Run) -> hub.finetune.run.Run:
    """What the line of its report gives, in a folder of its own."""
    names: dict[str, Any] = {}
    exec(run.command.replace("hub.Module(", "done = hub.Module(", 1), names)  # noqa: S102 - what the report says
    return names["done"].run


@pytest.mark.parametrize("name", ["glyphs_cnn", "mine"])
def test_what_it_says_to_write_begins_where_the_run_began(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that was trained before is not what it was loaded as."""
    monkeypatch.chdir(tmp_path)
    tiny_module().save("mine")
    teacher = hub.Module(name if name == "glyphs_cnn" else "./mine")
    data = folder(tmp_path / "data", 6)
    settings: dict[str, Any] = {
        "epochs": 2, "strategy": "full", "learning_rate": 0.01, "augment": False, "progress": False,
    }  # fmt: skip
    module = copy.deepcopy(teacher).finetune(data, output_dir=tmp_path / "first", **settings)
    module.finetune(data, output_dir=tmp_path / "second", **settings)
    assert f"hub.Module({str(tmp_path / 'first' / 'best')!r}).finetune(" in module.run.command
    assert curve(done_again(module.run)) == curve(module.run)
    teacher.finetune(data, output_dir=tmp_path / "teacher", **settings)
    module.finetune(data, output_dir=tmp_path / "third", teacher=teacher, **settings)
    assert module.run.config["teacher"] == str(tmp_path / "teacher" / "best")
    assert curve(done_again(module.run)) == curve(module.run)


def test_what_it_says_to_write_says_so_where_nothing_loads_what_it_began_with(tmp_path: Path) -> None:
    settings = {"epochs": 1, "strategy": "probe", "progress": False, "output_dir": tmp_path / "run"}
    module = tiny_module().finetune(samples(6), **settings)
    assert "\nhub.Module.create('tiny', …).finetune(" in module.run.command
    module.finetune(samples(6), **settings)
    assert "\nhub.Module(…).finetune(" in module.run.command, "it was replaced by what came of the run"
    module = hub.Module(tmp_path / "run" / "best").finetune(samples(6), **settings)
    assert "\nhub.Module(…).finetune(" in module.run.command


def test_what_it_says_to_write_keeps_the_labels_and_weights_that_were_asked_for(tmp_path: Path) -> None:
    made = hub.Module("glyphs_cnn", num_classes=3)
    weights.save(tmp_path / "other.safetensors", weights.state_of(made.network))
    module = hub.Module("glyphs_cnn", num_classes=3, load_checkpoint=tmp_path / "other.safetensors")
    module.finetune(samples(6), output_dir=tmp_path / "run", epochs=1, strategy="probe", progress=False)
    again = (
        f"hub.Module('glyphs_cnn', num_classes=3, load_checkpoint={str(tmp_path / 'other.safetensors')!r})"
    )
    assert f"\n{again}.finetune(" in module.run.command


def test_a_bundled_module_is_written_by_its_name(tmp_path: Path) -> None:
    module = hub.Module("glyphs_cnn")
    module.finetune(samples(12), output_dir=tmp_path / "run", epochs=1, strategy="probe", progress=False)
    assert "\nhub.Module('glyphs_cnn').finetune(" in module.run.command


def test_the_report_shows_the_run(tmp_path: Path) -> None:
    module = trained(tmp_path, learning_rate=0.5, strategy="full", test=samples(4, seed=9))
    page = module.run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("accuracy", "bar", "Configuration", "item "):
        assert text in page
    assert page.count("<img") == len(module.run.misses) > 0


def test_a_disk_too_small_for_the_module_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    module = tiny_module()
    before = weights.digest(module.network)
    with pytest.raises(StorageError, match=r"the trained module needs [\d,]+ bytes of disk space, has 1,000"):
        module.finetune(samples(4), output_dir=tmp_path / "run", progress=False)
    assert weights.digest(module.network) == before
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_report_is_written_without_the_pictures_that_were_moved_since(tmp_path: Path) -> None:
    data, valid = folder(tmp_path / "data", 6), folder(tmp_path / "valid", 6, seed=9)
    settings = {"strategy": "full", "epochs": 1, "learning_rate": 1e-6, "progress": False}
    module = tiny_module().finetune(data, valid=valid, output_dir=tmp_path / "run", **settings)
    assert module.run.misses
    shutil.rmtree(valid)
    page = module.run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "It cannot be shown: " in page
    assert "no such file" in page


def test_a_second_run_finds_the_features_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.finetune import features

    asked: list[int] = []
    real = features.infer

    def count(prefix, given):
        asked.append(len(given))
        return real(prefix, given)

    monkeypatch.setattr(features, "infer", count)
    data = folder(tmp_path / "data", 8)

    def train(**options):
        return tiny_module().finetune(
            data, epochs=2, strategy="probe", output_dir=tmp_path / "run", progress=False, **options
        )

    first = train()
    assert asked == 4 * [features.FEW], "18 samples to train and 6 to measure, in full batches"
    again = train()
    assert len(asked) == 4, "nothing is computed twice"
    assert again.run.metrics == first.run.metrics
    Image.fromarray(samples(1, seed=77)[0][0]).save(sorted((data / "bar").iterdir())[0])
    train()
    assert len(asked) == 5, "a changed picture is"
    without = train(cache=False)
    assert without.run.metrics["accuracy"] == pytest.approx(train().run.metrics["accuracy"])


@pytest.mark.parametrize(
    ("count", "before"), [(40, 29), (6, 4), (26, 18)], ids=["compiled", "not compiled", "compiled later"]
)
@pytest.mark.parametrize(
    "options", [{"strategy": "probe"}, {"freeze": 2}, {"freeze": 2, "views": 2}], ids=str
)
def test_a_run_does_not_depend_on_what_others_have_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, before: int, options: dict[str, Any]
) -> None:
    data = samples(count)

    def train(home: str, given: Any) -> dict[str, np.ndarray]:
        monkeypatch.setenv("HUB_HOME", str(tmp_path / home))
        module = tiny_module().finetune(
            given, epochs=2, batch_size=8, valid=False, output_dir=tmp_path / "run", progress=False, **options
        )
        return weights.state_of(module.network)

    train("full", data[3 * before : 1 : -1])
    found, expected = train("full", data), train("empty", data)
    assert all(np.array_equal(found[name], array) for name, array in expected.items())


def test_files_that_are_as_they_were_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.finetune import digests

    read: list[Path] = []

    def watched(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", watched)
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**18))  # files that are new may be written down
    data = folder(tmp_path / "data", 8)

    def train(**options):
        return tiny_module().finetune(
            data, epochs=1, strategy="probe", output_dir=tmp_path / "run", progress=False, **options
        )

    first = train()
    assert len(set(read)) == len(read) == 24
    again = train()
    assert len(read) == 24
    assert again.run.metrics == first.run.metrics
    Image.fromarray(samples(1, seed=77)[0][0]).save(sorted((data / "bar").iterdir())[0])
    train()
    assert read[24:] == [sorted((data / "bar").iterdir())[0]]


def test_the_range_test_suggests_a_rate_that_learns_and_leaves_the_module_alone(tmp_path: Path) -> None:
    module = tiny_module()
    before = weights.state_of(module.network)
    found = module.range_test(samples(20), batch_size=10)
    assert all(
        np.array_equal(array, before[name]) for name, array in weights.state_of(module.network).items()
    )
    assert module.labels == ("this", "that")
    assert 1e-4 < found.suggestion < 0.3
    found.plot(tmp_path / "rates.png")
    assert Image.open(tmp_path / "rates.png").size[0] > 300
    module.finetune(
        samples(12), strategy="full", learning_rate=found.suggestion, epochs=10, batch_size=10,
        output_dir=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert module.run.metrics["accuracy"] > 0.8


def test_the_range_test_leaves_bad_samples_out_where_it_is_told_to(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", 12)
    (data / "bar" / "000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="unreadable"):
        tiny_module().range_test(data, batch_size=10, progress=False)
    assert tiny_module().range_test(data, batch_size=10, progress=False, on_bad="skip").suggestion > 0


@pytest.mark.parametrize("name", ["valid", "match", "early_stop"])
def test_what_the_range_test_does_not_take_is_refused_in_its_own_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"^range_test takes no argument '{name}'"):
        tiny_module().range_test(samples(4), **{name: 1})


def test_the_range_test_takes_for_a_switch_what_finetune_does() -> None:
    with pytest.raises(UsageError, match="multi_label: expected True or False, found 'no'"):
        tiny_module().range_test(samples(4), multi_label="no")  # type: ignore[arg-type]


class Note(Callback):
    def __init__(self, value: Any, name: Any = "mine") -> None:
        self.value, self.name = value, name

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        row[self.name] = self.value


class Failing(Callback):
    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        raise ZeroDivisionError("of the user's own")


def test_what_a_callback_notes_in_a_row_is_kept_with_it(tmp_path: Path) -> None:
    notes = [Note(np.float32(0.25))]
    module = trained(tmp_path, strategy="full", callbacks=notes, progress=True)
    assert [row["mine"] for row in module.run.history] == [0.25, 0.25]
    assert json.loads((module.run.folder / "history.json").read_text()) == module.run.history


def test_a_note_that_is_no_number_is_null_in_the_file_and_ends_nothing(tmp_path: Path) -> None:
    """Such is the area under a curve where all samples are of one class."""
    notes = [
        Note(np.float32("nan")),
        Note([1.0, {"loss": -math.inf}], "nested"),
        Note(math.nan, "valid_accuracy"),
    ]
    module = trained(tmp_path, strategy="full", callbacks=notes, progress=True)
    assert all(math.isnan(row["mine"]) for row in module.run.history)
    written = json.loads((module.run.folder / "history.json").read_text(), parse_constant=pytest.fail)
    assert [(row["mine"], row["nested"]) for row in written] == 2 * [(None, [1.0, {"loss": None}])]


def test_a_note_that_no_float_holds_ends_nothing(tmp_path: Path) -> None:
    module = trained(tmp_path, strategy="full", callbacks=[Note(10**400)], progress=True)
    assert [row["mine"] for row in module.run.history] == [10**400, 10**400]
    assert (module.run.folder / "metrics.json").is_file()
    assert module.run.report(tmp_path / "report.html").is_file()


def test_a_run_is_resumed_after_a_note_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path, strategy="full", callbacks=[Note(math.nan), Failing()])
    assert math.isnan(trained(tmp_path, strategy="full", resume=True).run.history[0]["mine"])


def test_a_note_is_kept_as_it_was_when_it_was_made(tmp_path: Path) -> None:
    growing: list[Any] = []
    note = Note(growing)
    note.on_train_end = lambda trainer: growing.append(paddle.ones([2]))  # type: ignore[method-assign]
    assert trained(tmp_path, strategy="full", callbacks=[note]).run.history[0]["mine"] == []


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (Note(paddle.ones([2])), r"row\['mine'\]: expected what JSON can hold"),
        (Note(np.array(["2026-11-22"], "M8[D]")[0]), r"row\['mine'\]: expected what JSON can hold"),
        (Note({(1, 2): 0.5}), r"row\['mine'\]: expected what JSON can hold"),
        (Note(0.5, ("a", "b")), r"row: expected a text as key, found \('a', 'b'\)"),
    ],
    ids=["tensor", "date", "nested key", "key"],
)
def test_a_note_that_cannot_be_kept_names_callback_and_key_and_leaves_a_checkpoint(
    tmp_path: Path, note: Callback, message: str
) -> None:
    with pytest.raises(UsageError, match=f"Note.on_epoch_end: {message}"):
        trained(tmp_path, strategy="full", callbacks=[note])
    assert trained(tmp_path, strategy="full", resume=True).run.history[-1]["epoch"] == 2


class NotesAndFails(Failing):
    """Puts into the row what it can before it raises, and what no file can hold."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        row.update(tensor=paddle.ones([2]), half=np.float32(0.5), date=np.array(["2026-11-22"], "M8[D]")[0])
        super().on_epoch_end(trainer, row)


def test_a_row_keeps_what_callbacks_put_into_it_before_and_behind_one_that_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path, strategy="full", callbacks=[Note(1, "before"), NotesAndFails(), Note(2, "behind")])
    (written,) = json.loads((tmp_path / "run" / "history.json").read_text())
    first, _ = trained(tmp_path, strategy="full", resume=True).run.history
    assert first == written
    assert (first["before"], first["half"], first["behind"]) == (1, 0.5, 2)
    assert not {"tensor", "date"} & first.keys()


class Breaking(Callback):
    def on_step_end(self, trainer: Trainer, step: dict[str, Any]) -> None:
        raise KeyboardInterrupt


def interrupted_while_features_are_computed(module: hub.Module, folder: Path) -> None:
    def come(layer: nn.Layer, given: Any) -> None:
        raise KeyboardInterrupt

    hook = module.network.backbone.stem.register_forward_pre_hook(come)
    with pytest.raises(KeyboardInterrupt):
        module.finetune(samples(12), strategy="probe", output_dir=folder, progress=False)
    hook.remove()


def interrupted_in_a_step(module: hub.Module, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        module.finetune(
            samples(12), freeze=2, layer_decay=0.5, output_dir=folder, progress=False, callbacks=[Breaking()]
        )


TRAININGS: list[Callable[[hub.Module, Path], object]] = [
    lambda module, folder: module.range_test(
        samples(20), freeze=2, layer_decay=0.5, batch_size=10, progress=False
    ),
    lambda module, folder: module.finetune(
        samples(12), strategy="full", freeze=2, layer_decay=0.5, epochs=1, output_dir=folder, progress=False
    ),
    interrupted_while_features_are_computed,
    interrupted_in_a_step,
]


@pytest.mark.parametrize("train", TRAININGS, ids=["range_test", "finetune", "features", "a step"])
def test_a_training_leaves_nothing_behind_that_the_next_one_would_learn_by(
    tmp_path: Path, train: Callable[[hub.Module, Path], object]
) -> None:
    def marks(module: hub.Module) -> list[tuple[str, bool, float, bool]]:
        return [
            (name, each.trainable, each.optimize_attr["learning_rate"], each.grad is None)
            for name, each in module.network.named_parameters()
        ]

    module, untouched = tiny_module(), tiny_module(labels=LABELS)
    assert all(trainable for name, trainable, *_ in marks(module) if name.endswith(".weight"))
    module.finetune(samples(12), strategy="probe", epochs=1, output_dir=tmp_path / "before", progress=False)
    train(module, tmp_path / "run")
    assert marks(module) == marks(untouched)


def test_features_of_another_network_or_other_variants_are_not_taken_for_these(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", 8)

    def run(*augment: dict, **options) -> float:
        module = tiny_module(augment=list(augment)).finetune(
            data, epochs=1, strategy="full", freeze=3, valid=False, output_dir=tmp_path / "run", progress=False,
            **options,
        )  # fmt: skip
        return module.run.history[-1]["train_loss"]

    run()
    assert run(drop_groups=1) == pytest.approx(run(drop_groups=1, cache=False), abs=1e-5)
    moved, blurred = {"random_affine": {"translate": 0.1}}, {"random_blur": {}}
    assert run(moved, views=2) != run(moved, blurred, views=2)


def test_a_long_input_in_memory_is_told_from_another_by_every_number() -> None:
    sound = np.zeros(5000, np.float32)
    other = sound.copy()
    other[2500] = 1
    assert digest_of((sound, 16000)) == digest_of((sound.copy(), 16000))
    assert digest_of((sound, 16000)) != digest_of((other, 16000))
    assert digest_of((sound, 16000)) != digest_of((sound, 8000))


def flat(colour: str, mode: str, **info: Any) -> Image.Image:
    made = Image.new("RGBA", (6, 4), colour).convert(mode, palette=Image.Palette.ADAPTIVE)
    made.info.update(info)
    return made


def opened(made: Image.Image, name: str, folder: Path, **options: Any) -> Image.Image:
    made.save(folder / name, **options)
    return Image.open(folder / name)


def turned(orientation: int, folder: Path) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    return opened(pixels, f"{orientation}.png", folder, exif=exif)


UNEQUAL: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "palettes": lambda p: (flat("red", "P"), flat("blue", "P")),
    "palettes of files": lambda p: tuple(opened(flat(c, "P"), f"{c}.gif", p) for c in ("red", "blue")),
    "a transparent colour": lambda p: (flat("red", "P"), flat("red", "P", transparency=0)),
    "transparent shades": lambda p: (flat("red", "P", transparency=b"\x80"), flat("red", "P", transparency=b"\x90")),
    "a transparent grey": lambda p: (flat("black", "L"), opened(flat("black", "L"), "t.png", p, transparency=0)),
    "opacity": lambda p: (flat("#ff000080", "RGBA"), flat("#ff000090", "RGBA")),
    "orientations": lambda p: (turned(3, p), turned(6, p)),
    "sides": lambda p: (Image.new("L", (6, 4)), Image.new("L", (4, 6))),
    "modes": lambda p: tuple(Image.frombytes(mode, (1, 1), b"\x50\x60\x70\xff") for mode in ("CMYK", "RGBA")),
    "sixteen bits": lambda p: tuple(Image.fromarray(np.full((4, 6), n, np.uint16)) for n in (300, 9000)),
    "types of numbers": lambda p: (np.ones((4, 6), np.uint8), np.ones((4, 6), np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("make", UNEQUAL.values(), ids=UNEQUAL)
def test_pictures_in_memory_that_do_not_look_alike_are_told_apart(
    make: Callable[[Path], tuple[Any, Any]], tmp_path: Path
) -> None:
    one, other = make(tmp_path)
    seen = [np.asarray(image.read(each)).tolist() for each in (one, other)]
    assert seen[0] != seen[1], "they are no case for this test"
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one.copy())


def test_features_that_are_kept_are_those_of_the_colours_in_a_palette(tmp_path: Path) -> None:
    data = [(flat(f"rgb({n}, {250 - n}, 0)", "P"), "warm" if n > 125 else "cold") for n in range(0, 250, 10)]
    colours = {"preprocess": [{"rgb": {}}, {"resize": {"size": 8}},
                              {"normalize": {"mean": [0.5] * 3, "std": [0.5] * 3}}],
               "arch": {"name": "small_resnet", "width": 2, "in_channels": 3}, "augment": []}  # fmt: skip
    runs = [
        tiny_module(**colours).finetune(
            data, epochs=2, strategy="probe", cache=cache, output_dir=tmp_path / str(cache), progress=False
        ).run
        for cache in (True, False)
    ]  # fmt: skip
    for kept, computed in zip(runs[0].history, runs[1].history, strict=True):
        assert kept["valid_loss"] == pytest.approx(computed["valid_loss"], rel=1e-4)


@pytest.mark.parametrize(("kind", "weight"), [
    ("image_classification", {"this": 9.0}), ("image_classification", {}), ("semantic_segmentation", {"this": 9.0}),
    ("semantic_segmentation", {}), ("multi_task_image_classification", {"a/this": 9.0}),
], ids=str)  # fmt: skip
def test_a_step_in_parts_has_the_gradients_of_the_whole_step(kind: str, weight: dict[str, float]) -> None:
    """Also where samples differ in weight, by class or by how many of their pixels count."""
    rng = np.random.default_rng(0)
    labels = ["a/this", "a/that"] if "multi" in kind else ["this", "that"]
    task = tasks.create(kind, labels)
    segments = kind == "semantic_segmentation"
    inputs = rng.normal(size=(7, 3, 8, 8) if segments else (7, 6)).astype(np.float32)
    targets = rng.integers(0, 2, (7, 8, 8) if segments else 7)
    if segments:
        targets[0, :7] = 255
    loss = task.loss(
        class_weight=task.class_weight(weight, dict(zip(labels, (3, 4), strict=True))) if weight else None
    )
    found = []
    for pieces in (1, 3):
        paddle.seed(0)
        layer = paddle.nn.Conv2D(3, 2, 1) if segments else paddle.nn.Linear(6, 2)
        optimizer = paddle.optimizer.SGD(1.0, parameters=layer.parameters())
        trainer = Trainer(layer, task, optimizer=optimizer, loss=loss, schedule=lambda at: 1.0, pieces=pieces)
        trainer.total_steps = 1
        value = trainer.train_step(inputs, targets, 7)
        found.append((value, *(each.numpy() for each in layer.parameters())))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["dice", "lovasz"])
def test_a_step_in_parts_has_the_pixels_of_the_whole_step_and_the_overlap_of_each_part(kind: str) -> None:
    """However many pixels of a part count: an overlap is no mean over pixels, and is that of each part's samples."""
    rng = np.random.default_rng(0)
    task = tasks.create("semantic_segmentation", ["this", "that"])
    logits = rng.normal(size=(6, 2, 8, 8)).astype(np.float32)
    targets = rng.integers(0, 2, (6, 8, 8))
    targets[:2, 1:] = 255
    entropy, overlap = task.loss(), {"dice": dice, "lovasz": lovasz}[kind]
    y, x = paddle.to_tensor(targets), paddle.to_tensor(logits)
    expected = float(entropy(x, y)) + sum(float(overlap(x[i : i + 2], y[i : i + 2])) for i in (0, 2, 4)) / 3
    layer = paddle.nn.Conv2D(
        2, 2, 1, weight_attr=nn.initializer.Dirac(), bias_attr=False
    )  # gives what it takes
    trainer = Trainer(
        layer, task, optimizer=paddle.optimizer.SGD(0.1, parameters=layer.parameters()), loss=task.loss(kind=kind),
        schedule=lambda at: 1.0, pieces=3,
    )  # fmt: skip
    trainer.total_steps = 1
    assert trainer.train_step(logits, targets, 6) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_clip_norm_is_the_largest_norm_of_the_gradient_of_a_whole_step(
    share: float, layer_decay: float
) -> None:
    """Against float64: of one step AdamW's first moment is a tenth of the gradient that it was given."""
    paddle.seed(0)
    layers = [paddle.nn.Linear(6, 5), paddle.nn.Linear(5, 4), paddle.nn.Linear(4, 2)]
    model = paddle.nn.Sequential(*layers)
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(7, 6)).astype(np.float32), rng.integers(0, 2, 7)
    task = tasks.create("image_classification", ["this", "that"])
    task.loss()(model(paddle.to_tensor(inputs)), paddle.to_tensor(targets)).backward()
    gradients = {name: each.grad.numpy().astype(np.float64) for name, each in model.named_parameters()}
    model.clear_gradients()
    norm = np.sqrt(sum((each**2).sum() for each in gradients.values()))

    groups = [(str(number), [layer]) for number, layer in enumerate(layers)]
    config = Config(clip_norm=share * norm, layer_decay=layer_decay)
    adam = optimizer.build(groups, config, 0.01)
    trainer = Trainer(model, task, optimizer=adam, loss=task.loss(), schedule=lambda at: 1.0)
    trainer.total_steps = 1
    trainer.train_step(inputs, targets, 7)
    arrays, _ = optimizer_state.to_arrays(adam, {name: each.name for name, each in model.named_parameters()})
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            arrays[f"moment1/{name}"], 0.1 * min(1.0, share) * gradient, rtol=1e-5, atol=1e-8
        )


def test_each_group_back_from_the_head_learns_slower_by_layer_decay() -> None:
    """AdamW's first step moves every weight by its learning rate, whatever the size of its gradient."""
    layers = [paddle.nn.Linear(3, 3, bias_attr=False) for _ in range(3)]
    model = paddle.nn.Sequential(*layers)
    groups = [(str(number), [layer]) for number, layer in enumerate(layers)]
    adam = optimizer.build(groups, Config(layer_decay=0.5, weight_decay=0.0), 0.01)
    before = [layer.weight.numpy() for layer in layers]
    model(paddle.ones([1, 3])).sum().backward()
    adam.step()
    moved = [
        float(np.abs(layer.weight.numpy() - old).mean()) for layer, old in zip(layers, before, strict=True)
    ]
    np.testing.assert_allclose(moved, [0.0025, 0.005, 0.01], rtol=1e-3)
