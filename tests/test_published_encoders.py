"""A folder in Hugging Face's or PaddleNLP's layout is installed as a module: only what belongs to it, under a name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_folders import BELONGS, encoder_folder
from folders import tree

from hub import settings
from hub.cli.main import main
from hub.errors import HubError, IntegrityError, NotFoundError, SpecError, StorageError
from hub.naming import encoder_name
from hub.registry import cache, client, export, foreign_encoders, lockfile
from hub.registry.manifest import Manifest
from hub.transforms import text

Environment = pytest.MonkeyPatch
VERSION = "1.0.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return encoder_folder(tmp_path / "all-MiniLM-L6-v2")


def test_what_is_taken_is_what_the_loader_reads() -> None:
    huggingface = pytest.importorskip("hub.modules.huggingface")
    assert foreign_encoders.CONFIG_FILES == huggingface.CONFIG_FILES
    assert foreign_encoders.WEIGHTS_FILES == huggingface.WEIGHTS_FILES
    assert foreign_encoders.TOKENIZER_FILES == text.FILES
    assert foreign_encoders.BESIDE == text.BESIDE
    assert huggingface.ENCODERS.keys() == foreign_encoders.MODEL_TYPES
    assert foreign_encoders.ARCH == huggingface.AS_PUBLISHED


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("ernie-3.0-nano-zh", "ernie-3_0-nano-zh"),
        ("bert.git", "bert"),
        ("con", "encoder"),
        ("_", "encoder"),
        ("语言", "encoder"),
        ("x" * 100, "x" * 64),
    ],
)
def test_names_are_made_of_names(given: str, name: str) -> None:
    assert encoder_name(given) == name


def test_an_encoder_is_installed_with_only_what_belongs_to_it(folder: Path) -> None:
    before = tree(folder)
    located = client.install(str(folder))
    name = "all-minilm-l6-v2"
    assert (located.name, located.version, located.source, located.verified) == (
        name, VERSION, str(folder), True,
    )  # fmt: skip
    files = tree(located.folder)
    assert set(files) == BELONGS | {"module.yaml", cache.RECORD}
    assert all(files[path] == before[path] for path in BELONGS)
    assert tree(folder) == before, "the user's folder stays as it was"
    assert client.locate(name).folder == located.folder
    assert client.verify_files(located) == []
    facts = Manifest.read(located.folder)
    assert (facts.name, facts.version, facts.license) == (name, VERSION, "apache-2.0")
    assert [file.path for file in facts.weights] == ["model.safetensors", "tokenizer.json"]


def test_the_commands_treat_it_as_any_module(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "all-minilm-l6-v2"
    assert main(["install", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["list", "--installed", "--json"]) == 0
    [row] = [row for row in json.loads(capsys.readouterr().out) if row["source"] != "bundled"]
    assert (row["name"], row["version"], row["task"]) == (name, VERSION, "text_classification")
    assert main(["show", name]) == 0
    assert "apache-2.0" in capsys.readouterr().out
    assert main(["cache", "verify", name]) == 0
    assert main(["uninstall", name]) == 0
    assert cache.installed() == []
    assert not [path for path in (settings.home() / "blobs").rglob("*") if path.is_file()]


def test_a_card_of_empty_lines_takes_no_time(folder: Path) -> None:
    """Without an end of the front matter it took the square of their number: half an hour for these."""
    (folder / "README.md").write_text("---" + "\n" * 200_000, encoding="utf-8")
    located = client.install(folder)
    assert Manifest.read(located.folder).license == "unknown"


@pytest.mark.parametrize(
    "vocabulary", [("vocab.txt",), ("spiece.model",), ("vocab.json", "merges.txt")], ids=" ".join
)
def test_the_first_weights_and_the_first_tokenizer_that_can_be_read_are_taken(
    folder: Path, vocabulary: tuple[str, ...]
) -> None:
    for name in ("model.safetensors", "tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    for name in vocabulary:
        (folder / name).write_text("x", encoding="utf-8")
    located = client.install(folder)
    taken = BELONGS - {"model.safetensors", "tokenizer.json"} | {"model_state.pdparams", *vocabulary}
    assert set(tree(located.folder)) == taken | {"module.yaml", cache.RECORD}
    assert [file.path for file in Manifest.read(located.folder).weights] == [
        "model_state.pdparams",
        *vocabulary,
    ]


def test_links_of_the_users_own_are_followed(folder: Path, tmp_path: Path) -> None:
    """As in the cache of huggingface_hub, where every file is one."""
    links = tmp_path / "snapshot"
    links.mkdir()
    for path in ("config.json", "model.safetensors", "tokenizer.json"):
        os.symlink(folder / path, links / path)
    os.symlink(links, tmp_path / "named")
    located = client.install(tmp_path / "named")
    assert located.name == client.locate(tmp_path / "named" / "." / "").name == "named"
    assert not (located.folder / "model.safetensors").is_symlink()
    assert (located.folder / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_folder_is_used_where_it_is_without_being_installed(folder: Path) -> None:
    located = client.locate(str(folder))
    assert (located.name, located.version, located.folder) == ("all-minilm-l6-v2", VERSION, folder)
    assert client.verify_files(located) == []
    assert cache.installed() == []


def without(*names: str) -> Any:
    return lambda folder: [(folder / name).unlink() for name in names]


@pytest.mark.parametrize(
    ("spoil", "error", "message", "hint"),
    [
        (without("model.safetensors", "model_state.pdparams"), NotFoundError,
         "expected the weights in model.safetensors or model_state.safetensors or model_state.pdparams, found",
         "safe_serialization=True"),
        (without("tokenizer.json", "vocab.txt"), NotFoundError,
         "expected a tokenizer in tokenizer.json or vocab.txt or vocab.json or spiece.model, found",
         "such a vocabulary"),
        (lambda folder: ((folder / "tokenizer.json").unlink(), (folder / "vocab.txt").rename(folder / "vocab.json")),
         NotFoundError, "expected what belongs to vocab.json in merges.txt, found", ""),
        (lambda folder: encoder_folder(folder, model_type="gpt2"), SpecError,
         "config.json: expected a model_type of albert, bert, camembert,", "nothing was installed"),
        (lambda folder: (folder / "config.json").write_text("[]"), SpecError,
         "config.json: expected an object {…}, found list", ""),
        (lambda folder: (folder / "config.json").write_text("{"), SpecError,
         "config.json, line 1, column 2: expected JSON", ""),
        (without("config.json"), NotFoundError, "expected a module folder with a module.yaml", ""),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_encoder_is_refused_and_leaves_nothing(
    folder: Path, spoil: Any, error: type[HubError], message: str, hint: str
) -> None:
    spoil(folder)
    with pytest.raises(error) as caught:
        client.install(folder)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert cache.installed() == []
    assert not (settings.home() / "blobs").exists()


def test_other_files_under_the_same_name_are_refused_until_the_first_are_gone(
    folder: Path, tmp_path: Path
) -> None:
    client.install(folder)
    other = encoder_folder(tmp_path / "other" / folder.name, weights=b"other")
    with pytest.raises(StorageError, match="is installed from") as caught:
        client.install(other)
    assert "hub uninstall all-minilm-l6-v2@1.0.0" in caught.value.hint
    client.uninstall("all-minilm-l6-v2")
    assert (client.install(other).folder / "model.safetensors").read_bytes() == b"other"


def test_an_index_folder_is_none(tmp_path: Path, folder: Path) -> None:
    located = client.install(folder)
    client.publish(located.folder, tmp_path / "index")
    assert not foreign_encoders.is_published_folder(tmp_path / "index")


def test_an_installed_encoder_can_be_exported_and_published(
    folder: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    located = client.install(folder)
    expected = {path: content for path, content in tree(located.folder).items() if path != cache.RECORD}
    export.export(located.name, tmp_path / "encoder.tar.gz")
    client.publish(located.folder, tmp_path / "index")
    for number, (index, reference) in enumerate(
        [("", str(tmp_path / "encoder.tar.gz")), (str(tmp_path / "index"), located.name)]
    ):
        monkeypatch.setenv("HUB_HOME", str(tmp_path / f"home{number}"))
        monkeypatch.setenv("HUB_INDEX", index)
        again = client.install(reference)
        assert (again.name, again.version) == (located.name, VERSION)
        assert {k: v for k, v in tree(again.folder).items() if k != cache.RECORD} == expected


def test_a_lock_brings_the_same_files_from_the_folder_or_none(
    folder: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    located = client.install(folder)
    lock_file = tmp_path / "hub.lock"
    lockfile.add(lock_file, [located])
    [locked] = lockfile.read(lock_file)
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "another"))
    assert lockfile.install_locked(locked, lock_file=lock_file).version == VERSION
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "third"))
    (folder / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"has other model\.safetensors"):
        lockfile.install_locked(locked, lock_file=lock_file)


# ---- loaded ----


SIZES = {
    "vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 20,
}  # fmt: skip


@pytest.mark.parametrize("layout", ["model.safetensors", "model_state.pdparams"])
def test_an_installed_encoder_is_the_one_of_its_folder(tmp_path: Path, layout: str) -> None:
    pytest.importorskip("paddlenlp")
    import paddle

    import hub
    from hub.modules import archs, weights

    folder = tmp_path / "Tiny.Encoder"
    (folder / "1_Pooling").mkdir(parents=True)
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", ".")
    for path, content in {
        "config.json": {"model_type": "bert", "hidden_act": "gelu", **SIZES},
        "modules.json": [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        ],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
    }.items():
        (folder / path).write_text(json.dumps(content), encoding="utf-8")
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    paddle.seed(0)
    backbone = archs.build("bert", **SIZES)
    if layout.endswith(".pdparams"):
        paddle.save(backbone.state_dict(), str(folder / layout))
    else:
        weights.save(folder / layout, weights.state_of(backbone))
    given = ["a cat sat.", "cat"]
    expected = hub.Module(str(folder)).embed(given)
    client.install(folder)
    module = hub.Module("tiny_encoder")
    assert (module.name, module.version, module.spec.arch.name) == ("tiny_encoder", VERSION, "bert")
    assert module.spec.arch.arguments["pooling"] == "mean"
    assert np.array_equal(module.embed(given), expected)
    # It brings no golden values; every byte is as it was installed.
    assert main(["verify", "tiny_encoder"]) == 0
    module.save(tmp_path / "saved")
    again = hub.Module(str(tmp_path / "saved"))
    assert again.name == "tiny_encoder"
    assert np.array_equal(again.embed(given), expected)
