"""What is frozen stays bit for bit, in every way that freezing can be said; what cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import hub
from hub.errors import UsageError
from hub.finetune import freezing
from hub.finetune.callbacks import Callback
from hub.modules import archs, weights
from hub.modules.network import Network, predicting
from tests.pictures import samples, tiny_module


def network() -> Network:
    return tiny_module().network


GROUPS = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]


def frozen_groups(net: Network, frozen: freezing.Frozen) -> list[str]:
    """Give the groups all of whose parameters are frozen."""
    names = {id(parameter): name for name, parameter in freezing.learnt(net)}
    return [
        group
        for group, layers in net.layer_groups()
        if all(names.get(id(p), "") in {*frozen.names, ""} for layer in layers for p in layer.parameters())
    ]


@pytest.mark.parametrize(
    ("freeze", "groups", "whole"),
    [
        (None, [], 0),
        (0, [], 0),
        (1, GROUPS[:1], 1),
        (3, GROUPS[:3], 3),
        (5, GROUPS[:5], 5),
        ("backbone", GROUPS[:5], 5),
        ("backbone.stem", GROUPS[:1], 1),
        ("backbone.stem.*", GROUPS[:1], 1),
        (["backbone.stem", "backbone.stages.0"], GROUPS[:2], 2),
        ("backbone.stages.1", GROUPS[2:3], 0),
        ("*norm1*", [], 0),
    ],
)
def test_freezing_by_count_name_and_pattern(freeze: freezing.Freeze, groups: list[str], whole: int) -> None:
    net = network()
    frozen = freezing.choose(net, freeze)
    assert frozen_groups(net, frozen) == groups
    assert frozen.groups == whole, "groups from the input on that are frozen whole"


@pytest.mark.parametrize(
    ("freeze", "message", "hint"),
    [
        (6, "expected 0 to 5 groups, found 6", "stem, stage1, stage2, stage3, stage4, head"),
        (-1, "expected 0 to 5 groups, found -1", ""),
        (True, "found True", ""),
        ("backbone.stagse.1", "matches no parameter", "did you mean 'backbone.stages.1'"),
        ("backbon", "matches no parameter", "did you mean 'backbone'"),
        ("*", "leaves nothing to train", "freeze='backbone'"),
        (["backbone", "head"], "leaves nothing to train", ""),
    ],
)
def test_what_matches_nothing_or_everything_is_refused(
    freeze: freezing.Freeze, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match="freeze") as caught:
        freezing.choose(network(), freeze)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("freeze", [2, "backbone", "backbone.stages.1", "*norm*"])
def test_frozen_weights_and_statistics_stay_bit_for_bit(
    tmp_path: Path, freeze: str | int, cache: bool
) -> None:
    module = tiny_module()
    before = weights.state_of(module.network.backbone)
    frozen = freezing.choose(module.network, freeze).names
    module.finetune(
        samples(8), strategy="full", freeze=freeze, cache=cache, epochs=2, batch_size=12, learning_rate=0.01,
        valid=False, output_dir=tmp_path / "run", progress=False,
    )  # fmt: skip
    after = weights.state_of(module.network.backbone)
    # a running statistic belongs to the layer whose scale has the same prefix
    scales = {name.rpartition(".")[0] for name in frozen if name.endswith("weight")}
    for name, array in before.items():
        owner = f"backbone.{name}"
        still = owner in frozen or (
            name.endswith(("_mean", "_variance")) and owner.rpartition(".")[0] in scales
        )
        assert np.array_equal(array, after[name]) == still, name


def test_gradual_unfreezing_opens_from_the_head_and_is_all_open_in_the_middle(tmp_path: Path) -> None:
    module = tiny_module()
    opened: list[int] = []

    class Look(Callback):
        def on_step_end(self, trainer, step) -> None:
            if len(opened) < trainer.epoch:
                closed = {id(p) for _, p in freezing.learnt(trainer.model) if not p.trainable}
                groups = trainer.model.layer_groups()
                opened.append(
                    sum(not closed & {id(p) for x in layers for p in x.parameters()} for _, layers in groups)
                )

    module.finetune(
        samples(8), strategy="gradual", epochs=8, batch_size=24, callbacks=[Look()], output_dir=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    assert opened == sorted(opened)
    assert opened[0] == 1
    assert opened[4:] == [6] * 4
    assert all(each.trainable for _, each in freezing.learnt(module.network)), (
        "nothing stays frozen afterwards"
    )


@pytest.mark.parametrize("strategy", ["gradual", "probe_then_full"])
def test_a_network_without_a_head_is_trained_from_the_first_epoch_on(tmp_path: Path, strategy: str) -> None:
    trained: dict[int, int] = {}

    class Look(Callback):
        def on_step_end(self, trainer, step) -> None:
            trained[trainer.epoch] = freezing.count(trainer.model)[0]

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(4)]
    hub.Module("scenes_colorizer").finetune(
        pictures, valid=False, strategy=strategy, epochs=4, batch_size=4, callbacks=[Look()],
        output_dir=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert 0 < trained[1] < trained[4]


def test_groups_that_are_frozen_for_good_are_not_opened(tmp_path: Path) -> None:
    module = tiny_module()
    before = weights.state_of(module.network.backbone)
    module.finetune(
        samples(8),
        strategy="gradual",
        freeze=2,
        epochs=4,
        valid=False,
        output_dir=tmp_path / "run",
        progress=False,
    )
    after = weights.state_of(module.network.backbone)
    changed = {
        name.split(".")[0] + "." + name.split(".")[1]
        for name in before
        if (before[name] != after[name]).any()
    }
    assert changed == {"stages.1", "stages.2", "stages.3"}


def test_the_number_of_trained_parameters_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tiny_module()
    total = sum(int(p.size) for _, p in freezing.learnt(module.network.backbone))
    module.finetune(samples(4), strategy="probe", epochs=1, output_dir=tmp_path / "run")
    head = sum(int(p.size) for p in module.network.head.parameters())
    assert f"training {head:,} of {total + head:,} parameters" in capsys.readouterr().err


@pytest.mark.parametrize("freeze", [None, 2, 4, "backbone"])
@pytest.mark.parametrize("cached", [False, True])
def test_in_training_frozen_groups_drop_nothing_and_the_others_do(freeze: Any, cached: bool) -> None:
    """Whether all groups are run, or what stands before the trained ones was computed once."""
    paddle.seed(0)
    network = Network(archs.build("panns_cnn6"), nn.Linear(512, 3))
    frozen = freezing.choose(network, freeze)
    freezing.apply(network, frozen)
    network.eval()  # as a module is
    model = network.rest(frozen.groups) if cached and frozen.groups else network
    freezing.train_mode(model, 1)  # of single samples no statistics are taken
    x = paddle.randn([1, 1, 64, 64])
    for number, (name, stage) in enumerate(network.backbone.stages()):
        runs = [stage(x).numpy() for _ in range(2)]
        if number >= frozen.groups or not cached:
            assert np.array_equal(*runs) == (number < frozen.groups), name
        with predicting(network):
            x = stage(x)
