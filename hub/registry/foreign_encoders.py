"""An encoder as others publish it: which of its files are taken, and the module.yaml that is made around them.

A folder or repository as Hugging Face, sentence-transformers or PaddleNLP lay it out has config.json, weights and a
tokenizer, and no module.yaml. Here it gets a name, a version and digests, so that it is a module like any other. What
its configuration means is read by the model arm when the module is loaded (hub/modules/huggingface.py), never here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from hub.errors import IndexFormatError, NotFoundError, SpecError, StorageError
from hub.files import MAX_TEXT_BYTES, license_of
from hub.naming import encoder_name_of
from hub.registry.index import File, Module, Release
from hub.registry.manifest import FILE_NAME, described
from hub.registry.reference import UNSEEN
from hub.registry.strict import load_json

CONFIG_FILES = ("config.json", "model_config.json")
"""The second is PaddleNLP's of before 2.5."""
WEIGHTS_FILES = ("model.safetensors", "model_state.safetensors", "model_state.pdparams")
"""The first that is there is taken. Others, such as pytorch_model.bin, are programs when they are read."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
"""Likewise."""
BESIDE = {"vocab.json": ("merges.txt",)}
"""What a tokenizer is no use without."""
CARDS = frozenset(("readme.md", "license", "license.txt", "license.md", "notice"))
MODEL_TYPES = frozenset(
    ("bert", "tinybert", "ernie", "roberta", "xlm-roberta", "camembert", "electra", "albert", "distilbert")
)
"""What config.json may say that it is; another network is refused before its weights are fetched."""
ARCH = "as_published"
"""The architecture in the module.yaml that is made: the one that config.json describes."""
TASK = "text_classification"
VERSION = "1.0.0"
SUMMARY = "text encoder as it was published, for fine-tuning and embeddings"

_FURTHER = re.compile(
    r"tokenizer_config\.json|modules\.json|sentence_bert_config\.json|[0-9]{1,2}_Pooling/config\.json"
)
_OTHER_WEIGHTS = (
    ".bin",
    ".h5",
    ".msgpack",
    ".onnx",
    ".ot",
    ".index.json",
    ".safetensors",
    ".pdparams",
    ".pt",
)


def is_published(names: Collection[str]) -> bool:
    """Say whether these are the files of an encoder in such a layout, whatever it lacks, and of no module of ours."""
    if FILE_NAME in names or not any(name in names for name in CONFIG_FILES):
        return False
    return any(name in TOKENIZER_FILES or name.endswith(_OTHER_WEIGHTS) for name in names if "/" not in name)


def is_published_folder(folder: Path) -> bool:
    """Say so of a folder on this machine."""
    return folder.is_dir() and is_published([*_names(folder)])


def choose(names: Collection[str], origin: str) -> list[str]:
    """Give the files that belong to the encoder, the configuration first. Raises NotFoundError when one is missing."""
    needed = (
        ("a configuration", CONFIG_FILES), ("the weights", WEIGHTS_FILES), ("a tokenizer", TOKENIZER_FILES),
    )  # fmt: skip
    chosen = [_first(names, wanted, what, origin) for what, wanted in needed]
    for name in BESIDE.get(chosen[2], ()):
        chosen.append(_first(names, (name,), f"what belongs to {chosen[2]}", origin))
    return chosen + sorted(name for name in names if _FURTHER.fullmatch(name) or name.lower() in CARDS)


def check_config(path: Path, origin: str) -> None:
    """Raise SpecError for a configuration that cannot be read, and for a network that is none of MODEL_TYPES."""
    try:
        config = load_json(path.read_bytes(), source=f"{origin}: {path.name}", most=MAX_TEXT_BYTES)
    except IndexFormatError as problem:
        raise SpecError(problem.message, hint=problem.hint) from None
    if not isinstance(config, dict):
        raise SpecError(f"{origin}: {path.name}: expected an object {{…}}, found {type(config).__name__}")
    kind = config.get("model_type")
    if path.name == CONFIG_FILES[0] and str(kind).lower() not in MODEL_TYPES:
        raise SpecError(
            f"{origin}: {path.name}: expected a model_type of {', '.join(sorted(MODEL_TYPES))}, found "
            f"{UNSEEN.sub('?', repr(kind))[:60]}",
            hint="hub reads encoders of texts; nothing was installed",
        )


def module(folder: Path) -> tuple[Module, dict[str, bytes]]:
    """Give the module that a published folder is, and the files that are made for it: module.yaml, by path.

    The same files give the same module wherever they come from. Raises NotFoundError, SpecError or StorageError.
    """
    import hashlib  # loads OpenSSL, which a listing has no use for

    name = encoder_name_of(folder)
    chosen = choose([*_names(folder)], str(folder))
    check_config(folder / chosen[0], str(folder))
    taken = {path: described(folder, path) for path in chosen}
    license = license_of(folder)
    tokenizer = [taken[path] for path in (chosen[2], *BESIDE.get(chosen[2], ()))]
    text = _module_yaml(name, license, weights=taken[chosen[1]], tokenizer=tokenizer).encode()
    made = File(FILE_NAME, hashlib.sha256(text).hexdigest(), len(text))
    files = tuple(sorted([*taken.values(), made], key=lambda file: file.path))
    return Module(name, TASK, SUMMARY, license, (Release(VERSION, files),)), {FILE_NAME: text}


def _module_yaml(name: str, license: str, *, weights: File, tokenizer: Sequence[File]) -> str:
    import yaml  # 20 ms that a listing does not need

    spec = {
        "schema": 1,
        "name": name,
        "version": VERSION,
        "task": TASK,
        "summary": SUMMARY,
        "arch": {"name": ARCH},
        "weights": [{"file": weights.path, "sha256": weights.sha256, "size": weights.size}],
        "files": [{"file": file.path, "sha256": file.sha256, "size": file.size} for file in tokenizer],
        "license": license,
    }
    return yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110)


def _first(names: Collection[str], wanted: tuple[str, ...], what: str, origin: str) -> str:
    for name in wanted:
        if name in names:
            return name
    there = sorted(name for name in names if "/" not in name)
    shown = ", ".join(UNSEEN.sub("?", name)[:60] for name in there[:8]) or "nothing"
    hint = "only encoders with such a vocabulary can be used"
    if wanted is WEIGHTS_FILES:
        hint = "" if not any(name.endswith(_OTHER_WEIGHTS) for name in there) else (
            "make it one safetensors file: in transformers, AutoModel.from_pretrained(…).save_pretrained(FOLDER, "
            "safe_serialization=True, max_shard_size='100GB') and the tokenizer's save_pretrained(FOLDER); then "
            "hub install ./FOLDER"
        )  # fmt: skip
    raise NotFoundError(f"{origin}: expected {what} in {' or '.join(wanted)}, found {shown}", hint=hint)


def _names(folder: Path) -> Iterator[str]:
    """Give the names of the plain files that a folder has where an encoder may have them."""
    try:
        for path in [*folder.iterdir(), *folder.glob("*_Pooling/config.json")]:
            if path.is_file():
                yield path.relative_to(folder).as_posix()
    except OSError as error:
        raise StorageError(f"{error.filename}: cannot be read: {error.strerror}") from error
