"""Features that are kept are those that the groups compute; what changes them is computed again, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from hub import tasks
from hub.datasets.base import Sample
from hub.finetune import features as features_file
from hub.finetune import random_state
from hub.finetune.batches import ItemCache, Read
from hub.finetune.feature_store import FeatureStore
from hub.finetune.features import Features
from hub.modules import archs, preprocessor
from hub.modules.network import NORMS, Network, infer
from hub.modules.spec import Named
from tests.pictures import folder, samples, tiny_module

ROOT = Path(__file__).parents[1]
STEPS = [
    Named("grayscale"), Named("resize", {"size": 16}), Named("normalize", {"mean": [0.3], "std": [0.3]}),
]  # fmt: skip
SHIFT = [Named("random_affine", {"translate": 0.2})]


class Counted(Read):
    """Remembers which samples were read."""

    taken: list[int]

    def take(self, indices: np.ndarray, epoch: int) -> Any:
        self.taken = [*getattr(self, "taken", []), *indices.tolist()]
        return super().take(indices, epoch)


@dataclass
class Setting:
    """All that features depend on, made afresh as a new process does."""

    store: Path
    paths: list[Path]
    network: Network = field(default_factory=lambda: small())
    about: str = "steps"
    cut: int = 3
    seed: int | None = None
    views: int = 1

    def computed(self) -> list[str]:
        """Give the names of the samples whose features had to be computed; all of them must be right."""
        examples = tasks.kind("image_classification").examples(preprocessor.build(STEPS, SHIFT))
        targets = np.zeros(len(self.paths), np.int64)
        samples = [Sample(path, 0) for path in self.paths]
        source = Counted(samples, ItemCache(examples), targets, seed=self.seed)
        cached = Features(FeatureStore(self.store), about=self.about)
        views = cached.of(self.network, self.cut, source, views=self.views)
        taken = getattr(source, "taken", [])
        for view, found in enumerate(views):
            expected = infer(self.network.prefix(self.cut), source.take(np.arange(len(samples)), view)[0])
            pairs = zip(
                *(each if isinstance(each, tuple) else (each,) for each in (found, expected)), strict=True
            )
            for one, other in pairs:
                assert one.dtype == np.float32
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
        return [self.paths[index].name for index in taken]


def small() -> Network:
    paddle.seed(0)
    backbone = archs.build("small_resnet", width=2)
    return Network(backbone, nn.Linear(backbone.feature_spec.channels, 2))


def add(tensor: paddle.Tensor) -> None:
    tensor.set_value(tensor + 0.01)


def put_gelu(network: Network) -> None:
    for layer in network.sublayers():
        for name, each in list(layer._sub_layers.items()):
            if isinstance(each, nn.ReLU):
                setattr(layer, name, nn.GELU())


def norm(setting: Setting) -> Any:
    return next(layer for layer in setting.network.sublayers() if isinstance(layer, NORMS))


CHANGES: dict[str, tuple[Callable[[Setting], object], str]] = {
    "nothing": (lambda s: None, "none"),
    "what comes after the cut": (lambda s: add(s.network.head.weight), "none"),
    "the order of the samples": (lambda s: s.paths.reverse(), "none"),
    "fewer samples": (lambda s: s.paths.pop(), "none"),
    "a sample twice": (lambda s: s.paths.append(s.paths[0]), "none"),
    "the time of a file": (lambda s: os.utime(s.paths[0], (1, 1)), "none"),
    "the name of a file": (
        lambda s: s.paths.__setitem__(0, s.paths[0].rename(s.paths[0].with_name("x.png"))),
        "none",
    ),
    "the content of a file": (lambda s: s.paths[0].write_bytes(other_picture(s)), "first"),
    "a weight": (lambda s: add(s.network.prefix(1).parameters()[0]), "all"),
    "a layer": (lambda s: put_gelu(s.network), "all"),
    "a statistic": (lambda s: add(norm(s)._mean), "all"),
    "the cut": (lambda s: setattr(s, "cut", 2), "all"),
    "the preprocessing": (lambda s: setattr(s, "about", "others"), "all"),
    "random variants": (lambda s: setattr(s, "seed", 1), "all"),
}


def other_picture(setting: Setting) -> bytes:
    place = folder(setting.store.with_name("others"), 1, seed=99)
    return next(place.rglob("*.png")).read_bytes()


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "store", sorted(folder(tmp_path / "data", 3).rglob("*.png")))


@pytest.mark.parametrize(("each", "times"), [(21, 0), (22, 1)])
def test_a_few_samples_are_not_worth_compiling(
    each: int, times: int, tmp_path: Path, compilings: list[nn.Layer]
) -> None:
    many = Setting(tmp_path / "store", sorted(folder(tmp_path / "data", each).rglob("*.png")))
    assert len(many.computed()) == 3 * each
    assert len(compilings) == times


@pytest.mark.parametrize(("change", "again"), CHANGES.values(), ids=CHANGES)
def test_only_what_a_change_concerns_is_computed_again(
    setting: Setting, change: Callable[[Setting], object], again: str
) -> None:
    assert len(setting.computed()) == 9
    setting.network = small()
    change(setting)
    names = [path.name for path in setting.paths]
    assert setting.computed() == {"none": [], "first": names[:1], "all": names}[again]
    assert setting.computed() == []


def registered(activation: Callable[[paddle.Tensor], paddle.Tensor]) -> None:
    """Register "mine", whose class, arguments and weights are the same whatever its activation."""

    @archs.register("mine")
    class Mine(archs.Backbone):
        input_channels = 1

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(1, 4, 3, stride=2)
            self.feature_spec = archs.FeatureSpec("pooled", (4,))

        def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
            return [("conv", [self.conv])]

        def stages(self) -> list[tuple[str, Any]]:
            return [("conv", lambda x: activation(self.conv(x)).mean([2, 3]))]


def test_an_architecture_of_ones_own_may_be_changed_between_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archs.base, "_BUILDERS", dict(archs.base._BUILDERS))

    def head(number: int, **settings: Any) -> np.ndarray:
        module = tiny_module(arch={"name": "mine"})
        module.finetune(
            samples(8),
            strategy="probe",
            epochs=1,
            augment=False,
            output_dir=tmp_path / f"{number}",
            **settings,
        )
        return np.asarray(module.network.head.weight.numpy())

    registered(nn.functional.relu)
    before = head(1)
    registered(lambda x: paddle.sin(3 * x))
    np.testing.assert_allclose(head(2), right := head(3, cache=False), rtol=1e-4)
    assert np.abs(before - right).max() > 0.01


def test_another_version_computes_its_own(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.computed()
    monkeypatch.setattr(features_file, "__version__", "999")
    assert len(setting.computed()) == 9


def test_every_view_is_kept_and_another_seed_draws_others(setting: Setting) -> None:
    setting.seed, setting.views = 3, 2
    assert len(setting.computed()) == 2 * 9
    assert setting.computed() == []
    setting.views = 3
    assert len(setting.computed()) == 9, "only the third view is new"
    setting.seed = 4
    assert len(setting.computed()) == 3 * 9


def test_several_outputs_are_kept(setting: Setting) -> None:
    class Two(nn.Layer):
        def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
            return x, x.mean(axis=[2, 3])

    class Pair(archs.Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.split = Two()

        def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
            return [("split", [self.split])]

    setting.network, setting.cut = Network(Pair(), nn.Identity()), 1
    assert len(setting.computed()) == 9
    assert setting.computed() == []


def test_computing_features_leaves_the_network_and_the_random_states_alone(setting: Setting) -> None:
    setting.network.train()
    norm(setting).eval()
    modes = [layer.training for layer in setting.network.sublayers()]
    statistics, state = norm(setting)._mean.numpy(), random_state.capture()
    setting.computed()
    assert [layer.training for layer in setting.network.sublayers()] == modes
    assert np.array_equal(norm(setting)._mean.numpy(), statistics)
    assert random_state.capture() == state


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.test_feature_cache import Setting
setting = Setting(Path(sys.argv[1]), sorted(Path(sys.argv[2]).rglob("*.png")))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
assert len(setting.computed()) == len(setting.computed()) == 9
assert not list(setting.store.iterdir()), "nothing half-written stays"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
assert len(setting.computed()) == 9
assert setting.computed() == []
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_disk_that_takes_no_more_costs_time_only(setting: Setting, python: str) -> None:
    data = setting.paths[0].parents[1]
    done = subprocess.run(
        [python, "-W", "ignore", "-c", FULL_DISK, str(setting.store), str(data)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


TOGETHER = """
import sys
from pathlib import Path
from tests.test_feature_cache import Setting
setting = Setting(Path(sys.argv[1]), sorted(Path(sys.argv[2]).rglob("*.png")))
print("ready", flush=True)
sys.stdin.readline()
for cut in (1, 2, 3, 4) * 3:
    setting.cut = cut
    setting.computed()
"""


def test_two_processes_fill_one_store(setting: Setting, python: str) -> None:
    data = setting.paths[0].parents[1]
    both = [
        subprocess.Popen(
            [python, "-W", "ignore", "-c", TOGETHER, str(setting.store), str(data)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    for each in both:
        _, errors = each.communicate(timeout=120)
        assert each.returncode == 0, errors
    for setting.cut in (1, 2, 3, 4):
        assert setting.computed() == []
    assert len(list(setting.store.iterdir())) == 4, "nothing temporary is left"
