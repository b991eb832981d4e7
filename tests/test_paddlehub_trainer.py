"""`hub.Trainer`: scripts written for PaddleHub run on our loop, and what was broken there works."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import hub
from hub import errors
from hub.datasets.masks import prepare_masks
from hub.finetune import optimizer_state
from hub.modules import weights
from hub.trainer.steps import remaining
from hub.transforms import spectrogram
from tests.pictures import LABELS, picture, tiny_module

ROOT = Path(__file__).parents[1]
WORDS = 12


class BagOfWords(nn.Layer):
    """Counts of words to one of two classes: PaddleHub's demo in small, with dropout to make randomness matter."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.drop, self.out = nn.Linear(WORDS, 8), nn.Dropout(dropout), nn.Linear(8, 2)

    def forward(self, counts: Any) -> Any:
        return self.out(self.drop(paddle.tanh(self.hidden(counts))))

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        logits = self(batch[0])
        right = (logits.argmax(-1) == batch[1]).astype("float32").mean()
        return {"loss": nn.functional.cross_entropy(logits, batch[1]), "metrics": {"acc": right}}

    validation_step = training_step


class Texts(paddle.io.Dataset):
    """Class 1 says the first half of the words more often; with `noise` a sample differs whenever it is read."""

    def __init__(self, count: int, *, noise: bool = False, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 2, count)
        self.counts = rng.poisson(2, (count, WORDS)).astype(np.float32)
        self.counts[self.labels == 1, : WORDS // 2] += 5
        self.noise = noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        noise = np.random.rand(WORDS).astype(np.float32) if self.noise else 0
        return self.counts[index] + noise, int(self.labels[index])


def trainer(
    folder: Path | str, *, kind: type = hub.Trainer, dropout: float = 0.0, rate: Any = 0.01, **options: Any
) -> Any:
    paddle.seed(5)
    model = options.pop("model", None) or BagOfWords(dropout=dropout)
    optimizer = paddle.optimizer.Adam(learning_rate=rate, parameters=model.parameters())
    return kind(model, optimizer, checkpoint_dir=str(folder), **{"use_vdl": False, **options})


def equal(one: Any, other: Any) -> bool:
    a, b = (weights.state_of(each.layer) for each in (one, other))
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def moments(one: Any) -> dict[str, np.ndarray]:
    names = {name: parameter.name for name, parameter in one.layer.named_parameters()}
    return optimizer_state.to_arrays(one.optimizer, names)[0]


# ---- a script as PaddleHub's demos have it ----


def test_a_text_classifier_of_ones_own_learns_and_is_evaluated(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    rows = one.train(Texts(200), epochs=5, batch_size=8, eval_dataset=Texts(31, seed=1), log_interval=3)
    result = one.evaluate(Texts(31, seed=1), batch_size=4)
    assert result["metrics"]["acc"] > 0.9
    assert result["loss"] == pytest.approx(rows[-1]["valid_loss"], rel=1e-5)
    assert len(rows) == 5, "an evaluation after every epoch, whatever save_interval is"
    assert all("valid_acc" in row for row in rows)
    assert (tmp_path / "best_model/model.safetensors").is_file()
    assert (tmp_path / "epoch_5/model.safetensors").is_file(), "the last epoch is always saved"
    assert not (tmp_path / "epoch_4").exists()


def test_the_mean_is_over_samples_and_not_over_batches(tmp_path: Path) -> None:
    one, data = trainer(tmp_path), Texts(7)
    whole = one.evaluate(data, batch_size=7)
    assert one.evaluate(data, batch_size=4)["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    with paddle.no_grad():
        logits = one.layer(paddle.to_tensor(data.counts))
        direct = float(nn.functional.cross_entropy(logits, paddle.to_tensor(data.labels)))
    assert whole["loss"] == pytest.approx(direct, rel=1e-5)


class Pictures(paddle.io.Dataset):
    """(float32 [1, H, W], class number), as PaddleHub's image datasets give them."""

    def __init__(self, each: int, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.items = [
            (picture(label, n)[None].astype(np.float32) / 255 / 0.3 - 1, np.full(shape, number, np.int64))
            for n in range(each)
            for number, label in enumerate(LABELS)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@pytest.mark.parametrize("shape", [(), (1,)], ids=["labels [N]", "labels [N, 1]"])
def test_a_module_with_other_labels_is_trained_and_its_checkpoint_predicts(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    folder = str(tiny_module().save(tmp_path / "tiny"))
    module = hub.Module(name=folder, label_list=list(LABELS))
    assert module.labels == LABELS
    one = trainer(tmp_path / "ckpt", model=module)
    before = one.evaluate(Pictures(5, shape), batch_size=5)
    one.train(Pictures(10, shape), epochs=3, batch_size=10, eval_dataset=Pictures(5, shape))
    after = one.evaluate(Pictures(5, shape), batch_size=5)
    assert set(after["metrics"]) == {"acc"}
    assert after["loss"] < before["loss"]
    # the path that PaddleHub's predict.py has
    best = tmp_path / "ckpt/best_model/model.pdparams"
    loaded = hub.Module(folder, label_map=dict(enumerate(LABELS)), load_checkpoint=str(best))
    assert loaded.predict([picture("dot", 0)])[0]["label"] in LABELS
    state = weights.load(best.with_suffix(".safetensors"))
    assert all(np.array_equal(value.numpy(), state[name]) for name, value in loaded.state_dict().items())


def test_a_module_reads_our_own_datasets_as_finetune_does(tmp_path: Path) -> None:
    from tests.pictures import folder

    data = hub.datasets.load(folder(tmp_path / "data", 4)).train
    module = tiny_module(labels=list(LABELS))
    one = trainer(tmp_path / "ckpt", model=module)
    result = one.evaluate(data, batch_size=5)
    theirs = module.evaluate(tmp_path / "data", batch_size=5)
    assert result["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    assert result["metrics"]["acc"] == pytest.approx(theirs["accuracy"])
    one.train(data, epochs=1, batch_size=4)
    with pytest.raises(errors.UsageError, match="expected the labels this, that, found bar, dot, frame"):
        trainer(tmp_path / "other", model=tiny_module()).train(data)
    with pytest.raises(errors.UsageError, match="collate_fn"):
        trainer(tmp_path / "third").train(data)


def test_masks_of_our_own_are_trained_and_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = [
        (
            Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)),
            np.tile(np.uint8([0, 1, 255, 1]), (16, 4)),
        )
        for _ in range(4)
    ]
    module = segmenter()
    data = hub.datasets.load(pairs, "masks").train
    one = trainer(tmp_path, model=module)
    one.train(data, batch_size=2, eval_dataset=data)
    assert one.evaluate(data, batch_size=2)["loss"] == pytest.approx(module.evaluate(data)["loss"], rel=1e-3)


def test_data_of_another_kind_is_refused_before_its_labels_are_compared(tmp_path: Path) -> None:
    data = hub.datasets.load([(picture("dot", n), "this") for n in range(2)]).train
    with pytest.raises(
        errors.UsageError, match=r'(?s)expected pictures with masks.*with labels.*kind="masks"'
    ):
        trainer(tmp_path, model=segmenter()).train(data)


PAIRS = [(("a cat", "a cat"), "1"), (("a cat", "no dog"), "0")] * 6


@pytest.mark.parametrize("task", ["text-matching", "text_matching"])
def test_pairs_of_texts_are_trained_and_measured(tmp_path: Path, task: str) -> None:
    data = hub.datasets.load(PAIRS, kind="pairs").train
    module = hub.Module("sentences_static", task=task, num_classes=2)
    one = trainer(tmp_path, model=module)
    one.train(data, epochs=2, batch_size=4, eval_dataset=data)
    assert one.evaluate(data, batch_size=5)["metrics"]["acc"] == pytest.approx(
        module.evaluate(data)["accuracy"]
    )


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["dot", "frame", "bar"], ("frame", "bar", "dot")),
        (["0", "1", "2"], LABELS),
        ([0, 1, 2], LABELS),
        (["2", "1"], LABELS),
    ],
    ids=["another order", "numbers in a file", "numbers", "some numbers"],
)
def test_labels_of_a_dataset_are_found_in_those_of_the_module(
    tmp_path: Path, given: list[Any], labels: tuple[str, ...]
) -> None:
    data = hub.datasets.load([(picture("dot", n), label) for n, label in enumerate(given)]).train
    one = trainer(tmp_path, model=tiny_module(labels=list(labels)))
    numbers = [labels.index(label) if label in labels else int(label) for label in given]
    same = hub.datasets.load(
        [(picture("dot", n), labels[number]) for n, number in enumerate(numbers)], labels=labels
    ).train
    assert one.evaluate(data) == one.evaluate(same)


def test_tags_in_another_order_and_several_labels_are_found_too(tmp_path: Path) -> None:
    sentences = [(["anna", "lives", "here"], ["B-PER", "O", "O"])] * 4
    data = hub.datasets.load(sentences, kind="tagged").train
    losses = []
    for number, tags in enumerate((list(data.labels), ["B-PER", "I-PER", "O"])):
        module = hub.Module("sentences_static", task="token-cls", label_list=tags)
        head = module.network.head
        for parameter in head.parameters():  # a logit that says which tag it is
            values = [{"O": 1.0, "B-PER": 2.0, "I-PER": 3.0}[tag] for tag in tags]
            parameter.set_value(paddle.expand(paddle.to_tensor(values), parameter.shape))
        losses.append(trainer(tmp_path / str(number), model=module).evaluate(data)["loss"])
    assert losses[0] == pytest.approx(losses[1])
    several = [(picture("dot", n), ["this", "that"][: n % 2 + 1]) for n in range(4)]
    found = [
        trainer(tmp_path / order[0], model=tiny_module(multi_label=True)).evaluate(
            hub.datasets.load(several, labels=order).train
        )
        for order in (["this", "that"], ["that", "this"])
    ]
    assert found[0] == found[1]


def test_samples_with_several_labels_and_a_module_with_one_do_not_go_together(tmp_path: Path) -> None:
    given = [(picture("dot", n), ["this", "that"][: n % 2 + 1]) for n in range(4)]
    known = ["this", "that"]
    several = hub.datasets.load(given, labels=known).train
    one = hub.datasets.load(given[::2], labels=known, multi_label=False).train
    many = tiny_module(multi_label=True)
    with pytest.raises(errors.UsageError, match=r"(?s)train_dataset: .* several labels .*multi_label=True"):
        trainer(tmp_path / "one", model=tiny_module()).train(several)
    with pytest.raises(errors.UsageError, match=r"train_dataset: .* one label"):
        trainer(tmp_path / "many", model=many).train(one)
    assert "valid_loss" in trainer(tmp_path / "fits", model=many).train(several, eval_dataset=several)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "text_regression", "label_list": ["score"]}, "text_regression, .*finetune"),
        ({}, "sentences_static has no labels.*label_list"),
    ],
)
def test_a_module_that_cannot_be_trained_so_is_refused_by_name(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(errors.UsageError, match=f"(?s){said}"):
        trainer(tmp_path, model=hub.Module("sentences_static", **options))


# ---- resuming ----


def schedule() -> Any:
    return paddle.optimizer.lr.CosineAnnealingDecay(0.05, T_max=40)


def begin(seed: int = 11) -> None:
    np.random.seed(seed)
    paddle.seed(seed)


class Signalled(hub.Trainer):
    """Gets a Ctrl-C in the middle of the second epoch."""

    def optimizer_step(self, epoch_idx: int, batch_idx: int, optimizer: Any, loss: Any) -> None:
        super().optimizer_step(epoch_idx, batch_idx, optimizer, loss)
        if (epoch_idx, batch_idx) == (2, 3):
            signal.raise_signal(signal.SIGINT)


class Failing(hub.Trainer):
    """Has a hook that fails there, when the weights are changed already."""

    def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Any) -> None:
        if (epoch_idx, batch_idx) == (2, 3):
            raise ZeroDivisionError("of the user's own")
        super().optimizer_zero_grad(epoch_idx, batch_idx, optimizer)


class Vanishing(Texts):
    """Has a sample that cannot be read: the first of the fourth step of the second epoch."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.left = 30 + 12

    def __getitem__(self, index: int) -> Any:
        if not self.left:
            raise FileNotFoundError("a drive that is gone")
        self.left -= 1
        return super().__getitem__(index)


@pytest.mark.parametrize("rate", [lambda: 0.01, schedule], ids=["constant", "schedule"])
@pytest.mark.parametrize(
    ("epochs", "kind", "data", "error"),
    [
        (2, hub.Trainer, Texts, None),
        (4, Signalled, Texts, KeyboardInterrupt),
        (4, Failing, Texts, ZeroDivisionError),
        (4, hub.Trainer, Vanishing, FileNotFoundError),
    ],
    ids=["after an epoch", "by a signal", "by a hook", "by the dataset"],
)
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(
    tmp_path: Path, epochs: int, kind: Any, data: Any, error: Any, rate: Any
) -> None:
    def run(folder: str, epochs: int, kind: Any = hub.Trainer, data: Any = Texts) -> Any:
        begun = (tmp_path / folder).exists()
        one = trainer(tmp_path / folder, kind=kind, dropout=0.3, rate=rate())
        begin(seed=99 if begun else 11)  # a resumed run must not care
        one.train(
            data(30, noise=True), epochs=epochs, batch_size=4, eval_dataset=Texts(9, noise=True, seed=1),
            save_interval=1,
        )  # fmt: skip
        return one

    whole = run("whole", 4)
    with pytest.raises(error) if error else nullcontext():
        run("broken", epochs, kind, data)
    resumed = run("broken", 4)
    assert equal(whole, resumed)
    assert whole._loop.step == resumed._loop.step == 32
    a, b = moments(whole), moments(resumed)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert whole.best_metrics == resumed.best_metrics
    assert [{**row, "seconds": 0} for row in whole._loop.history] == [
        {**row, "seconds": 0} for row in resumed._loop.history
    ]


def test_epochs_is_where_a_run_ends_and_not_how_many_more(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    assert len(one.train(Texts(8), epochs=2)) == 2
    assert len(one.train(Texts(8), epochs=2)) == 2
    assert len(one.train(Texts(8), epochs=3)) == 3
    again = trainer(tmp_path)
    assert again.current_epoch == 3
    assert len(again.train(Texts(8), epochs=3)) == 3
    assert equal(one, again)


def test_whole_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    two = np.int64(2)
    options = {"batch_size": two, "num_workers": two, "log_interval": two, "save_interval": two, "seed": two}
    assert len(trainer(tmp_path).train(Texts(8), epochs=two, **options)) == 2
    assert len(trainer(tmp_path).train(Texts(8), epochs=3, batch_size=2, seed=2)) == 3


def test_a_run_that_is_at_its_end_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trainer(tmp_path)
    one.train(Texts(8), epochs=2)
    assert "nothing to train" not in capsys.readouterr().err
    for epochs in (2, 1):
        again = trainer(tmp_path)
        assert len(again.train(Texts(8), epochs=epochs)) == 2
        assert "epoch 2 is reached already: nothing to train" in capsys.readouterr().err
        assert again.current_epoch == 2
    assert len(again.train(Texts(8), epochs=3)) == 3, "and it goes on from where it stands"


def test_another_rate_in_the_script_is_the_one_that_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Halving(hub.Trainer):
        def learning_rate_step(self, epoch_idx: int, batch_idx: int, learning_rate: Any, loss: Any) -> None:
            self.optimizer.set_lr(self.optimizer.get_lr() / 2)

    def go_on(rate: float, epochs: int, kind: type = hub.Trainer) -> Any:
        one = trainer(tmp_path, rate=rate, kind=kind)
        return one.train(Texts(8), epochs=epochs, batch_size=4)[-1]["learning_rate"]

    assert go_on(0.01, 1, Halving) == pytest.approx(0.005), "of the second step"
    assert go_on(0.01, 2, Halving) == pytest.approx(0.00125), "the rate that the run had come to"
    assert "learning rate" not in capsys.readouterr().err
    assert go_on(0.5, 3) == pytest.approx(0.5)
    assert "learning rate: 0.5, as the script says now; it was 0.01" in capsys.readouterr().err
    assert go_on(0.5, 4) == pytest.approx(0.5)
    assert "learning rate" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 4}, "batch_size was 2 and is 4"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"count": 9}, "the data"),
    ],
)
def test_a_run_is_not_gone_on_with_by_other_settings(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    trainer(tmp_path).train(Texts(8), epochs=1, batch_size=2)
    settings = {"batch_size": 2, "count": 8, **change}
    with pytest.raises(errors.UsageError, match=f"(?s){said}.*in another folder") as caught:
        trainer(tmp_path).train(Texts(settings.pop("count")), epochs=2, **settings)
    assert "output_dir" not in str(caught.value), "hub.Trainer has no such argument"


def test_after_a_ctrl_c_the_trainer_measures_and_trains_on(tmp_path: Path) -> None:
    class SignalledOnce(hub.Trainer):
        left = 2

        def optimizer_step(self, epoch_idx: int, batch_idx: int, optimizer: Any, loss: Any) -> None:
            super().optimizer_step(epoch_idx, batch_idx, optimizer, loss)
            self.left -= 1
            if not self.left:
                signal.raise_signal(signal.SIGINT)

    one = trainer(tmp_path, kind=SignalledOnce)
    with pytest.raises(KeyboardInterrupt):
        one.train(Texts(16), epochs=2, batch_size=4, eval_dataset=Texts(9))
    assert 0 <= one.evaluate(Texts(9))["metrics"]["acc"] <= 1
    one.save_model(
        str(tmp_path / "best_model")
    )  # nothing is known of it: it is measured before the first step
    assert len(one.train(Texts(16), epochs=2, batch_size=4, eval_dataset=Texts(9))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 2}, "batch_size was 4 and is 2"),
        ({"count": 20}, "the data changed: train: 16 then, 20 now"),
    ],
    ids=str,
)
def test_an_epoch_that_was_begun_is_not_ended_by_other_settings(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    one, settings = trainer(tmp_path, kind=Signalled), {"batch_size": 4, "count": 16, **change}
    data = Texts(settings.pop("count"))
    with pytest.raises(KeyboardInterrupt):
        one.train(Texts(16), epochs=2, batch_size=4)
    # The signal came in the last step: what is left of the epoch is its end.
    with pytest.raises(errors.UsageError, match=f"cannot go on with this run:\n  {said}"):
        one.train(data, epochs=2, **settings)
    assert len(one.train(Texts(16), epochs=2, batch_size=4)) == 2
    assert len(one.train(data, epochs=3, **settings)) == 3, "between two epochs it may be another set"


# ---- PaddleHub's own checkpoints ----


def write_paddlehub(folder: Path, one: Any, *, epoch: int = 3) -> None:
    place = folder / f"epoch_{epoch}"
    place.mkdir(parents=True)
    paddle.save(one.layer.state_dict(), str(place / "model.pdparams"))
    paddle.save(one.optimizer.state_dict(), str(place / "model.pdopt"))


def steps(one: Any, count: int) -> None:
    for number in range(count):
        batch = [
            paddle.to_tensor(Texts(8, seed=number).counts),
            paddle.to_tensor(Texts(8, seed=number).labels),
        ]
        loss, _ = one.training_step(batch, number)
        one.optimizer_step(1, number, one.optimizer, loss)
        one.optimizer_zero_grad(1, number, one.optimizer)


@pytest.mark.parametrize("rate", [lambda: 0.01, schedule], ids=["constant", "schedule"])
def test_a_checkpoint_of_paddlehub_is_gone_on_with(
    tmp_path: Path, rate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    old = trainer(tmp_path / "unused", rate=rate())
    steps(old, 4)
    write_paddlehub(tmp_path / "ckpt", old, epoch=3)
    write_paddlehub(tmp_path / "ckpt", trainer(tmp_path / "unused2"), epoch=2)
    (tmp_path / "ckpt/metrics.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    nn.Linear(2, 2)  # this process numbers its layers on: paddle's names are other ones here
    new = trainer(tmp_path / "ckpt", rate=rate())
    assert "metrics.pkl is not read" in capsys.readouterr().err
    assert new.current_epoch == 3
    assert equal(old, new)
    steps(old, 2)
    steps(new, 2)
    assert equal(old, new), "the moments of Adam and the schedule are those of the old run"
    assert len(new.train(Texts(8), epochs=5, batch_size=4)[1:]) == 2
    assert new._loop.step == 10
    assert (tmp_path / "ckpt/epoch_5/model.safetensors").is_file()
    assert trainer(tmp_path / "ckpt", rate=rate()).current_epoch == 5, "ours is newer than epoch_3 now"


def as_in_paddlehub(module: Any, kind: str) -> nn.Layer:
    """The same parameters where PaddleHub's networks have them: backbone and classifier side by side."""
    old, inside = nn.Layer(), module.network.backbone
    if kind == "panns_cnn6":
        inside.fc_audioset = nn.Linear(512, 527)
        old.cnn6, old.fc = inside, module.network.head
        return old
    for name, layer in inside.named_children():
        old.add_sublayer(name, layer)
    old.out = module.network.head
    return old


@pytest.mark.parametrize(
    ("arch", "preprocess", "task"),
    [
        (
            {"name": "resnet_vd", "depth": 18},
            [{"rgb": {}}, {"normalize": {"mean": [0.5] * 3, "std": [0.5] * 3}}],
            "image_classification",
        ),
        (
            {"name": "panns_cnn6"},
            [{"log_mel": spectrogram.PANNS}],
            "audio_classification",
        ),
    ],
    ids=["pictures", "sounds"],
)
def test_what_paddlehub_trained_of_a_pretrained_module_is_gone_on_with(
    tmp_path: Path, arch: Any, preprocess: Any, task: str
) -> None:
    def module(seed: int) -> Any:
        return hub.Module.create(
            "pretrained", task=task, arch=arch, preprocess=preprocess, labels=list(LABELS), seed=seed
        )

    folder = module(0).save(tmp_path / "pretrained")
    trained = module(1)
    old = as_in_paddlehub(trained, arch["name"])
    adam = paddle.optimizer.Adam(0.01, parameters=old.parameters())
    begin()
    used = [one for name, one in old.named_parameters() if one.trainable and "fc_audioset" not in name]
    sum((one * paddle.randn(one.shape)).sum() for one in used).backward()
    adam.step()
    (tmp_path / "ckpt/epoch_3").mkdir(parents=True)
    file = tmp_path / "ckpt/epoch_3/model.pdparams"
    paddle.save(old.state_dict(), str(file))
    paddle.save(adam.state_dict(), str(file.with_suffix(".pdopt")))
    wanted = {
        name: value.numpy() for name, value in trained.state_dict().items() if "fc_audioset" not in name
    }
    one = trainer(tmp_path / "ckpt", model=hub.Module(folder))
    for given in (hub.Module(folder, load_checkpoint=file), one.model):
        found = given.state_dict()
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(value.numpy(), wanted[name]) for name, value in found.items())
    names = {name: parameter.name for name, parameter in trained.network.named_parameters()}
    theirs, ours = optimizer_state.to_arrays(adam, names)[0], moments(one)
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_what_paddlehub_left_is_not_taken_for_the_new_best(tmp_path: Path) -> None:
    old = trainer(tmp_path / "unused")
    write_paddlehub(tmp_path, old)
    (tmp_path / "epoch_3").rename(tmp_path / "best_model")
    one = trainer(tmp_path, compare_metrics=lambda old, new: True)
    one.train(Texts(8), eval_dataset=Texts(4))
    assert sorted(path.name for path in (tmp_path / "best_model").iterdir()) == ["model.safetensors"]


@pytest.mark.parametrize("file", ["model.pdparams", "model.safetensors"])
def test_the_best_weights_of_before_are_kept_until_better_ones_come(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = trainer(tmp_path / "unused")
    good.train(Texts(200), epochs=5, batch_size=8)
    mark = good.evaluate(Texts(31, seed=1))
    good.save_model(str(tmp_path / "ckpt/best_model"))
    if file == "model.pdparams":
        (tmp_path / "ckpt/best_model/model.safetensors").unlink()
        paddle.save(good.layer.state_dict(), str(tmp_path / "ckpt/best_model" / file))
    kept = (tmp_path / "ckpt/best_model" / file).read_bytes()
    one = trainer(tmp_path / "ckpt", rate=1e-6)
    before = weights.state_of(one.layer)
    one.train(Texts(8), eval_dataset=Texts(31, seed=1))
    assert [path.name for path in (tmp_path / "ckpt/best_model").iterdir()] == [file]
    assert (tmp_path / "ckpt/best_model" / file).read_bytes() == kept
    assert one.best_metrics == pytest.approx({"acc": mark["metrics"]["acc"], "loss": mark["loss"]})
    assert f"acc={mark['metrics']['acc']:.4f}" in capsys.readouterr().err
    after = weights.state_of(one.layer)
    assert all(np.allclose(after[name], before[name], atol=1e-3) for name in before), (
        "it trains its own weights"
    )
    better = trainer(tmp_path / "ckpt", compare_metrics=lambda old, new: True)
    better.train(Texts(8), epochs=2, eval_dataset=Texts(31, seed=1))
    assert [path.name for path in (tmp_path / "ckpt/best_model").iterdir()] == ["model.safetensors"]
    assert (tmp_path / "ckpt/best_model/model.safetensors").read_bytes() != kept


def test_the_best_weights_of_another_network_are_to_be_moved_away(tmp_path: Path) -> None:
    trainer(tmp_path / "other").save_model(str(tmp_path / "ckpt/best_model"))
    one = trainer(tmp_path / "ckpt", model=segmenter())
    sample = (np.ones((1, 16, 16), np.float32), np.zeros((16, 16), int))
    with pytest.raises(
        errors.WeightsError, match=r"hint: move .*ckpt/best_model away, or choose another checkpoint_dir"
    ):
        one.train([sample], eval_dataset=[sample])


def test_a_checkpoint_of_another_network_is_refused_with_both_sides(tmp_path: Path) -> None:
    old = trainer(tmp_path / "unused")
    old.layer.out = nn.Linear(8, 5)
    old.layer.more = nn.Linear(2, 2)
    paddle.save(old.layer.state_dict(), str(tmp_path / "epoch_1/model.pdparams"))
    with pytest.raises(errors.WeightsError, match=r"out.weight: expected \(8, 2\), found \(8, 5\)") as caught:
        trainer(tmp_path)
    assert "unexpected more.weight" in str(caught.value)


def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "epoch_1").mkdir()
    mark = tmp_path / "pwned"
    (tmp_path / "epoch_1/model.pdparams").write_bytes(f"cos\nsystem\n(S'touch {mark}'\ntR.".encode())
    with pytest.raises(errors.UnsafeFileError):
        trainer(tmp_path)
    assert not mark.exists()


def test_an_optimizer_state_that_does_not_fit_names_the_file(tmp_path: Path) -> None:
    old = trainer(tmp_path / "unused")
    steps(old, 1)
    write_paddlehub(tmp_path, old)
    model = BagOfWords()
    sgd = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    with pytest.raises(errors.TrainingError, match=r"(?s)model\.pdopt.*remove") as caught:
        hub.Trainer(model, sgd, use_vdl=False, checkpoint_dir=str(tmp_path))
    assert "unexpected beta1_pow_acc/hidden.bias" in str(caught.value)


# ---- hooks ----


def test_every_hook_is_called_with_what_it_is_told(tmp_path: Path) -> None:
    calls: dict[str, list[Any]] = {}

    class Watched(hub.Trainer):
        def note(self, name: str, *given: Any) -> None:
            calls.setdefault(name, []).append(given)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.note("training_step", batch_idx, self.layer.training)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.note("validation_step", batch_idx, self.layer.training, paddle.is_grad_enabled())
            return super().validation_step(batch, batch_idx)

        def optimizer_step(self, epoch_idx: int, batch_idx: int, optimizer: Any, loss: Any) -> None:
            self.note("optimizer_step", epoch_idx, batch_idx, optimizer is self.optimizer)
            super().optimizer_step(epoch_idx, batch_idx, optimizer, loss)

        def learning_rate_step(self, epoch_idx: int, batch_idx: int, learning_rate: Any, loss: Any) -> None:
            self.note("learning_rate_step", epoch_idx, batch_idx, type(learning_rate).__name__)
            super().learning_rate_step(epoch_idx, batch_idx, learning_rate, loss)

        def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Any) -> None:
            self.note("optimizer_zero_grad", epoch_idx, batch_idx)
            super().optimizer_zero_grad(epoch_idx, batch_idx, optimizer)

        def save_model(self, save_dir: str) -> None:
            self.note("save_model", Path(save_dir).name)
            super().save_model(save_dir)

        def load_model(self, load_dir: str) -> None:
            self.note("load_model", Path(load_dir).name)
            super().load_model(load_dir)

        def _compare_metrics(self, old: Any, new: Any) -> bool:
            self.note("_compare_metrics", list(old), list(new))
            return True

    rates = paddle.optimizer.lr.StepDecay(0.1, step_size=1, gamma=0.5)
    one = trainer(tmp_path, kind=Watched, rate=rates)
    one.train(Texts(4), epochs=2, batch_size=2, eval_dataset=Texts(2), save_interval=1)
    trainer(tmp_path, kind=Watched, rate=paddle.optimizer.lr.StepDecay(0.1, step_size=1))
    every = [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert calls == {
        "training_step": [(0, True), (1, True)] * 2,
        "validation_step": [(0, False, False), (1, False, False)][:1] * 2,
        "optimizer_step": [(*at, True) for at in every],
        "learning_rate_step": [(*at, "StepDecay") for at in every],
        "optimizer_zero_grad": every,
        "save_model": [("best_model",), ("epoch_1",), ("best_model",), ("epoch_2",)],
        "_compare_metrics": [(["acc", "loss"], ["acc", "loss"])],
        "load_model": [("epoch_2",)],
    }
    assert one.optimizer.get_lr() == pytest.approx(0.1 * 0.5**4), "one step of the schedule a batch"


def test_a_training_step_of_ones_own_decides_what_is_learnt(tmp_path: Path) -> None:
    class Frozen(hub.Trainer):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = (self.layer.out.bias**2).sum() + batch[0].sum() * 0
            loss.backward()
            return loss, {"mine": 1.0}

    class Bare(nn.Layer):
        """Has neither step: the trainer brings its own."""

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(2, 2, bias_attr=nn.initializer.Constant(1.0))

    one = trainer(tmp_path, kind=Frozen, model=Bare())
    before = weights.state_of(one.layer)
    one.train(Texts(4))
    after = weights.state_of(one.layer)
    assert np.array_equal(before["out.weight"], after["out.weight"])
    assert (np.abs(after["out.bias"]) < np.abs(before["out.bias"])).all()


class Every2(hub.Trainer):
    """Changes the weights by the gradients of two steps."""

    def optimizer_step(self, epoch_idx: int, batch_idx: int, optimizer: Any, loss: Any) -> None:
        if batch_idx % 2:
            super().optimizer_step(epoch_idx, batch_idx, optimizer, loss)

    def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Any) -> None:
        if batch_idx % 2:
            super().optimizer_zero_grad(epoch_idx, batch_idx, optimizer)


def test_gradients_accumulate_when_the_hooks_say_so(tmp_path: Path) -> None:
    def after(kind: type, batch_size: int) -> dict[str, np.ndarray]:
        model = BagOfWords()
        model.set_state_dict(start)
        sgd = paddle.optimizer.SGD(0.1 if batch_size == 8 else 0.05, parameters=model.parameters())
        kind(model, sgd, use_vdl=False, checkpoint_dir=str(tmp_path / str(batch_size))).train(
            Texts(16), batch_size=batch_size
        )
        return weights.state_of(model)

    start = weights.state_of(BagOfWords())
    halves, whole = after(Every2, 4), after(hub.Trainer, 8)
    for name, value in whole.items():
        np.testing.assert_allclose(halves[name], value, rtol=1e-4, atol=1e-6)


def stopping(base: type, error: BaseException, step: int) -> type:
    """Give a trainer in which an error comes once: when the gradients of a step are there."""

    class Stopping(base):  # type: ignore[misc]
        left = step

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            found = super().training_step(batch, batch_idx)
            Stopping.left -= 1
            if not Stopping.left:
                raise error
            return found

    return Stopping


@pytest.mark.parametrize("base", [hub.Trainer, Every2])
@pytest.mark.parametrize("step", [6, 7])
def test_a_step_that_failed_counts_once_when_it_is_taken_again(tmp_path: Path, base: type, step: int) -> None:
    whole = trainer(tmp_path / "whole", kind=base)
    whole.train(Texts(16), epochs=2, batch_size=4)
    broken = trainer(tmp_path / "broken", kind=stopping(base, ZeroDivisionError("of the user's own"), step))
    with pytest.raises(ZeroDivisionError):
        broken.train(Texts(16), epochs=2, batch_size=4)
    broken.train(Texts(16), epochs=2, batch_size=4)
    assert equal(whole, broken)


class SometimesAll(BagOfWords):
    """Goes another way in every second step, so that some gradients are zero and others are not there."""

    def forward(self, counts: Any) -> Any:
        self.turn = not getattr(self, "turn", False)
        return super().forward(counts) if self.turn else self.out(paddle.tanh(counts[:, :8]))


@pytest.mark.parametrize("kind", [BagOfWords, SometimesAll])
@pytest.mark.parametrize("base", [hub.Trainer, Every2])
@pytest.mark.parametrize("step", [5, 6])
def test_gradients_are_gone_on_with(tmp_path: Path, kind: type, base: type, step: int) -> None:
    class Signalled(base):  # type: ignore[misc,valid-type]
        def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Any) -> None:
            super().optimizer_zero_grad(epoch_idx, batch_idx, optimizer)
            if (epoch_idx - 1) * 4 + batch_idx == step:
                signal.raise_signal(signal.SIGINT)

    first, second = kind(), kind()
    second.set_state_dict(first.state_dict())
    whole = trainer(tmp_path / "whole", kind=base, model=first)
    whole.train(Texts(16), epochs=3, batch_size=4)
    broken = trainer(tmp_path / "broken", kind=Signalled, model=second)
    with pytest.raises(KeyboardInterrupt):
        broken.train(Texts(16), epochs=3, batch_size=4)
    resumed = trainer(tmp_path / "broken", kind=base, model=kind())
    resumed.layer.turn = getattr(broken.layer, "turn", False)
    resumed.train(Texts(16), epochs=3, batch_size=4)
    assert equal(whole, resumed)


class Pooled(BagOfWords):
    """Words by their numbers, with sparse gradients: of the rows that a batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, WORDS, sparse=True)

    def forward(self, counts: Any) -> Any:
        return super().forward(self.table(counts.astype("int64")).mean(1))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("step", [5, 6])
def test_sparse_gradients_are_gone_on_with(tmp_path: Path, optimizer: str, step: int) -> None:
    # Paddle's Adam gives sparse gradients other weights from run to run where it is not lazy.
    settings: dict[str, Any] = {"lazy_mode": True} if optimizer == "Adam" else {}

    def made(folder: str, kind: type) -> Any:
        paddle.seed(5)
        model = Pooled()
        made = getattr(paddle.optimizer, optimizer)(0.01, parameters=model.parameters(), **settings)
        return kind(model, made, use_vdl=False, checkpoint_dir=str(tmp_path / folder))

    class Signalled(Every2):
        def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Any) -> None:
            super().optimizer_zero_grad(epoch_idx, batch_idx, optimizer)
            if (epoch_idx - 1) * 4 + batch_idx == step:
                signal.raise_signal(signal.SIGINT)

    whole, broken = made("whole", Every2), made("broken", Signalled)
    whole.train(Texts(16), epochs=3, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        broken.train(Texts(16), epochs=3, batch_size=4)
    resumed = made("broken", Every2)
    resumed.train(Texts(16), epochs=3, batch_size=4)
    assert equal(whole, resumed)
    failing = made("failing", stopping(Every2, ZeroDivisionError("of the user's own"), step))
    with pytest.raises(ZeroDivisionError):
        failing.train(Texts(16), epochs=3, batch_size=4)
    failing.train(Texts(16), epochs=3, batch_size=4)
    assert equal(whole, failing)


class BreaksOnce(Texts):
    """Raises when the sample is read for the second time, after it has drawn."""

    left = 2

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        if index == 3:
            self.left -= 1
            if not self.left:
                raise OSError("the disk was away")
        return item


@pytest.mark.parametrize("anew", [False, True], ids=["in this process", "in another trainer"])
def test_what_was_drawn_for_a_step_that_was_not_taken_is_drawn_once(tmp_path: Path, anew: bool) -> None:
    def made(folder: str) -> Any:
        np.random.seed(1)
        return trainer(tmp_path / folder, dropout=0.3)

    whole = made("whole").train(Texts(16, noise=True), epochs=3, batch_size=4)
    broken = made("broken")
    with pytest.raises(OSError, match="the disk was away"):
        broken.train(BreaksOnce(16, noise=True), epochs=3, batch_size=4)
    if anew:
        broken = made("broken")
    rows = broken.train(Texts(16, noise=True), epochs=3, batch_size=4)
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in whole]


class Measuring(hub.Trainer):
    """Measures in the middle of every step."""

    data: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        found = super().training_step(batch, batch_idx)
        self.evaluate(self.data, batch_size=4)
        return found


def test_measuring_in_a_hook_changes_nothing(tmp_path: Path) -> None:
    """What is frozen, and the statistics of small batches, are not in training."""

    def after(kind: type) -> dict[str, np.ndarray]:
        module = tiny_module(labels=list(LABELS))
        for each in module.network.backbone.parameters():
            each.trainable = False
        sgd = paddle.optimizer.SGD(0.1, parameters=module.network.parameters())
        one = kind(module, sgd, use_vdl=False, checkpoint_dir=str(tmp_path / kind.__name__))
        one.data = Pictures(2)
        one.train(Pictures(8), epochs=2, batch_size=12)
        return weights.state_of(module.network)

    usual, measured = after(hub.Trainer), after(Measuring)
    assert [name for name in usual if not np.array_equal(usual[name], measured[name])] == []


def test_a_ctrl_c_while_a_hook_measures_lets_the_step_end(tmp_path: Path) -> None:
    class Interrupting(Texts):
        left = 9

        def __getitem__(self, index: int) -> Any:
            self.left -= 1
            if not self.left:
                signal.raise_signal(signal.SIGINT)
            return super().__getitem__(index)

    whole = trainer(tmp_path / "whole")
    whole.train(Texts(16), epochs=2, batch_size=4)
    broken = trainer(tmp_path / "broken", kind=Measuring)
    broken.data = Interrupting(6)
    with pytest.raises(KeyboardInterrupt):
        broken.train(Texts(16), epochs=2, batch_size=4)
    resumed = trainer(tmp_path / "broken")
    assert resumed._loop.step == 2
    resumed.train(Texts(16), epochs=2, batch_size=4)
    assert equal(whole, resumed)


def test_the_learning_rate_of_an_epoch_is_the_one_it_was_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = trainer(tmp_path, rate=paddle.optimizer.lr.StepDecay(0.1, step_size=2, gamma=0.1))
    rows = one.train(Texts(8), epochs=2, batch_size=4, log_interval=1)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.01])
    assert re.findall(r"lr=([\d.]+)", capsys.readouterr().err) == ["0.100000"] * 2 + ["0.010000"] * 2


# ---- what is best ----


def test_what_could_not_be_written_is_not_the_best(tmp_path: Path) -> None:
    class FullOnce(hub.Trainer):
        left = 2

        def save_model(self, save_dir: str) -> None:
            if save_dir.endswith("best_model"):
                self.left -= 1
                if not self.left:
                    raise OSError("the disk was full")
            super().save_model(save_dir)

    data, valid = Texts(64), Texts(31, seed=1)
    one = trainer(tmp_path, kind=FullOnce, compare_metrics=lambda old, new: new["loss"] < old["loss"])
    with pytest.raises(OSError, match="the disk was full"):
        one.train(data, epochs=3, batch_size=8, eval_dataset=valid)
    resumed = trainer(tmp_path)
    said = resumed.best_metrics
    resumed._load_weights(tmp_path / "best_model" / "model.safetensors")
    assert resumed.evaluate(valid)["loss"] == pytest.approx(said["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "better"),
    [
        ({"acc": 0.8, "loss": 1.0}, {"acc": 0.9, "loss": 2.0}, True),
        ({"acc": 0.8, "loss": 1.0}, {"acc": 0.7, "loss": 0.1}, False),
        ({"acc": 0.8, "loss": 1.0}, {"acc": 0.8, "loss": 0.9}, True),
        ({"acc": 0.8, "loss": 1.0}, {"acc": 0.8, "loss": 1.0}, False),
        ({"loss": 1.0}, {"loss": 0.9}, True),
        ({"loss": 1.0}, {"loss": 1.1}, False),
        ({"style gap": 1.0}, {"style gap": 0.5}, True),
        ({"acc": 0.8}, {"acc": float("nan")}, False),
        ({"acc": float("nan")}, {"acc": 0.1}, True),
        ({"acc": float("nan")}, {"acc": float("nan")}, False),
        ({"other": 0.8}, {"acc": 0.1}, True),
    ],
)
def test_the_better_of_two(tmp_path: Path, old: Any, new: Any, better: bool) -> None:
    assert trainer(tmp_path)._compare_metrics(old, new) is better


def test_the_best_epoch_by_a_rule_of_ones_own_is_the_one_that_is_kept(tmp_path: Path) -> None:
    one = trainer(tmp_path, rate=0.3, compare_metrics=lambda old, new: new["loss"] > old["loss"])
    rows = one.train(Texts(20), epochs=5, batch_size=5, eval_dataset=Texts(10, seed=2), save_interval=1)
    worst = max(rows, key=lambda row: row["valid_loss"])
    kept = weights.load(tmp_path / "best_model/model.safetensors")
    same = weights.load(tmp_path / f"epoch_{worst['epoch']}/model.safetensors")
    assert all(np.array_equal(kept[name], same[name]) for name in same)
    assert one.best_metrics["loss"] == worst["valid_loss"]


# ---- batches of any kind ----


class Halves(nn.Layer):
    """Learns nothing but its input's mean; takes a bare tensor, a dict or a nested list."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = self.create_parameter([3])

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        while not isinstance(batch, paddle.Tensor):
            batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
        return {"loss": ((batch - self.mean) ** 2).mean()}

    validation_step = training_step


@pytest.mark.parametrize(
    ("wrap", "collate"),
    [
        (lambda row: row, None),
        (lambda row: {"x": row}, None),
        (lambda row: (row, 1), None),
        (lambda row: row, lambda rows: {"x": [np.stack(rows), ["a", "name"]]}),
        (lambda row: row, lambda rows: (paddle.to_tensor(np.stack(rows)),)),
        (paddle.to_tensor, None),
    ],
    ids=["bare array", "dict", "pair", "nested with text", "tensors by collate", "tensors"],
)
def test_batches_of_any_structure_are_weighed_by_their_samples(
    tmp_path: Path, wrap: Any, collate: Any
) -> None:
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    data = [wrap(row) for row in rows]
    one = trainer(tmp_path, model=Halves())
    mean = one.layer.mean.numpy()
    assert one.evaluate(data, batch_size=2, collate_fn=collate) == {
        "loss": pytest.approx(float(((rows - mean) ** 2).mean()), rel=1e-5),
        "metrics": {},
    }
    one.train(data, batch_size=2, eval_dataset=data, collate_fn=collate)
    assert one.best_metrics.keys() == {"loss"}


def test_a_loss_of_zero_and_no_loss_at_all_are_told_apart(tmp_path: Path) -> None:
    class Fixed(Halves):
        result: Any = None

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return self.result

    model = Fixed()
    one = trainer(tmp_path, model=model)
    rows = list(np.ones((2, 3), np.float32))
    for result, expected in (
        ({"loss": paddle.zeros([])}, {"loss": 0.0, "metrics": {}}),
        ({"metrics": {"acc": np.float32(0.5)}}, {"metrics": {"acc": 0.5}}),
        ({"loss": paddle.ones([1]), "metrics": {"loss": 3}}, {"loss": 1.0, "metrics": {"loss": 3.0}}),
    ):
        model.result = result
        assert one.evaluate(rows) == expected
    for result, said in (
        (None, "expected a dict with 'loss', 'metrics' or both, found NoneType"),
        ({"metric": 1}, r"found \['metric'\]"),
        ({"metrics": {"acc": np.ones(2)}}, "acc: expected one number"),
    ):
        model.result = result
        with pytest.raises(errors.UsageError, match=said):
            one.evaluate(rows)


def numbered(count: int, label: Any = 0, *, like: Any = np.float32, shape: Any = (1, 16, 16)) -> list[Any]:
    return [(np.ones(shape, like), label) for _ in range(count)]


@pytest.mark.parametrize(
    "data",
    [
        [(np.ones((1, 16, 16)), 1)] * 3,
        [(np.ones((1, 16, 16), np.float16), np.uint8(1))] * 3,
        [(np.ones((1, 16, 16), np.float32), 1.0)] * 3,
        [(np.ones((1, 16, 16), np.float32), np.array([1], np.int32))] * 3,
        [(paddle.ones([1, 16, 16], "float64"), paddle.to_tensor(1))] * 3,
    ],
    ids=["float64", "float16, uint8", "whole float", "[N, 1]", "tensors"],
)
def test_samples_of_another_type_mean_the_same(tmp_path: Path, data: Any) -> None:
    one = trainer(tmp_path, model=tiny_module())
    assert one.evaluate(data, batch_size=2) == one.evaluate(numbered(3, 1), batch_size=2)
    one.train(data, batch_size=2, eval_dataset=data)


def test_spectrograms_need_no_axis_of_channels(tmp_path: Path) -> None:
    one = trainer(tmp_path, model=hub.Module("speech_cnn", label_list=["a", "b"]))
    shape = one.model.network.backbone.example_shape
    mel = np.random.default_rng(0).normal(size=shape[1:]).astype(np.float32)
    assert one.evaluate([(mel, 0)]) == one.evaluate([(mel[None], 0)])
    with pytest.raises(
        errors.UsageError, match=r'(?s)\[1, frames, bands\], found an array \[99\].*kind="sounds"'
    ):
        one.evaluate([(mel[0, 0] * np.ones(99, np.float32), 0)])


def segmenter() -> Any:
    return hub.Module.create(
        "tiny", task="semantic_segmentation", labels=["ground", "sign"],
        preprocess=[{"grayscale": {}}, {"normalize": {"mean": [0.5], "std": [0.5]}}],
        arch={"name": "fpn", "channels": 8, "encoder": {"name": "small_resnet", "width": 2}},
    )  # fmt: skip


def test_masks_of_any_whole_type_mean_the_same(tmp_path: Path) -> None:
    mask = np.tile([0, 1, 255, 1], (16, 4))
    one = trainer(tmp_path, model=segmenter())
    losses = [
        one.evaluate([(np.ones((1, 16, 16), np.float32), each)] * 2)["loss"]
        for each in (mask, mask.astype(np.uint8), mask[None], mask.astype(np.float32))
    ]
    assert losses == [losses[0]] * 4
    one.train([(np.ones((1, 16, 16), np.float32), mask.astype(np.uint8))] * 2)


def test_masks_whose_classes_stand_in_another_order_mean_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(3):
        mask = np.tile(np.uint8([0, 1, 255, 1]), (16, 4))
        for name, array in (("images", rng.integers(0, 255, (16, 16), dtype=np.uint8)), ("masks", mask)):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "data" / name / f"{n}.png")
    losses = []
    for names, change in ((("ground", "sign"), [0, 1]), (("sign", "ground"), [1, 0])):
        (tmp_path / "data/labels.txt").write_text("\n".join(names))
        for n in range(3):
            path = tmp_path / "data/masks" / f"{n}.png"
            Image.fromarray(np.uint8([*change, *range(2, 256)])[mask]).save(path)
        one = trainer(tmp_path / names[0], model=segmenter())
        found = prepare_masks(tmp_path / "data", valid=False).train
        one.train(found, batch_size=2, epochs=2, eval_dataset=found)
        losses.append(one.evaluate(found)["loss"])
    assert losses[1] == losses[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            numbered(2, shape=(3, 16, 16)),
            r"sample 0: expected an array \[1, height, width\], found an array \[3, 16",
        ),
        (numbered(2, shape=(16, 16, 1)), r"found an array \[16, 16, 1\].*transpose"),
        (numbered(2, like=np.uint8), "sample 0: expected float32 .*found uint8"),
        ([*numbered(5), *numbered(1, 5)], "sample 5: expected a class number from 0 to 1, found 5"),
        ([*numbered(5), *numbered(1, -1)], "sample 5: expected a class number from 0 to 1, found -1"),
        (numbered(2, 0.5), "sample 0: expected a class number from 0 to 1, found 0.5"),
        (numbered(2, "this"), "sample 0: expected a class number from 0 to 1, found 'this'"),
        (numbered(2, np.zeros(3)), r"sample 0: expected a class number from 0 to 1, found an array \[3\]"),
        ([("red.png", 0)] * 2, r"sample 0: expected an array .*found 'red.png'.*hub\.datasets\.load"),
        ([(Image.new("L", (16, 16)), 0)] * 2, r"sample 0: expected .*found \(Image, a number\)"),
        ([{"x": np.ones((1, 16, 16)), "y": 0}] * 2, r"sample 0: expected \(input, label\), found \{x: "),
        ([np.ones((1, 16, 16))] * 2, r"sample 0: expected \(input, label\), found an array"),
        (
            [*numbered(1), *numbered(1, shape=(1, 12, 16))],
            r"sample 1: expected .*as in sample 0.*\[1, 12, 16\]",
        ),
        ("pictures/", r"expected a dataset, found the path 'pictures/'.*hub\.datasets\.load"),
    ],
)
def test_samples_that_a_module_cannot_take_are_named(tmp_path: Path, data: Any, said: str) -> None:
    one = trainer(tmp_path, model=tiny_module())
    with pytest.raises(errors.UsageError, match=f"(?s)eval_dataset.*{said}"):
        one.evaluate(data, batch_size=6)
    with pytest.raises(errors.UsageError, match="train_dataset"):
        one.train(data, batch_size=6)


def test_an_evaluation_that_cannot_be_is_refused_before_the_first_step(tmp_path: Path) -> None:
    one = trainer(tmp_path, model=tiny_module())
    with pytest.raises(errors.UsageError, match="eval_dataset, sample 0: expected a class number"):
        one.train(numbered(2), eval_dataset=numbered(2, 7))
    assert one._loop.step == 0


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.full((16, 16), 7), "sample 0: expected class numbers from 0 to 1, or 255 for none, found 7"),
        (np.zeros((8, 16), int), r"sample 0: expected a mask \[16, 16\], found an array \[8, 16\]"),
        (1, r"sample 0: expected a mask \[16, 16\], found a number"),
    ],
)
def test_masks_that_do_not_fit_are_named(tmp_path: Path, label: Any, said: str) -> None:
    with pytest.raises(errors.UsageError, match=f"train_dataset, {said}"):
        trainer(tmp_path, model=segmenter()).train([(np.ones((1, 16, 16), np.float32), label)] * 2)


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [("sentences_static", "seq-cls", "texts"), ("textures_stylizer", None, "load_pictures")],
)
def test_what_only_our_datasets_can_be_read_from_is_said(
    tmp_path: Path, name: str, task: Any, kind: str
) -> None:
    labels = {"num_classes": 2} if task else {}
    module = hub.Module(name, task=task, **labels)
    for sample in (("good", 0), (np.ones((3, 16, 16), np.float32), np.ones((3, 16, 16), np.float32))):
        with pytest.raises(errors.UsageError, match=f"(?s)train_dataset, sample 0: .*hub.datasets.*{kind}"):
            trainer(tmp_path, model=module).train([sample] * 2)


def test_pictures_of_unequal_size_are_named_for_any_network(tmp_path: Path) -> None:
    rows = [np.ones(3, np.float32), np.ones(3, np.float32), np.ones(2, np.float32)]
    with pytest.raises(errors.UsageError, match=r"(?s)eval_dataset, sample 2: .* \[2\].*collate_fn"):
        trainer(tmp_path, model=Halves()).evaluate(rows, batch_size=3)


def test_a_stream_and_several_parts_are_no_dataset(tmp_path: Path) -> None:
    class Stream(paddle.io.IterableDataset):
        def __iter__(self) -> Any:
            yield from numbered(2)

    parts = hub.datasets.load([(picture("dot", n), "this") for n in range(2)])
    for data, said in (
        (Stream(), "__len__ and __getitem__, found Stream"),
        (parts, r"found Splits.*\.train"),
    ):
        with pytest.raises(errors.UsageError, match=f"(?s)train_dataset: .*{said}"):
            trainer(tmp_path, model=tiny_module()).train(data)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda one, data: one.train(data, epoch=3), "did you mean 'epochs'"),
        (lambda one, data: one.train(data, batchsize=3), "did you mean 'batch_size'"),
        (lambda one, data: one.evaluate(data, batch=3), "found 'batch'"),
        (
            lambda one, data: one.train(data, epochs=0),
            "epochs: expected a whole number of at least 1, found 0",
        ),
        (lambda one, data: one.train(data, batch_size=0), "batch_size"),
        (lambda one, data: one.train(data, save_interval=0), "save_interval"),
        (lambda one, data: one.train(data, num_workers=-1), "num_workers"),
        (lambda one, data: one.evaluate([]), "eval_dataset: expected at least one sample, found none"),
        (lambda one, data: one.train(data, eval_dataset=[]), "eval_dataset: expected at least one"),
        (lambda one, data: one.train([]), "train_dataset: expected at least one"),
        (lambda one, data: one.train(iter(data)), "__len__ and __getitem__"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_step(tmp_path: Path, call: Any, said: str) -> None:
    one = trainer(tmp_path)
    before = weights.state_of(one.layer)
    with pytest.raises(errors.UsageError, match=re.escape(said)):
        call(one, Texts(4))
    assert all(np.array_equal(before[name], value) for name, value in weights.state_of(one.layer).items())


def test_what_a_trainer_is_made_of_is_checked(tmp_path: Path) -> None:
    model = BagOfWords()
    sgd = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    for given, options, said in (
        ((model, sgd), {"checkpoints_dir": "x"}, "did you mean 'checkpoint_dir'"),
        ((BagOfWords(), sgd), {}, "parameters that the model does not have"),
        (("model", sgd), {}, r"expected a hub\.Module or a paddle\.nn\.Layer, found str"),
        ((model, None), {}, r"expected a paddle\.optimizer, found NoneType"),
    ):
        with pytest.raises(errors.UsageError, match=said):
            hub.Trainer(*given, use_vdl=False, **options)
    with pytest.raises(errors.UsageError, match=r"expected a method training_step\(batch, batch_idx\)"):
        trainer(tmp_path, model=nn.Linear(2, 2)).train(Texts(4))


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="has a GPU build")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.DeviceError, match="GPU"):
        trainer(tmp_path, use_gpu=True)


def test_no_validation_step_is_said_before_the_first_epoch(tmp_path: Path) -> None:
    model = Halves()
    model.validation_step = None
    rows = list(np.ones((2, 3), np.float32))
    with pytest.raises(errors.UsageError, match="validation_step"):
        trainer(tmp_path, model=model).train(rows, eval_dataset=rows)
    assert len(trainer(tmp_path, model=model).train(rows)) == 1


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    rows = list(np.full((2, 3), np.inf, np.float32))
    with pytest.raises(errors.TrainingError, match=r"the loss became inf in epoch 1, step 1.*the input"):
        trainer(tmp_path, model=Halves()).train(rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "seq-cls"}, "task: expected one of image_classification, found 'seq-cls'"),
        ({"label_list": "cat"}, "label_list: expected a list"),
        ({"label_list": []}, "label_list: expected the names of classes, found none"),
        (
            {"label_list": ["a\n", "b\n"]},
            "label_list: expected names of one line of UTF-8, each once, found 'a",
        ),
        ({"label_list": ["a", "", "b"]}, "each once, found ''"),
        (
            {"label_map": {0: "a", 1: "a"}},
            "label_map: expected names of one line of UTF-8, each once, found 'a'",
        ),
        ({"label_map": {1: "a", 2: "b"}}, "label_map: expected the keys 0 to 1"),
        ({"label_list": ["a", "b"], "num_classes": 3}, "contradict"),
        ({"label_list": ["a", "b"], "label_map": {0: "b", 1: "a"}}, "contradict"),
        ({"num_classes": 1}, "num_classes: expected 2 or more"),
        ({"num_classes": 2.5}, "num_classes: expected 2 or more, found 2.5"),
        ({"label_map": {"0": "a", "x": "b"}}, "label_map: expected the keys 0 to 1, found ['0', 'x']"),
        ({"num_class": 2, "num_classes": 3}, "num_class means num_classes here: expected one of them"),
        ({"source": "https://github.com/x/y.git"}, "source: means nothing here"),
        ({"ignore_env_mismatch": True}, "ignore_env_mismatch: means nothing here"),
        ({"suffix": True}, "suffix: means nothing here"),
        ({"label_lst": ["a", "b"]}, "did you mean 'label_list'"),
        ({"version": "1.0.0"}, "version: expected a name with it, found the folder"),
    ],
)
def test_arguments_of_a_module_that_contradict_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    folder = tiny_module().save(tmp_path / "tiny")
    with pytest.raises(errors.UsageError, match=re.escape(said)):
        hub.Module(folder, **options)


def test_the_labels_of_a_module_by_each_argument(tmp_path: Path) -> None:
    folder = tiny_module().save(tmp_path / "tiny")
    own = hub.Module(folder, label_list=["this", "that"], task="image_classification")
    assert np.array_equal(
        own.state_dict()["head.weight"].numpy(), tiny_module().state_dict()["head.weight"].numpy()
    )
    assert hub.Module(folder, num_classes=4).labels == ("0", "1", "2", "3")
    assert hub.Module(folder, num_classes=np.int64(4)).labels == ("0", "1", "2", "3")
    assert hub.Module(folder, label_map={1: "b", 0: "a"}).labels == ("a", "b")
    assert hub.Module(folder, label_map={"0": "a", "1": "b"}).labels == ("a", "b")
    with pytest.raises(errors.WeightsError, match=r"head.weight: expected \(\d+, 4\), found"):
        hub.Module(folder, num_classes=4, load_checkpoint=folder / "weights.safetensors")


def test_paddlehubs_other_words_for_arguments_mean_the_same(tmp_path: Path) -> None:
    folder = tiny_module().save(tmp_path / "tiny")
    for word in ("num_class", "class_dim"):
        assert hub.Module(directory=str(folder), **{word: 3}).labels == ("0", "1", "2")
    assert hub.Module(name="speech_cnn", task="sound-cls", num_class=2).labels == ("0", "1")
    other = tiny_module(seed=3).save(tmp_path / "other") / "weights.safetensors"
    found = hub.Module(folder, pretrained=str(other), update=False, source=None, ignore_env_mismatch=False)
    assert np.array_equal(found.state_dict()["head.weight"].numpy(), weights.load(other)["head.weight"])
    with pytest.raises(errors.UsageError, match="name: expected a module"):
        hub.Module()
    with pytest.raises(errors.UsageError, match="name: expected a module"):
        hub.Module(directory=None)
    found = hub.Module(folder, num_classes=3, num_class=None, directory=None, pretrained=None)
    assert found.labels == ("0", "1", "2")
    assert hub.Module(folder, num_class=3, class_dim=None).labels == ("0", "1", "2")


@pytest.mark.parametrize("word", ["pretrained", "load_checkpoint"])
@pytest.mark.parametrize("value", [True, False, 3])
def test_a_checkpoint_that_is_no_path_is_named(word: str, value: object) -> None:
    with pytest.raises(errors.UsageError, match=rf"load_checkpoint: expected the path .* found {value}"):
        hub.Module("glyphs_cnn", **{word: value})


@pytest.mark.parametrize("version", ["1.0.0", ">=1.0.0", "==1.0.0", "=1.0", ">0.1,<2", " <2"])
def test_a_version_is_written_as_in_paddlehub(version: str) -> None:
    assert hub.Module(name="glyphs_cnn", version=version).version == "1.0.0"


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("glyphs_cnn", ">=2", "glyphs_cnn>=2: no such version"),
        ("glyphs_cnn", "newest", "expected versions by PEP 440, .*found 'glyphs_cnn==newest'"),
        ("glyphs_cnn>=1", "1.0.0", "version: expected it once, found glyphs_cnn>=1 and '1.0.0'"),
        ("https://host/tiny.zip", "1.0.0", "version: expected a name with it, found the url"),
        ("glyphs_cnn", 1.0, r"version: expected a text such as '1.0.0', found 1\.0"),
        ("glyphs_cnn", 0, "version: expected a text such as '1.0.0', found 0"),
    ],
)
def test_a_version_that_cannot_be_is_named(name: str, version: Any, said: str) -> None:
    with pytest.raises(errors.HubError, match=said):
        hub.Module(name, version=version)


@pytest.mark.parametrize("task", ["seq-cls", "text-matching"])
def test_texts_without_labels_have_two_classes_as_in_paddlehub(task: str) -> None:
    assert hub.Module("sentences_static", task=task).labels == ("0", "1")
    assert hub.Module("sentences_static", task=task, label_list=["no", "yes"]).labels == ("no", "yes")


def test_the_trainer_inside_says_where_paddlehubs_is() -> None:
    from hub.finetune.trainer import Trainer

    model = BagOfWords()
    sgd = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    with pytest.raises(errors.UsageError, match=r"hub\.Trainer"):
        Trainer(model, sgd, checkpoint_dir="ckpt", use_gpu=False)


@pytest.mark.parametrize(
    ("place", "name", "said"),
    [
        (hub, "vision", "hub.transforms"),
        (hub, "BertTokenizer", "reads texts itself"),
        (hub, "list", "hub.list_modules"),
        (hub.datasets, "Flowers", 'by name: "Flowers"'),
        (hub.datasets, "ChnSentiCorp", 'by name: "ChnSentiCorp"'),
        (hub.datasets, "SegDataset", "folder"),
    ],
)
def test_an_old_name_says_what_there_is_in_its_place(place: Any, name: str, said: str) -> None:
    assert not hasattr(place, name)
    with pytest.raises(AttributeError, match=f"(?s)has no attribute '{name}'.*{said}.*from_paddlehub"):
        getattr(place, name)
    for unknown in ("flavour", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"has no attribute '{unknown}'$"):
            getattr(place, unknown)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import hub.vision.transforms", "hub.transforms"),
        ("from hub import vision", "hub.transforms"),
        ("from hub.datasets import Flowers", 'by name: "Flowers"'),
        ("from hub.datasets.base_nlp_dataset import TextClassificationDataset", "hub.datasets.load"),
    ],
)
def test_an_old_import_says_what_there_is_in_its_place(line: str, said: str) -> None:
    with pytest.raises(
        ImportError, match=f"there is no hub.*it is PaddleHub's; here: .*{said}.*from_paddlehub"
    ):
        exec(line, {})  # noqa: S102


@pytest.mark.parametrize(
    "line", ["import hub.flavour", "import hub.datasets.flavour", "import hub.finetune.vision"]
)
def test_an_import_that_was_never_there_is_not_found(line: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        exec(line, {})  # noqa: S102


# ---- the log ----


@pytest.mark.parametrize(
    ("done", "left", "seconds", "text"),
    [(10, 30, 20.0, "0:01:00"), (1, 0, 5.0, "0:00:00"), (1, 7200, 1.0, "2:00:00")],
)
def test_eta_is_the_time_that_is_left(done: int, left: int, seconds: float, text: str) -> None:
    assert remaining(done, left, seconds) == text


def test_the_log_has_a_line_every_few_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path).train(Texts(12), epochs=2, batch_size=2, log_interval=3, eval_dataset=Texts(3))
    found = capsys.readouterr()
    lines = [line for line in found.err.splitlines() if "Step=" in line]
    at = [
        re.match(r"Epoch=(\d)/2, Step=(\d)/6 loss=[\d.]+ acc=[\d.]+ lr=0.010000 step/sec=", line)
        for line in lines
    ]
    assert [match.groups() for match in at if match] == [("1", "3"), ("1", "6"), ("2", "3"), ("2", "6")]
    assert lines[-1].endswith("| ETA 0:00:00")
    assert not found.out
    assert len([line for line in found.err.splitlines() if "[Evaluation]" in line]) == 2


def test_curves_are_written_where_visualdl_is_there(tmp_path: Path) -> None:
    trainer(tmp_path / "auto", use_vdl=None).train(Texts(4), batch_size=2)
    assert (tmp_path / "auto/visualization").is_dir() == bool(find_spec("visualdl"))
    if find_spec("visualdl") is None:
        with pytest.raises(errors.MissingDependencyError, match="pip install visualdl"):
            trainer(tmp_path / "asked", use_vdl=True)


# ---- several processes ----

SCRIPT = """
import json
import sys
import paddle
import hub
from hub.finetune.distributed import group
from tests.test_paddlehub_trainer import BagOfWords, Texts

model = BagOfWords()
paddle.seed(7 + group().rank)  # the processes begin with other weights, and go on with those of the first
for parameter in model.parameters():
    parameter.set_value(paddle.randn(parameter.shape))
optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
trainer = hub.Trainer(model, optimizer, use_vdl=False, checkpoint_dir=sys.argv[1])
rows = trainer.train(Texts(13), epochs=3, batch_size=int(sys.argv[2]), eval_dataset=Texts(5, seed=1))
one = trainer.evaluate(Texts(1, seed=2))  # fewer samples than processes
five = trainer.evaluate(Texts(5, seed=1), batch_size=2)
curve = [[row["train_loss"], row["valid_loss"], row["valid_acc"]] for row in rows]
print("RESULT", json.dumps([curve, [[each["loss"], each["metrics"]["acc"]] for each in (one, five)]]))
"""


def started(words: list[str], script: Path, folder: str, size: int) -> subprocess.CompletedProcess[str]:
    """Run a script to its end: `words` start it, and it gets a folder beside it and the size of a batch."""
    command = [sys.executable, "-W", "ignore", *words, str(script), str(script.parent / folder), str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=script.parent, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def result_of(output: str) -> Any:
    return json.loads(output.split("RESULT ")[1].splitlines()[0])


def results_in_two(script: Path, folder: str, size: int) -> list[Any]:
    """Give what a script says in each of two processes."""
    logs = script.parent / "logs"
    launch = [
        "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo", "--log_dir", str(logs),
    ]  # fmt: skip
    started(launch, script, folder, size)
    return [result_of(path.read_text(encoding="utf-8")) for path in sorted(logs.glob("workerlog.*"))]


def test_two_processes_average_their_gradients_and_both_get_the_evaluation(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    one = result_of(started([], script, "one", 4).stdout)
    first, second = results_in_two(script, "two", 2)
    assert first == second
    for here, there in zip(one, first, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4)
    a, b = (weights.load(tmp_path / name / "epoch_3/model.safetensors") for name in ("one", "two"))
    for name, array in a.items():
        np.testing.assert_allclose(b[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


STATISTICS = """
import json
import sys
import numpy as np
import paddle
from paddle import nn
import hub
from hub.finetune.distributed import group
from hub.modules import weights
from tests.test_paddlehub_trainer import Texts

class Counted(nn.Layer):
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1D(4), nn.Linear(4, 3)
        self.register_buffer("largest", paddle.zeros([2]))
        self.register_buffer("steps", paddle.zeros([], "int64"))
        self.register_buffer("cached", paddle.zeros([group().rank + 1]), persistable=False)
        self.register_buffer("mask", paddle.to_tensor([True, False]))

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.largest.set_value(x[:, :2].max(axis=0))
        self.steps.set_value(self.steps + 1 + group().rank)
        return {"loss": nn.functional.cross_entropy(self.head(self.norm(x)), y)}

    def validation_step(self, batch, batch_idx):
        seen.append({name: array.tolist() for name, array in weights.state_of(self).items()})
        return {"loss": nn.functional.cross_entropy(self.head(self.norm(batch[0])), batch[1])}

class Hooked(hub.Trainer):
    def training_step(self, batch, batch_idx):
        found = super().training_step(batch, batch_idx)
        if batch_idx == 1:  # a script may measure where it likes
            self.evaluate(rows[:2])
        return found

rng = np.random.default_rng(0)
rows = [(rng.normal(n, 3, 4).astype("float32"), n % 3) for n in range(11)]
seen = []
paddle.seed(7)
model = Counted()
trainer = Hooked(model, paddle.optimizer.SGD(0.1, parameters=model.parameters()), use_vdl=False,
                 checkpoint_dir=sys.argv[1])
trainer.train(rows, epochs=2, batch_size=int(sys.argv[2]), eval_dataset=rows[:2])
print("RESULT", json.dumps(seen))
"""


def test_two_processes_evaluate_and_keep_the_same_moving_statistics(tmp_path: Path) -> None:
    """Each sees samples of its own: what it has of them alone is in no module that is saved."""
    script = tmp_path / "script.py"
    script.write_text(STATISTICS, encoding="utf-8")
    first, second = results_in_two(script, "run", 2)
    assert [state.pop("steps") for state in first] == [2, 3, 5, 6]
    assert [state.pop("steps") for state in second] == [4, 3, 7, 6], "whole numbers are shared once an epoch"
    assert first == second
    saved = weights.load(tmp_path / "run/epoch_2/model.safetensors")
    assert {name: saved[name].tolist() for name in second[-1]} == second[-1]
