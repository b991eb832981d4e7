"""Folders of an encoder in the layouts in which others publish them: what belongs to it, and much that does not."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

WEIGHTS = b"w" * 500
BELONGS = {
    "1_Pooling/config.json", "LICENSE", "README.md", "config.json", "model.safetensors", "modules.json",
    "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
OTHERS = (
    "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "model_state.pdparams", "vocab.txt", "train.py",
    "special_tokens_map.json", ".gitattributes", "data/config.json", "2_Dense/config.json",
)  # fmt: skip


def encoder_folder(folder: Path, *, model_type: str = "bert", weights: bytes = WEIGHTS) -> Path:
    """Write a folder as sentence-transformers lays it out, with all that the registry looks at and no real weights."""
    texts = {
        "config.json": json.dumps({"model_type": model_type, "hidden_size": 16}),
        "modules.json": "[]",
        "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
        "sentence_bert_config.json": '{"max_seq_length": 16}',
        "tokenizer.json": "{}",
        "tokenizer_config.json": '{"do_lower_case": true}',
        "README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\n# An encoder\n",
        "LICENSE": "Apache License",
        **dict.fromkeys(OTHERS, "x"),
    }
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@functools.cache
def spiece(*, symbols: str = '()"-.–£€', capitals: bool = False, **options: Any) -> bytes:
    """Train a small spiece.model, on the texts that come with Python, with special pieces as ALBERT's has them."""
    from pydoc_data.topics import topics

    import sentencepiece

    lines = [line.strip() for text in topics.values() for line in text.split("\n")][:6000]
    lines += ["我们在北京的花园里散步。", "In 1,000 years 9,9 or 2, of 3, then 1,2, café naïve Zürich"] * 20
    written = io.BytesIO()
    given: dict[str, Any] = {
        "model_type": "unigram", "vocab_size": 400, "pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1,
        "control_symbols": ["[CLS]", "[SEP]", "[MASK]"], "user_defined_symbols": [*symbols], "minloglevel": 2,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines if capitals else [line.lower() for line in lines]),
        model_writer=written,
        **{**given, **options},
    )
    return written.getvalue()
