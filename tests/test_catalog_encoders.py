"""Encoders of paddlenlp in the catalog: they are the networks that paddlenlp builds, and modules once installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from encoder_folders import spiece
from faultserver import FaultServer
from folders import tree

import hub
from hub.errors import IntegrityError, OfflineError
from hub.modules import archs, huggingface
from hub.modules.archs import paddlenlp_models
from hub.modules.spec import ModuleSpec, Named
from hub.registry import client, lockfile
from hub.registry.catalog import entry as catalog
from hub.registry.catalog.entry import Entry
from hub.registry.index import Summary, dump_search

pytest.importorskip("paddlenlp")
pytest.importorskip("tokenizers")

TABLE = json.loads((catalog.FOLDER / catalog.TABLES[2]).read_text(encoding="utf-8"))
ENCODERS = [entry for entry in (Entry(name, **facts) for name, facts in TABLE.items()) if entry.built]
MODELS = {
    "bert": "BertModel", "ernie": "ErnieModel", "roberta": "RobertaModel", "electra": "ElectraModel",
    "albert": "AlbertModel", "distilbert": "DistilBertModel", "tinybert": "TinyBertModel",
}  # fmt: skip
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "##s", "我", "们", ".", "the"]
VOCABULARY = "".join(f"{piece}\n" for piece in PIECES).encode()
SMALL = {
    "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 20,
}  # fmt: skip
# An entry, and one of paddlenlp's networks around such an encoder, whose heads are in checkpoints beside it.
AROUND = {
    "uer-chinese-roberta-tiny": ("bert", "BertForPretraining"),
    "ernie-1-0": ("ernie", "ErnieForMaskedLM"),
    "ernie-3-0-nano-zh": ("ernie", "ErnieForPretraining"),
    "rocketqa-nano-cross-encoder": ("ernie", "ErnieForSequenceClassification"),
    "uie-nano": ("ernie", "UIE"),
    "utc-pico": ("ernie", "UTC"),
    "hfl-rbt3": ("roberta", "RobertaForMaskedLM"),
    "chinese-electra-small": ("electra", "ElectraDiscriminator"),
    "albert-chinese-tiny": ("albert", "AlbertForMaskedLM"),
    "albert-base-v2": ("albert", "AlbertForMaskedLM"),
    "distilbert-base-uncased": ("distilbert", "DistilBertForMaskedLM"),
    "tinybert-4l-312d-zh": ("tinybert", "TinyBertForPretraining"),
}
NAME = "uer-chinese-roberta-tiny"


def published(entry: Entry) -> str:
    return entry.origin.removeprefix("paddlenlp's ")


def theirs(family: str, model: str, **configuration: Any) -> Any:
    """Give one of paddlenlp's networks."""
    made = getattr(paddlenlp_models._module(f"{family}.modeling"), model)
    return made(made.config_class(**configuration))


# ---- what the entries say ----


@pytest.mark.parametrize("family", MODELS)
def test_the_smallest_entry_is_the_network_that_paddlenlp_builds(family: str) -> None:
    model = getattr(paddlenlp_models._module(f"{family}.modeling"), MODELS[family])
    known = model.pretrained_init_configuration
    entry = min((e for e in ENCODERS if published(e) in known), key=lambda e: e.size)
    with paddle.LazyGuard(), paddlenlp_models._module("model_utils").no_init_weights():
        configuration = known[published(entry)] | {"pad_token_id": None}  # its row would be written at once
        state = theirs(family, MODELS[family], **configuration).state_dict()
        backbone = archs.build(**entry.arch)
    zeros = {
        f"{model.base_model_prefix}.{name}": np.broadcast_to(np.float32(0), tuple(tensor.shape))
        for name, tensor in state.items()
    }
    name, *_ = entry.arch.values()
    given = huggingface.backbone_state(Named(name, {}), zeros)
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}
    assert {name: array.shape for name, array in given.items()} == shapes
    assert sum(int(np.prod(shape)) for shape in shapes.values()) * 4 == entry.size


def test_vocabularies_lengths_and_letters_are_those_of_paddlenlps_tokenizers() -> None:
    modules = {
        family: paddlenlp_models._module(f"{family}.tokenizer") for family in MODELS if family != "albert"
    }
    classes = {
        "bert": "BertTokenizer", "ernie": "ErnieTokenizer", "roberta": "RobertaChineseTokenizer",
        "electra": "ElectraTokenizer", "distilbert": "DistilBertTokenizer", "tinybert": "TinyBertTokenizer",
    }  # fmt: skip
    tokenizers = [getattr(modules[family], name) for family, name in classes.items()]
    albert = paddlenlp_models._module("albert.tokenizer")
    tokenizers += [albert.AlbertChineseTokenizer, albert.AlbertEnglishTokenizer]
    for entry in ENCODERS:
        [theirs] = [each for each in tokenizers if published(entry) in each.pretrained_init_configuration]
        if theirs is albert.AlbertEnglishTokenizer:
            key, name = "sentencepiece_model_file", "spiece.model"
            assert not theirs.pretrained_init_configuration[published(entry)]["keep_accents"], entry.name
        else:
            key, name = "vocab_file", "vocab.txt"
        url = theirs.pretrained_resource_files_map[key][published(entry)]
        assert entry.files == {name: url.replace("http://", "https://")}, entry.name
        [step] = entry.preprocess
        said = theirs.pretrained_init_configuration[published(entry)]
        assert step["tokenize"]["lowercase"] is said["do_lower_case"], entry.name
        assert step["tokenize"]["max_length"] == min(512, entry.arch["max_position_embeddings"]), entry.name


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [
        ("ernie", "ernie-1-0"),
        ("ernie_v2_eng_base", "ernie-2-0-base-en"),
        ("ernie_v2_eng_large", "ernie-2-0-large-en"),
        ("bert-base-chinese", "bert-base-chinese"),
        ("chinese-bert-wwm-ext", "bert-wwm-ext-chinese"),
        ("roberta-wwm-ext", "hfl-roberta-wwm-ext"),
        ("rbtl3", "hfl-rbtl3"),
        ("chinese-electra-small", "chinese-electra-small"),
        ("albert-chinese-tiny", "albert-chinese-tiny"),
        ("albert-base-v1", "albert-base-v1"),
        ("albert-xxlarge-v2", "albert-xxlarge-v2"),
    ],
)
def test_names_of_paddlehub_lead_to_encoders_that_can_be_installed(name: str, checkpoint: str) -> None:
    entry = Entry.read(name)
    assert entry is not None
    assert (entry.checkpoint, entry.built) == (checkpoint, True)


def test_an_encoder_with_another_vocabulary_says_that_it_cannot_be_installed_and_why() -> None:
    """Its words are found by a dictionary in a pickle before sentencepiece cuts them."""
    entry = Entry.read("ernie_tiny")
    assert entry is not None
    assert not entry.built
    assert "not installable yet" in entry.line
    assert "its vocabulary is neither word-pieces nor a plain SentencePiece model" in entry.line


# ---- installed from a server on this machine ----


@dataclass
class Publisher:
    """A server with small checkpoints of real layouts, the catalog that names them, and the networks themselves."""

    server: FaultServer
    folder: Path
    networks: dict[str, Any]

    def offer(self, name: str) -> None:
        """Put a small network of this entry's kind on the server, and the entry of that into the catalog."""
        family, model = AROUND[name]
        [vocabulary] = TABLE[name]["files"]
        content = VOCABULARY if vocabulary == "vocab.txt" else spiece()
        arch = {**TABLE[name]["arch"], **SMALL}
        arch |= {"vocab_size": 400} if vocabulary != "vocab.txt" else {}
        arch |= {"embedding_size": 8} if "embedding_size" in arch else {}
        paddle.seed(0)
        configuration = {key: value for key, value in arch.items() if key != "name"}
        network = theirs(family, model, **{"pad_token_id": 0, **configuration})
        rng = np.random.default_rng(0)
        for key, tensor in network.state_dict().items():
            if tensor.dtype == paddle.float32:
                middle = 1.0 if "norm" in key and key.endswith("weight") else 0.0
                tensor.set_value(rng.normal(middle, 0.2, tensor.shape).astype(np.float32))
        network.eval()
        path = self.folder / f"{name}.pdparams"
        paddle.save(network.state_dict(), str(path))
        self.server.documents[f"/{name}.pdparams"] = path.read_bytes()
        self.server.documents[f"/{vocabulary}"] = content
        self.networks[name] = network
        facts = {
            **TABLE[name],
            "arch": arch,
            "url": f"{self.server.url}/{name}.pdparams",
            "files": {vocabulary: f"{self.server.url}/{vocabulary}"},
            "preprocess": [{"tokenize": {"max_length": 20, "lowercase": True}}],
            "size": path.stat().st_size,
            "aliases": [f"{name}-again"],
        }
        for table in catalog.TABLES:
            entries = {name: facts} if table == catalog.TABLES[2] else {}
            (self.folder / table).write_text(json.dumps(entries), encoding="utf-8")
        rows = (
            Summary(e.name, catalog.VERSION, e.task, e.line, e.license, e.size)
            for e in catalog.parse({name: facts}).values()
        )
        (self.folder / catalog.SEARCH).write_text(dump_search(rows), encoding="utf-8")
        catalog._read_table.cache_clear()


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    folder = tmp_path / "catalog"
    folder.mkdir()
    monkeypatch.setattr(catalog, "FOLDER", folder)
    with FaultServer({}) as server:
        yield Publisher(server, folder, {})
    catalog._read_table.cache_clear()


@pytest.mark.parametrize("name", AROUND)
def test_an_installed_encoder_gives_what_its_makers_network_gives(publisher: Publisher, name: str) -> None:
    publisher.offer(name)
    [vocabulary] = TABLE[name]["files"]
    located = client.install(name)
    assert set(tree(located.folder)) == {
        ".hub.json",
        "README.md",
        "module.yaml",
        vocabulary,
        "weights.pdparams",
    }
    module = hub.Module(name)
    assert (module.name, module.version, module.task) == (name, "1.0.0", "text_classification")
    text = "The cats sat. 我们"
    ids = module.preprocessor.read(text).ids.astype(np.int64)[None]
    if vocabulary == "vocab.txt":
        assert ids.tolist() == [[2, 12, 6, 8, 7, 11, 9, 10, 3]]
    else:
        maker = paddlenlp_models._module("albert.tokenizer").AlbertEnglishTokenizer
        assert ids[0].tolist() == maker(str(located.folder / vocabulary))(text)["input_ids"]
    network = publisher.networks[name]
    # paddlenlp counts RobertaModel's positions from 1; these checkpoints were trained as BERT is, from 0.
    own = {"position_ids": paddle.arange(ids.shape[1]).unsqueeze(0)} if AROUND[name][0] == "roberta" else {}
    with paddle.no_grad():
        found = getattr(network, network.base_model_prefix)(paddle.to_tensor(ids), **own)
    hidden = found[0] if isinstance(found, tuple | list) else found
    np.testing.assert_allclose(module.embed([text]), hidden[:, 0].numpy(), atol=1e-5)


def test_what_was_downloaded_first_is_what_it_must_be(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.offer(NAME)
    located = client.install(NAME)
    assert client.verify_files(located) == []
    spec = ModuleSpec.read(located.folder)
    assert [file.file for file in (*spec.weights, *spec.files)] == ["weights.pdparams", "vocab.txt"]
    asked = len(publisher.server.log)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    again = client.install(f"{NAME}-again")
    assert (again.folder / "vocab.txt").samefile(located.folder / "vocab.txt")
    assert len(publisher.server.log) == asked
    monkeypatch.delenv("HUB_OFFLINE")
    client.uninstall(NAME)
    client.uninstall(f"{NAME}-again")
    publisher.server.documents["/vocab.txt"] = VOCABULARY.replace(b"cat", b"dog")
    with pytest.raises(IntegrityError, match="expected sha256") as caught:
        client.install(NAME)
    assert f"{NAME}.json" in caught.value.hint


def test_offline_names_the_file_that_is_missing(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.offer(NAME)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"vocab\.txt from http"):
        client.install(NAME)


def test_a_lock_brings_the_same_files_to_another_machine_or_none(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.offer(NAME)
    lock_file = tmp_path / "hub.lock"
    located = client.install(NAME)
    lockfile.add(lock_file, [located])
    [locked] = lockfile.read(lock_file)
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "another"))
    again = lockfile.install_locked(locked, lock_file=lock_file)
    assert tree(again.folder)["vocab.txt"] == tree(located.folder)["vocab.txt"]
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "third"))
    publisher.server.documents["/vocab.txt"] = VOCABULARY.replace(b"cat", b"dog")
    with pytest.raises(IntegrityError, match="expected sha256"):
        lockfile.install_locked(locked, lock_file=lock_file)
    assert not (tmp_path / "third" / "modules").exists()
    assert not (tmp_path / "third" / "catalog").exists()
