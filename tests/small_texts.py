"""Small things for tests of texts: a reader whose pieces are characters, a network over pieces, a few sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.modules.archs import Backbone, FeatureSpec
from hub.modules.network import Network, infer
from hub.modules.spec import Named
from hub.modules.text_preprocessor import TextPreprocessor
from hub.tasks import Task
from hub.tasks.base import Arrays
from hub.transforms.text import Tokens

CHARACTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?-'", *"张三在北京工作李四去上海"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *CHARACTERS, *(f"##{each}" for each in CHARACTERS)]
IDS = {piece: number for number, piece in enumerate(dict.fromkeys(VOCABULARY))}
_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]", re.IGNORECASE)


class CharacterTokenizer:
    """What hub.transforms.text.Tokenizer makes of this vocabulary, in plain Python: a piece for each character."""

    pad_id = 0

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def encode(self, source: Any) -> Tokens:
        parts = [self._pieces(one) for one in (source if isinstance(source, tuple) else (source,))]
        room = self.max_length - 1 - len(parts)
        cut = sum(map(len, parts)) > room
        while sum(map(len, parts)) > room:
            max(parts, key=len).pop()
        special = (0, 0, -1)
        rows = [(IDS["[CLS]"], 0, *special)]
        for segment, pieces in enumerate(parts):
            rows += [(number, segment, *place) for number, *place in pieces]
            rows.append((IDS["[SEP]"], segment, *special))
        ids, segments, starts, ends, words = np.array(rows, np.int32).T
        return Tokens(ids, segments.astype(np.int8), np.stack([starts, ends], axis=1), words, cut)

    def encode_many(self, sources: Sequence[Any]) -> list[Tokens]:
        return [self.encode(source) for source in sources]

    def _pieces(self, source: str | list[str]) -> list[tuple[int, int, int, int]]:
        """Give (id, start, end, word) of each piece."""
        found, split = [], isinstance(source, list)
        begins = np.cumsum([0, *(len(word) + 1 for word in source)]) if split else [0]
        for number, text in enumerate(source if split else [source]):
            for count, match in enumerate(_WORD.finditer(text)):
                for place, character in enumerate(match[0].lower()):
                    start = int(begins[number]) + match.start() + place
                    piece = IDS.get(f"##{character}" if place else character, IDS["[UNK]"])
                    found.append((piece, start, start + 1, number if split else count))
        return found


class CharacterPreprocessor(TextPreprocessor):
    """The step tokenize with the tokenizer above, which needs no library."""

    def __init__(self, max_length: int) -> None:
        self.tokenizer = CharacterTokenizer(max_length)  # type: ignore[assignment]


def reader(library: bool, max_length: int = 64) -> TextPreprocessor:
    """Give what reads texts: with the library, or without."""
    if not library:
        return CharacterPreprocessor(max_length)
    files = {"vocab.txt": "\n".join(IDS).encode()}
    return TextPreprocessor([Named("tokenize", {"max_length": max_length})], [], files)


class PieceNetwork(Backbone):
    """A vector for each piece and what stands before it; their mean, or with `per_token` all of them."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.table = nn.Embedding(len(IDS), channels)
        self.mix = nn.Linear(2 * channels, channels)
        self.last = nn.Linear(channels, channels)
        self.feature_spec = FeatureSpec("pooled", (channels,))

    def per_token(self) -> None:
        self.feature_spec = FeatureSpec("tokens", (None, self.feature_spec.channels))

    def features(self, x: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        ids, _, mask = x
        shape = ids.shape
        ids, mask = ids.reshape([-1, shape[-1]]), mask.reshape([-1, shape[-1]])
        each = self.table(ids)
        before = paddle.concat([paddle.zeros_like(each[:, :1]), each[:, :-1]], axis=1)
        each = paddle.tanh(self.mix(paddle.concat([each, before], axis=2)))
        if self.feature_spec.kind == "tokens":
            return each
        share = mask.astype(each.dtype).unsqueeze(-1)
        mean = (each * share).sum(axis=1) / share.sum(axis=1)
        return paddle.tanh(self.last(mean)).reshape([*shape[:-1], -1])

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [("embeddings", [self.table]), ("mix", [self.mix]), ("last", [self.last])]


def network_for(task: Task, *, seed: int = 0) -> Network:
    """Give a fresh network with the head of a task."""
    paddle.seed(seed)
    backbone = PieceNetwork()
    task.attach(backbone)
    return Network(backbone, task.build_head(backbone.feature_spec))


def train(
    network: Network, task: Task, batch: tuple[Arrays, Arrays], *, steps: int = 60, **loss: Any
) -> float:
    """Train on one batch and give the last loss."""
    optimizer = paddle.optimizer.Adam(0.02, parameters=network.parameters())
    network.train()
    measure = task.loss(**loss)
    value = 0.0
    for _ in range(steps):
        inputs, targets = (tensors(each) for each in batch)
        cost = measure(network(inputs), targets)
        cost.backward()
        optimizer.step()
        optimizer.clear_grad()
        value = float(cost)
    network.eval()
    return value


def tensors(arrays: Arrays) -> Any:
    return tuple(map(paddle.to_tensor, arrays)) if isinstance(arrays, tuple) else paddle.to_tensor(arrays)


def answers(
    task: Task, network: Network, preprocessor: TextPreprocessor, sources: Sequence[Any], **options: Any
) -> list[dict[str, Any]]:
    """Give what `Module.predict` asks of a task."""
    items = [preprocessor.read(source) for source in sources]
    run = lambda batch: infer(network, batch)  # noqa: E731
    return task.answers(sources, items, run=run, preprocessor=preprocessor, **options)


def added_up(*meters: Any) -> dict[str, Any]:
    """Give what a meter computes when every count of it is summed, as hub.finetune.distributed does."""
    first, *others = meters
    for other in others:
        for name, value in vars(other).items():
            if isinstance(value, np.ndarray | int | float) and not isinstance(value, bool):
                setattr(first, name, getattr(first, name) + value)
    found: dict[str, Any] = first.compute()
    return found
