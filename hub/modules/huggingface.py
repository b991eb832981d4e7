"""A text encoder as Hugging Face, sentence-transformers or PaddleNLP lay it out, read as a module of ours.

The folder has config.json, the weights, and tokenizer.json, vocab.txt, vocab.json with merges.txt, or spiece.model.
What it says is translated into a ModuleSpec, and the names of its weights into ours; heads that belong to other tasks
are left out. Saved again, it is a module folder like any other.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hub.errors import SpecError
from hub.files import license_of, read_text, sha256_of
from hub.modules.spec import SCHEMA, ModuleSpec, Named
from hub.modules.weights import State
from hub.naming import encoder_name_of
from hub.transforms.text import BESIDE, FILES

CONFIG_FILES = ("config.json", "model_config.json")
"""The second is PaddleNLP's of before 2.5."""
WEIGHTS_FILES = ("model.safetensors", "model_state.safetensors", "model_state.pdparams")
ENCODERS = {
    "bert": "bert", "tinybert": "bert", "ernie": "ernie", "roberta": "roberta", "xlm-roberta": "roberta",
    "camembert": "roberta", "electra": "electra", "albert": "albert", "distilbert": "distilbert",
}  # fmt: skip
"""model_type in config.json, and the architecture that it is."""
ARCHITECTURES = frozenset(ENCODERS.values())
TOKENIZERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vocab.txt": (
        "BERT's word-pieces",
        r"((Bert|Ernie|Electra|DistilBert|TinyBert)|(Roberta|Albert)(Chinese)?)(Fast)?Tokenizer(Fast)?",
        {"tokenize_chinese_chars": True, "strip_accents": None},
    ),
    "vocab.json": (
        "RoBERTa's pairs of bytes",
        r"Roberta(BPE)?Tokenizer(Fast)?",
        {"add_prefix_space": False, "trim_offsets": True},
    ),
    "spiece.model": ("ALBERT's pieces", r"Albert(English)?Tokenizer(Fast)?", {"remove_space": True}),
}
"""Of a vocabulary: how it is used, the tokenizer_class of those that do, and those of its settings that are done."""
DISTILBERT_NAMES = {
    "dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size", "activation": "hidden_act",
}  # fmt: skip
AS_PUBLISHED = "as_published"
"""The architecture in a module.yaml that the registry made around such files: they say which one it is."""
OURS = ("dropout", "pooling", "normalize")
"""Arguments of the architectures that config.json has no say in."""
HEADS = (
    "pooler.", "cls.", "classifier.", "pre_classifier.", "lm_head.", "qa_outputs.", "predictions.", "sop_classifier.",
    "generator_predictions.", "generator_lm_head", "discriminator_predictions.", "sequence_summary.",
    "vocab_transform.", "vocab_layer_norm.", "vocab_projector.",
    "linear_start.", "linear_end.", "linear_q.", "linear_k.", "fit_dense",
    "embeddings.position_ids", "embeddings.token_type_ids",
)  # fmt: skip
"""Parameters and constants that stand beside an encoder's own and are left out."""
PREFIXES = {"albert": ("transformer.",), "bert": ("tinybert.",)}
"""What stands before the names of an encoder's parameters, besides the name of the architecture."""
MOST_PIECES = 512


def is_published(folder: Path) -> bool:
    """Say whether the folder looks like an encoder in one of these layouts."""
    return any((folder / name).is_file() for name in CONFIG_FILES)


def read(folder: Path) -> ModuleSpec:
    """Give the spec of the module that the folder is: task text_classification, without a head.

    Raises SpecError with the file and what is wrong with it, or what about it this library cannot do.
    """
    weights = _first(folder, WEIGHTS_FILES, "the weights")
    tokenizer = _first(folder, FILES, "a tokenizer")
    beside = [
        _first(folder, (name,), f"what belongs to {tokenizer.name}")
        for name in BESIDE.get(tokenizer.name, ())
    ]
    data = {
        "schema": SCHEMA,
        "name": encoder_name_of(folder),
        "version": "1.0.0",
        "task": "text_classification",
        "weights": [_file(weights)],
        "files": [_file(path) for path in (tokenizer, *beside)],
        "license": license_of(folder),
    }
    return ModuleSpec.parse(data | _translated(folder, tokenizer.name))


def completed(spec: ModuleSpec, folder: Path) -> ModuleSpec:
    """Give the spec of an encoder that was installed with what its makers' files say of it. Raises as `read` does."""
    tokenizer = next((file.file for file in spec.files if file.file in FILES), "")
    return ModuleSpec.parse(spec.to_dict() | _translated(folder, tokenizer))


def _translated(folder: Path, tokenizer: str) -> dict[str, Any]:
    """Give what module.yaml says of the network and of its inputs."""
    config = _config(folder)
    name = ENCODERS.get(str(config.get("model_type", "")).lower())
    if name is None:
        raise SpecError(
            f"{folder}: expected a model_type of {', '.join(sorted(ENCODERS))}, found {config.get('model_type')!r:.60}"
        )
    arguments = _sizes(name, config, folder) | _pooling(folder)
    return {
        "summary": f"{name} encoder as it was published, {arguments['num_hidden_layers']} layers",
        "arch": {"name": name, **arguments},
        "preprocess": [{"tokenize": _tokenize(folder, tokenizer, name, arguments)}],
    }


def backbone_state(arch: Named, state: Mapping[str, np.ndarray]) -> State:
    """Give published weights under the names and in the shapes of the architecture, heads left out.

    Those of transformers are renamed, and the matrices of its linear layers transposed; PaddleNLP's have our names
    already. What is not known is kept as it is, for the strict check to find.
    """
    prefixes = (f"{arch.name}.", *PREFIXES.get(arch.name, ()))
    plain = {
        re.sub(rf"^({'|'.join(map(re.escape, prefixes))})", "", name): array for name, array in state.items()
    }
    kept = {name: array for name, array in plain.items() if not name.startswith(HEADS)}
    names: dict[str, tuple[str, bool]] = {}
    if any(".LayerNorm." in name for name in kept):  # PaddleNLP says layer_norm
        from hub.modules.archs import paddlenlp_models

        sizes = {key: value for key, value in arch.arguments.items() if key not in OURS}
        names = paddlenlp_models.names_of(arch.name, **sizes)
    made: dict[str, np.ndarray] = {}
    for name, array in kept.items():
        old = re.sub(
            r"LayerNorm\.gamma$", "LayerNorm.weight", name
        )  # the names of TensorFlow's, in old files
        old = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", old)
        ours, transposed = names.get(old, (old, False))
        made[ours] = np.ascontiguousarray(array.T if transposed else array, np.float32)
    return made


def _config(folder: Path) -> dict[str, Any]:
    """Give config.json, or what model_config.json says in config.json's words."""
    path = _first(folder, CONFIG_FILES, "a configuration")
    found = _json(path)
    if path.name == CONFIG_FILES[0]:
        return found
    while isinstance(inner := (found.get("init_args") or [None])[0], dict):
        found = {**found, **inner, "init_args": inner.get("init_args")}
    kind = re.match(r"[A-Za-z]+?(?=For|Model|Discriminator|Generator)", str(found.get("init_class", "")))
    return {**found, "model_type": kind[0].lower() if kind else None}


def _sizes(name: str, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from hub.modules.archs import text_encoder  # so that other modules need not wait for it

    if config.get("position_embedding_type", "absolute") != "absolute":
        raise SpecError(
            f"{folder}: expected absolute positions, found {config['position_embedding_type']!r:.60}"
        )
    renamed = {DISTILBERT_NAMES.get(key, key): value for key, value in config.items()}
    takes = inspect.signature(getattr(text_encoder, name)).parameters
    chosen = {key: renamed[key] for key in takes if key in renamed and key not in OURS}
    for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if key not in chosen:
            raise SpecError(f"{folder / CONFIG_FILES[0]}: {key}: missing")
    return chosen


def _pooling(folder: Path) -> dict[str, Any]:
    """Give what sentence-transformers' files say about pooling; without them, the first piece stands for a text."""
    path = folder / "modules.json"
    if not path.is_file():
        return {"pooling": "cls"}
    listed = _json(path, list)
    found: dict[str, Any] = {"pooling": "cls"}
    for entry in listed:
        kind = str(entry.get("type", "")).rpartition(".")[2] if isinstance(entry, dict) else ""
        if kind == "Pooling":
            found["pooling"] = _mode(folder, str(entry.get("path", "")))
        elif kind == "Normalize":
            found["normalize"] = True
        elif kind != "Transformer":
            raise SpecError(
                f"{path}: expected Transformer, Pooling and Normalize, found {kind or entry!r:.60}"
            )
    return found


def _mode(folder: Path, name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SpecError(f"{folder / 'modules.json'}: expected the name of a folder, found {name!r:.60}")
    path = folder / name / "config.json"
    modes = {key.removeprefix("pooling_mode_") for key, on in _json(path).items() if on is True}
    if modes - {"include_prompt"} == {"mean_tokens"}:
        return "mean"
    if modes - {"include_prompt"} == {"cls_token"}:
        return "cls"
    raise SpecError(f"{path}: expected mean_tokens or cls_token, found {', '.join(sorted(modes)) or 'none'}")


def _tokenize(folder: Path, tokenizer: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    said = _json(path) if path.is_file() else {}
    sentences = folder / "sentence_bert_config.json"
    offset = (
        arguments.get("pad_token_id", 1) + 1 if name == "roberta" and arguments.get("pad_token_id", 1) else 0
    )
    limits = [
        (_json(sentences) if sentences.is_file() else {}).get("max_seq_length"),
        said.get("model_max_length"),
        arguments.get("max_position_embeddings", MOST_PIECES) - offset,
        MOST_PIECES,
    ]
    step: dict[str, Any] = {
        "max_length": min(each for each in limits if isinstance(each, int) and each > 0),
    }
    if tokenizer in TOKENIZERS:
        what, classes, done = TOKENIZERS[tokenizer]
        kind = said.get("tokenizer_class")
        if kind is not None and not re.fullmatch(classes, str(kind)):
            raise SpecError(f"{path}: expected {what} for {tokenizer}, found {kind!r:.60}")
        for key, usual in done.items():
            if said.get(key, usual) != usual:
                raise SpecError(
                    f"{path}: {key}: only {usual} is done with {tokenizer}, found {said[key]!r:.60}",
                    hint="with a tokenizer.json it can be done: transformers writes one",
                )
        if isinstance(said.get("do_lower_case"), bool):
            step["lowercase"] = said["do_lower_case"]
        if tokenizer == "spiece.model" and isinstance(said.get("keep_accents"), bool):
            step["keep_accents"] = said["keep_accents"]
    return step


def _first(folder: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    hint = ""
    if names is WEIGHTS_FILES and any(each.endswith((".bin", ".index.json", ".h5")) for each in there):
        hint = (
            "as one safetensors file: in transformers, model.save_pretrained(folder, safe_serialization=True)"
        )
    found = ", ".join(there[:8]) or "nothing"
    raise SpecError(f"{folder}: expected {what} in {' or '.join(names)}, found {found}", hint=hint)


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256_of(path), "size": path.stat().st_size}


def _json(path: Path, kind: type = dict) -> Any:
    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as problem:
        raise SpecError(f"{path}: expected JSON, found {problem!s:.200}") from None
    if not isinstance(found, kind):
        raise SpecError(f"{path}: expected a {kind.__name__}, found {type(found).__name__}")
    return found
