"""What paddlenlp says of its checkpoints: read from the literals in its files, which are never run."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hub.modules import huggingface
from hub.modules.archs import text_encoder

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PADDLENLP_VERSION = "3.0.0b4"
FAMILIES = ("bert", "ernie", "roberta", "electra", "albert", "distilbert", "tinybert")
"""Those of paddlenlp whose networks hub has."""
VOCABULARIES = {
    "vocab_file": (".txt", "vocab.txt"),
    "sentencepiece_model_file": (".spiece.model", "spiece.model"),
}
"""What paddlenlp calls a vocabulary that hub reads, how its address ends, and the name of the file here."""
OTHER_LAYOUTS = {"ernie-health-chinese": "how its checkpoint is laid out is not known"}
CHINESE = re.compile(r"zh|chinese|wwm|rbt|macbert|simbert|ernie-(1|tiny)|uie(?!.*-en)|utc|rocketqa-(?!v1)")
"""Those of FAMILIES, by name, whose texts were Chinese."""
TEXT_TO_IMAGE = {"artist", "dallebart"}
"""The families of paddlenlp that do something else than read or write text."""

Table = dict[str, dict[str, Any]]


def paddlenlp(package: Traversable) -> Table:
    """Give the entries of paddlenlp, one for each address; other names of the same file become aliases."""
    entries: Table = {}
    by_url: dict[str, str] = {}
    for family in sorted((package / "transformers").iterdir(), key=lambda folder: folder.name):
        urls, arguments = _checkpoints(family)
        vocabularies, lowercase = _vocabularies(family)
        for published, url in urls.items():
            if "internal" in published:  # for paddlenlp's own tests
                continue
            name, url = _module_name(published), re.sub("^http:", "https:", url)
            if url in by_url:
                entries[by_url[url]].setdefault("aliases", []).append(name)
                continue
            by_url[url] = name
            entries[name] = {
                "task": "text_to_image" if family.name in TEXT_TO_IMAGE else "text",
                "summary": f"{published} of paddlenlp ({family.name})",
                "license": "not stated",
                "arch": {"name": family.name, **arguments.get(published, {})},
                "origin": f"paddlenlp's {published}",
                "url": url,
            }
            if family.name not in FAMILIES:
                continue
            why = OTHER_LAYOUTS.get(
                published, "its vocabulary is neither word-pieces nor a plain SentencePiece model"
            )
            if published in OTHER_LAYOUTS or published not in vocabularies:
                entries[name]["summary"] += f"; {why}"
                continue
            config = {**_defaults(family), **arguments[published]}
            entries[name] |= _encoder(published, family.name, config, lowercase[published])
            entries[name]["files"] = vocabularies[published]
    return entries


def _encoder(published: str, family: str, config: Mapping[str, Any], lowercase: bool) -> dict[str, Any]:
    """Give what an entry says of an encoder that hub can build."""
    name = huggingface.ENCODERS[family]
    takes = inspect.signature(getattr(text_encoder, name)).parameters
    arch = {key: config[key] for key in takes if key in config and key not in huggingface.OURS}
    chinese, multilingual = CHINESE.search(published), "multilingual" in published
    language = "many languages" if multilingual else "Chinese" if chinese else "English"
    return {
        "task": "text_classification",
        "summary": f"{published} of paddlenlp ({family}, {arch['num_hidden_layers']} layers), trained on {language}",
        "arch": {"name": name, **arch},
        "built": True,
        "size": _parameters(name, arch) * 4,
        "preprocess": [
            {
                "tokenize": {
                    "max_length": min(arch["max_position_embeddings"], huggingface.MOST_PIECES),
                    "lowercase": lowercase,
                }
            }
        ],
        "trained_on": f"texts in {language}, see its makers' own description",
    }


def _parameters(name: str, arch: Mapping[str, Any]) -> int:
    """Count the parameters of an encoder without its pooler, as hub builds it."""
    wide, inner = arch["hidden_size"], arch["intermediate_size"]
    narrow = arch.get("embedding_size", wide)
    rows = arch["vocab_size"] + arch["max_position_embeddings"] + arch.get("type_vocab_size", 0)
    if arch.get("use_task_id"):
        rows += arch["task_type_vocab_size"]
    projection = narrow * wide + wide if narrow != wide or name == "albert" else 0
    layer = 4 * (wide * wide + wide) + 2 * wide * inner + inner + wide + 4 * wide
    layers = arch["num_hidden_layers"]
    if name == "albert":
        layers = arch["num_hidden_groups"] * arch["inner_group_num"]
    return (rows + 2) * narrow + projection + layers * layer


def _vocabularies(family: Traversable) -> tuple[dict[str, dict[str, str]], dict[str, bool]]:
    """Read name → file → address of its vocabulary, where hub reads all of it, and name → whether in lower case."""
    files: dict[str, dict[str, str]] = {}
    lowercase: dict[str, bool] = {}
    other: set[str] = set()
    path = family / "tokenizer.py"
    for literal in _dict_literals(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ():
        for key, value in literal.items():
            if key in VOCABULARIES:
                ending, file = VOCABULARIES[key]
                for name, url in value.items():
                    if str(url).endswith(ending):
                        files.setdefault(name, {})[file] = re.sub("^http:", "https:", url)
                    elif url:
                        other.add(name)
            elif isinstance(value, dict) and "do_lower_case" in value:
                lowercase[key] = value["do_lower_case"]
    return {
        name: found for name, found in files.items() if name in lowercase and name not in other
    }, lowercase


def _defaults(family: Traversable) -> dict[str, Any]:
    """Read the defaults of a family's configuration, which hold for what a checkpoint's own leaves out."""
    tree = ast.parse((family / "configuration.py").read_text(encoding="utf-8"))
    [config] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")]
    [made] = [node for node in config.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    names = [argument.arg for argument in made.args.args][-len(made.args.defaults) :]
    return {
        name: value.value
        for name, value in zip(names, made.args.defaults, strict=True)
        if isinstance(value, ast.Constant)
    }


def _checkpoints(family: Traversable) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Read name → address and name → configuration from the literals in a family's two files."""
    urls: dict[str, str] = {}
    arguments: dict[str, dict[str, Any]] = {}
    for file in ("configuration.py", "modeling.py"):
        path = family / file
        if not path.is_file():
            continue
        for literal in _dict_literals(ast.parse(path.read_text(encoding="utf-8"))):
            for name, value in literal.items():
                if name == "model_state" and isinstance(value, dict):
                    urls |= {key: url for key, url in value.items() if "://" in str(url)}
                elif isinstance(value, dict):
                    arguments[name] = {key: part for key, part in value.items() if key != "name"}
    return urls, arguments


def _dict_literals(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Give the dicts that names of pretrained things are set to; what is computed in them is left out."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if "pretrained" in ast.unparse(target).lower():
            yield _literal(node.value)


def _literal(node: ast.Dict) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            continue
        if isinstance(value, ast.Dict):
            found[key.value] = _literal(value)
        elif isinstance(value, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp):
            found[key.value] = ast.literal_eval(value)
    return found


def _module_name(published: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", published.lower())
