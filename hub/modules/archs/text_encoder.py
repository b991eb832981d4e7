"""Transformers for texts on paddlenlp's layers: BERT, ERNIE, RoBERTa, ELECTRA, ALBERT, DistilBERT.

They take (ids, segments, mask), int64 [N, L], or [N, K, L] for K texts a sample. The arguments are the names that
config.json has; those of the parameters are paddlenlp's. paddlenlp (the text extra) is imported when one is built.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError, SpecError
from hub.modules.archs import paddlenlp_models
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register, require_whole

POOLINGS = ("mean", "cls")
ACTS = ("gelu", "relu")
MOST = {"num_hidden_layers": 256, "max_position_embeddings": 1 << 17, "vocab_size": 1 << 24}
"""Sizes that no published encoder comes near: a number beyond is a mistake, or meant to do harm."""
MOST_WIDE = 1 << 16

State = tuple[Tensor, Tensor]
"""What is between two stages: hidden states [N, L, C] and mask [N, L], or both with K after N."""


class TextEncoder(Backbone):
    """Embeddings and layers of a paddlenlp model; its pooler is left out, since tasks bring heads of their own.

    The features are pooled, float32 [N, C], or [N, K, C] for K texts a sample: the mean over the pieces of a text, or
    what stands at its first piece ("cls"), with `normalize` of length 1. After `per_token()` they are [N, L, C].
    """

    def __init__(
        self, model: Any, *, pooling: str, normalize: bool, layer_norm_eps: float, first_position: int
    ) -> None:
        super().__init__()
        config = model.config
        self.embeddings: nn.Layer = model.embeddings
        self.encoder: nn.Layer = model.encoder
        if hasattr(
            model, "embeddings_project"
        ):  # of an ELECTRA whose embeddings are narrower than its layers
            self.embeddings_project: nn.Layer = model.embeddings_project
        self.embeddings._buffers.pop(
            "position_ids", None
        )  # the numbers 0, 1, 2, …, which are given to it below
        for layer in self.sublayers():
            if isinstance(layer, nn.LayerNorm):
                layer._epsilon = layer_norm_eps
        self.pooling, self.normalize = pooling, normalize
        self.first_position = first_position
        self.pieces: int = config.vocab_size
        """How many ids there are."""
        kinds = self.embeddings._sub_layers.get("token_type_embeddings")
        self.segments: int = 0 if kinds is None else kinds.weight.shape[0]
        """How many segments are told apart; 0 for an encoder that does not look at them."""
        self.longest: int = config.max_position_embeddings - first_position
        """The most pieces of a text."""
        self.feature_spec = FeatureSpec("pooled", (config.hidden_size,))

    def per_token(self) -> None:
        """Give features for every piece from now on: [N, L, C], or [N, K, L, C]."""
        self.feature_spec = FeatureSpec("tokens", (None, self.feature_spec.channels))

    def check(self, x: Any) -> None:
        """Raise InputError for anything but (ids, segments, mask) of one shape and of no more than `longest` pieces."""
        if not isinstance(x, tuple | list) or len(x) != 3:
            raise InputError(f"expected (ids, segments, mask), found {type(x).__name__}")
        if not paddle.in_dynamic_mode():  # while it is traced, nobody knows the lengths
            return
        shapes = [list(each.shape) for each in x]
        if shapes[0] != shapes[1] or shapes[0] != shapes[2] or len(shapes[0]) not in (2, 3):
            raise InputError(f"expected ids, segments and mask as [N, L] or [N, K, L], found {shapes}")
        if shapes[0][-1] > self.longest:
            raise InputError(
                f"expected texts of at most {self.longest} pieces, found {shapes[0][-1]}",
                hint="lower max_length of the step tokenize in module.yaml",
            )

    def example(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give a batch of one text of four pieces."""
        ids = paddle.zeros([1, 4], "int64")
        return ids, ids, paddle.ones_like(ids)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        begin = [self.embeddings, *self._projections()]
        return [
            ("embeddings", begin),
            *((f"layer{number}", [layer]) for number, layer in enumerate(self._layers())),
        ]

    def stages(self) -> list[tuple[str, Stage]]:
        layers = [
            (f"layer{number}", partial(self._through, layer)) for number, layer in enumerate(self._layers())
        ]
        name, last = layers.pop()
        return [("embeddings", self._embed), *layers, (name, lambda x: self.pooled(last(x)))]

    def pooled(self, x: State) -> Tensor:
        """Give the features that belong to hidden states and their mask."""
        hidden, mask = x
        if self.feature_spec.kind == "tokens":
            return hidden
        if self.pooling == "cls":
            found = hidden[..., 0, :]
        else:
            weight = mask.astype(hidden.dtype).unsqueeze(-1)
            found = (hidden * weight).sum(axis=-2) / weight.sum(axis=-2).clip(min=1e-9)
        return F.normalize(found, axis=-1) if self.normalize else found

    def _projections(self) -> list[nn.Layer]:
        return [self.embeddings_project] if "embeddings_project" in self._sub_layers else []

    def _layers(self) -> list[nn.Layer]:
        return list(self.encoder.layers)

    def _embed(self, x: tuple[Tensor, Tensor, Tensor]) -> State:
        ids, segments, mask = x
        texts = ids.shape[1] if ids.ndim == 3 else None
        if texts is not None:
            ids, segments = ids.flatten(0, 1), segments.flatten(0, 1)
        positions = paddle.cumsum(paddle.ones_like(ids), axis=1) + (self.first_position - 1)
        more = {"token_type_ids": segments} if self.segments else {}
        hidden = self.embeddings(ids, position_ids=positions, **more)
        for layer in self._projections():
            hidden = layer(hidden)
        return _grouped(hidden, texts), mask

    def _through(self, layer: nn.Layer, x: State) -> State:
        hidden, mask = x
        texts = mask.shape[1] if mask.ndim == 3 else None
        if texts is not None:
            hidden, mask = hidden.flatten(0, 1), mask.flatten(0, 1)
        refused = (1.0 - mask.astype(hidden.dtype)).unsqueeze([1, 2]) * -1e4
        hidden = self._attend(layer, hidden, refused)
        return _grouped(hidden, texts), x[1]

    def _attend(self, layer: nn.Layer, hidden: Tensor, refused: Tensor) -> Tensor:
        return layer(hidden, src_mask=refused)


class SharedTextEncoder(TextEncoder):
    """ALBERT: the layers of a group are one and the same, run several times, and so one of our groups."""

    def __init__(self, model: Any, **arguments: Any) -> None:
        super().__init__(model, **arguments)
        config = model.config
        self._times = config.num_hidden_layers // config.num_hidden_groups
        self._inside = [None] * config.inner_group_num
        for layer in self.sublayers():
            if hasattr(layer, "transpose_for_scores"):  # paddlenlp's cannot be traced for texts of any length
                sizes = [0, 0, layer.num_attention_heads, layer.attention_head_size]
                layer.transpose_for_scores = partial(_split_heads, sizes)

    def _projections(self) -> list[nn.Layer]:
        return [self.encoder.embedding_hidden_mapping_in]

    def _layers(self) -> list[nn.Layer]:
        return list(self.encoder.albert_layer_groups)

    def _attend(self, layer: nn.Layer, hidden: Tensor, refused: Tensor) -> Tensor:
        for _ in range(self._times):
            hidden = layer(hidden, refused, self._inside)[0]
        return hidden


def _grouped(hidden: Tensor, texts: int | None) -> Tensor:
    """Give [N, K, L, C] of [N * K, L, C] where there are K texts a sample; 0 keeps an axis, whatever its length."""
    return hidden if texts is None else hidden.unsqueeze(1).reshape([-1, texts, 0, 0])


def _split_heads(sizes: list[int], x: Tensor) -> Tensor:
    return x.reshape(sizes).transpose([0, 2, 1, 3])


def _build(
    name: str,
    *,
    pooling: str,
    normalize: bool,
    dropout: float,
    layer_norm_eps: float,
    acts: tuple[str, ...] = ACTS,
    first_position: int = 0,
    **sizes: Any,
) -> TextEncoder:
    _require_choice("pooling", pooling, POOLINGS)
    _require_choice("hidden_act", sizes["hidden_act"], acts)
    _require_choice("normalize", normalize, (True, False))
    _require_number("dropout", dropout, most=0.99)
    _require_number("layer_norm_eps", layer_norm_eps, most=0.1)
    for key, value in sizes.items():
        if key not in ("hidden_act", "use_task_id"):
            _require_size(key, value)
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise SpecError(
            f"arch.hidden_size: expected a multiple of the {sizes['num_attention_heads']} heads, found "
            f"{sizes['hidden_size']}"
        )
    if sizes["max_position_embeddings"] <= first_position:
        raise SpecError(
            f"arch.max_position_embeddings: expected more than {first_position} positions, found "
            f"{sizes['max_position_embeddings']}"
        )
    model = paddlenlp_models.build(
        name,
        **sizes,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=None,  # else its row of the table would be left out, whatever the weights say
    )
    kind = SharedTextEncoder if name == "albert" else TextEncoder
    built = kind(
        model,
        pooling=pooling,
        normalize=normalize,
        layer_norm_eps=layer_norm_eps,
        first_position=first_position,
    )
    if built.embeddings.word_embeddings.weight._is_initialized():  # else the weights are still to be given
        _initialize(built)
    return built


def _initialize(encoder: TextEncoder) -> None:
    """Draw the weights as BERT's were: from a normal distribution with a deviation of 0.02."""
    for layer in encoder.sublayers():
        if isinstance(layer, nn.Linear | nn.Embedding):
            layer.weight.set_value(paddle.normal(0.0, 0.02, layer.weight.shape))


def _require_choice(key: str, value: object, known: tuple[object, ...]) -> None:
    if not any(value is each or (isinstance(value, str) and value == each) for each in known):
        raise SpecError(f"arch.{key}: expected one of {', '.join(map(str, known))}, found {value!r:.60}")


def _require_size(key: str, value: object) -> None:
    least = 0 if key in ("pad_token_id", "task_id") else 1
    require_whole(key, value, least, MOST.get(key, MOST_WIDE))


def _require_number(key: str, value: object, *, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise SpecError(f"arch.{key}: expected a number from 0 to {most}, found {value!r:.60}")


# ---- the names in module.yaml; the defaults are those of each base model ----


@register("bert")
def bert(
    *, vocab_size: int = 30522, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, hidden_act: str = "gelu", max_position_embeddings: int = 512,
    type_vocab_size: int = 2, layer_norm_eps: float = 1e-12, dropout: float = 0.0, pooling: str = "cls",
    normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), MiniLM, TinyBERT, Chinese RoBERTa-wwm."""
    return _build("bert", **locals())


@register("ernie")
def ernie(
    *, vocab_size: int = 18000, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, hidden_act: str = "relu", max_position_embeddings: int = 513,
    type_vocab_size: int = 2, use_task_id: bool = False, task_type_vocab_size: int = 3, task_id: int = 0,
    layer_norm_eps: float = 1e-12, dropout: float = 0.0, pooling: str = "cls", normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """ERNIE 1.0 (Sun et al. 2019, https://arxiv.org/abs/1904.09223), 2.0 and 3.0, the later ones with a task's id."""
    _require_choice("use_task_id", use_task_id, (True, False))
    return _build("ernie", **locals())


@register("roberta")
def roberta(
    *, vocab_size: int = 50265, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, hidden_act: str = "gelu", max_position_embeddings: int = 514,
    type_vocab_size: int = 1, pad_token_id: int = 1, layer_norm_eps: float = 1e-5, dropout: float = 0.0,
    pooling: str = "cls", normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692), which counts positions from `pad_token_id` + 1 on.

    With a `pad_token_id` of 0, as BERT's vocabularies have it, positions are BERT's: from 0 on.
    """
    given = locals()
    _require_size("pad_token_id", given.pop("pad_token_id"))
    return _build("roberta", **given, first_position=pad_token_id + 1 if pad_token_id else 0)


@register("electra")
def electra(
    *, vocab_size: int = 30522, embedding_size: int = 128, hidden_size: int = 256, num_hidden_layers: int = 12,
    num_attention_heads: int = 4, intermediate_size: int = 1024, hidden_act: str = "gelu",
    max_position_embeddings: int = 512, type_vocab_size: int = 2, layer_norm_eps: float = 1e-12, dropout: float = 0.0,
    pooling: str = "cls", normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """ELECTRA's discriminator (Clark et al. 2020, https://arxiv.org/abs/2003.10555)."""
    return _build("electra", **locals())


@register("albert")
def albert(
    *, vocab_size: int = 30000, embedding_size: int = 128, hidden_size: int = 768, num_hidden_layers: int = 12,
    num_hidden_groups: int = 1, inner_group_num: int = 1, num_attention_heads: int = 12,
    intermediate_size: int = 3072, hidden_act: str = "gelu_new", max_position_embeddings: int = 512,
    type_vocab_size: int = 2, layer_norm_eps: float = 1e-12, dropout: float = 0.0, pooling: str = "cls",
    normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942): one layer's weights for all layers of a group."""
    given = locals()
    _require_size("num_hidden_groups", num_hidden_groups)
    if num_hidden_layers % num_hidden_groups:
        raise SpecError(
            f"arch.num_hidden_layers: expected a multiple of the {num_hidden_groups} groups, found {num_hidden_layers}"
        )
    return _build("albert", **given, acts=(*ACTS, "gelu_new"))


@register("distilbert")
def distilbert(
    *, vocab_size: int = 30522, hidden_size: int = 768, num_hidden_layers: int = 6, num_attention_heads: int = 12,
    intermediate_size: int = 3072, hidden_act: str = "gelu", max_position_embeddings: int = 512,
    layer_norm_eps: float = 1e-12, dropout: float = 0.0, pooling: str = "cls", normalize: bool = False,
) -> TextEncoder:  # fmt: skip
    """DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108), which knows no segments."""
    return _build("distilbert", **locals())
