"""What was compiled for one call of predict serves the next ones, and never answers for other weights."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import hub
from hub.errors import DeviceError, UsageError
from hub.modules import compiled, devices, kept, weights
from hub.modules.network import infer
from tests import pictures, sounds


@pytest.fixture
def compilings(compilings: list[nn.Layer], monkeypatch: pytest.MonkeyPatch) -> list[nn.Layer]:
    """The layers that were compiled, which they are after three small pictures."""
    monkeypatch.setattr(kept, "_enough", lambda layer, of_maps: 3 * pictures.SIDE**2)
    monkeypatch.setattr(kept, "BYTES_A_PIXEL", 1 << 30)
    return compilings


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)


def scores(module: hub.Module, seed: int) -> dict[str, float]:
    (result,) = module.predict(picture(seed))
    return {row["label"]: row["score"] for row in result["top"]}


def right_scores(module: hub.Module, seed: int) -> np.ndarray:
    logits = infer(module.network, module.preprocessor.batch([module.preprocessor.read(picture(seed))]))[0]
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def assert_right(module: hub.Module, seed: int) -> None:
    found = scores(module, seed)
    np.testing.assert_allclose(
        [found[label] for label in module.labels], right_scores(module, seed), atol=1e-5
    )


def test_one_picture_after_the_other_is_compiled_for_once(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    for seed in range(10):
        assert_right(module, seed)
        assert len(compilings) == (seed >= 2)
    module.embed([picture(seed) for seed in range(5)])
    module.embed([picture(seed) for seed in range(5)])
    assert len(compilings) == 2, "embed has a layer of its own"


def one_element(module: hub.Module) -> None:
    weight = module.network.head.parameters()[0]
    array = weight.numpy()
    array.flat[-1] += 1
    weight.set_value(array)


def a_step_of_training(module: hub.Module) -> None:
    optimizer = paddle.optimizer.AdamW(0.01, parameters=module.network.parameters())
    batch = paddle.to_tensor(module.preprocessor.batch([module.preprocessor.read(picture(0))]))
    nn.functional.cross_entropy(module.network(batch), paddle.to_tensor([1])).backward()
    optimizer.step()


def statistics(module: hub.Module) -> None:
    state = module.network.backbone.state_dict()
    state[next(name for name in state if name.endswith("_mean"))].add_(paddle.to_tensor(0.5))


def another_layer(module: hub.Module) -> None:
    for _, layer in module.network.named_sublayers():
        for name, each in list(layer._sub_layers.items()):
            if isinstance(each, nn.ReLU):
                setattr(layer, name, nn.GELU())


@pytest.mark.parametrize("change", [one_element, a_step_of_training, statistics, another_layer])
def test_a_change_of_the_network_counts_at_once(compilings: list[nn.Layer], change: Any) -> None:
    module = pictures.tiny_module()
    module.predict([picture(seed) for seed in range(5)])
    before = right_scores(module, 0)
    assert len(compilings) == 1
    change(module)
    assert np.abs(right_scores(module, 0) - before).max() > 1e-4, "the change must be one that is seen"
    assert_right(module, 0)
    module.predict([picture(seed) for seed in range(5)])
    assert_right(module, 0)
    assert len(compilings) == 2


def test_what_is_finetuned_answers_as_it_learnt(compilings: list[nn.Layer], tmp_path: Any) -> None:
    module = pictures.tiny_module()
    module.predict([picture(seed) for seed in range(5)])
    module.finetune(
        pictures.folder(tmp_path / "data", 8), epochs=1, output_dir=tmp_path / "run", progress=False
    )
    module.predict([picture(seed) for seed in range(5)])
    assert_right(module, 0)


def test_inputs_of_another_size_are_compiled_for_in_their_turn(compilings: list[nn.Layer]) -> None:
    module = sounds.tiny_module(preprocess=sounds.PREPROCESS[1:])
    rng = np.random.default_rng(0)
    for seconds in (1, 1, 2, 2):
        noise = [(rng.normal(0, 0.1, 16_000 * seconds).astype(np.float32), 16_000) for _ in range(4)]
        module.embed(noise)
    assert len(compilings) == len({1, 2})


def test_a_call_with_less_to_compute_does_not_look_through_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "_mark", lambda layer: pytest.fail("looked through the weights"))
    backbone = pictures.tiny_module(arch={"name": "small_resnet", "width": 16}).network.backbone
    given = np.zeros((1, 1, 16, 16), np.float32)
    assert weights.size_of(backbone) > given.size * kept.BYTES_A_PIXEL
    kept.Kept().run(backbone, backbone.feature_spec, 1)(given)


def test_a_copy_has_nothing_compiled(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    module.predict([picture(seed) for seed in range(5)])
    assert module._answers_by._forward is not None
    assert copy.deepcopy(module._answers_by)._forward is None


def test_several_threads_get_each_their_own_answers(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    module.predict([picture(seed) for seed in range(5)])
    wanted = [right_scores(module, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: scores(module, n % 8), range(64)))
    for number, each in enumerate(found):
        np.testing.assert_allclose([each[label] for label in module.labels], wanted[number % 8], atol=1e-5)
    assert len(compilings) == 1


# ---- bfloat16 ----


@pytest.fixture
def bfloat16() -> None:
    """Skip on a processor without it."""
    try:
        devices.require_precision("bf16", "cpu")
    except DeviceError as problem:
        pytest.skip(problem.message)


@pytest.mark.usefixtures("bfloat16")
def test_a_single_picture_is_answered_in_the_precision_that_is_asked_for(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    (exact,) = module.predict(picture(0))
    (near,) = module.predict(picture(0), precision="bf16")
    assert len(compilings) == 1
    by_label = {row["label"]: row["score"] for row in near["top"]}
    gaps = [abs(by_label[row["label"]] - row["score"]) for row in exact["top"]]
    assert 0 < max(gaps) < 0.02
    assert module.predict(picture(0)) == [exact], "without it, all is as before"
    exact_vectors, near_vectors = (module.embed(picture(1), precision=each) for each in ("fp32", "bf16"))
    assert near_vectors.dtype == np.float32
    gap = np.abs(near_vectors - exact_vectors).max() / np.abs(exact_vectors).max()
    assert 0 < gap < 0.05


@pytest.mark.usefixtures("bfloat16")
def test_evaluate_says_what_a_precision_costs(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    data = [(picture(seed), module.labels[seed % 2]) for seed in range(40)]
    exact, near = module.evaluate(data), module.evaluate(data, precision="bf16")
    assert near["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert near["loss"] != exact["loss"]
    assert near["accuracy"] == pytest.approx(exact["accuracy"], abs=0.1)


@pytest.mark.usefixtures("bfloat16")
def test_a_network_that_would_be_wrong_in_a_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiled.TOLERANCE, "bf16", 1e-7)
    module = pictures.tiny_module()
    for _ in range(2):
        with pytest.raises(UsageError, match=r"precision='bf16': .*compiled, it would differ by") as caught:
            module.predict(picture(0), precision="bf16")
        assert caught.value.hint == "leave precision out"


def test_a_large_set_is_evaluated_by_what_was_compiled(compilings: list[nn.Layer]) -> None:
    module = pictures.tiny_module()
    data = [(picture(seed), module.labels[seed % 2]) for seed in range(8)]
    found = module.evaluate(data, batch_size=4)
    assert len(compilings) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "BYTES_A_PIXEL", 0)  # nothing is compiled
        eager = module.evaluate(data, batch_size=4)
    assert found["accuracy"] == eager["accuracy"]
    assert found["loss"] == pytest.approx(eager["loss"], rel=1e-5)
    module.predict([picture(seed) for seed in range(3)])
    assert len(compilings) == 1, "predict takes what evaluate compiled"
