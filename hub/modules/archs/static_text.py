"""A table of vectors for pieces of text: the features of a text are the weighted mean of its pieces' vectors.

It knows no order of words, and a short text takes it some 50 microseconds. A number of the table takes four bits, so
that 28,500 vectors of 112 numbers are 1.6 MB. The table stays as it is: what is trained is the weight of each piece and
one matrix for all, so that a fine-tuned module is no larger than the one that it came from.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError, SpecError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register, require_whole

LEVELS = 16
MOST_PIECES, MOST_WIDE, MOST_WINDOW = 1 << 24, 1 << 12, 8


class Table(nn.Layer):
    """Rows of numbers from -7.5 to 7.5 in steps of 1, two of them a byte, and a weight for each row."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codes", paddle.randint(0, 256, [rows, width // 2]).astype("uint8"))
        self.weight = self.create_parameter([rows, 1], default_initializer=nn.initializer.Constant(1.0))

    def forward(self, ids: Tensor) -> Tensor:
        """Give the weighted rows of ids [..., L], float32 [..., L, width]."""
        packed = paddle.gather(self.codes, ids.flatten()).astype("float32")
        high = paddle.floor(packed / LEVELS)
        levels = paddle.concat([packed - LEVELS * high, high], axis=1) - (LEVELS - 1) / 2
        rows = levels * paddle.gather(self.weight, ids.flatten())
        return rows.reshape([*ids.shape, -1])


def pack(codes: Any) -> Any:
    """Give the bytes [rows, width / 2] of an array of whole numbers from 0 to 15, [rows, width]."""
    half = codes.shape[1] // 2
    return (codes[:, :half] + LEVELS * codes[:, half:]).astype("uint8")


@register("static_text")
class StaticText(Backbone):
    """`pieces` vectors of `width` numbers, their mean over a text, and a matrix that begins as the identity.

    It takes (ids, segments, mask), int64 [N, L], or [N, K, L] for K texts a sample; segments are not looked at. The
    features are [N, C] or [N, K, C], with `normalize` of length 1. After `per_token()` they are
    [N, L, (2 `window` + 1) C]: the piece and its neighbours, each with a root mean square of 1, and zeros
    where there is none.
    """

    def __init__(self, *, pieces: int, width: int, normalize: bool = True, window: int = 1) -> None:
        super().__init__()
        require_whole("pieces", pieces, 1, MOST_PIECES)
        require_whole("width", width, 2, MOST_WIDE)
        require_whole("window", window, 0, MOST_WINDOW)
        if width % 2:
            raise SpecError(f"arch.width: expected an even number, found {width}")
        if not isinstance(normalize, bool):
            raise SpecError(f"arch.normalize: expected true or false, found {normalize!r:.60}")
        self.pieces, self.width, self.normalize, self.window = pieces, width, normalize, window
        self.table = Table(pieces, width)
        identity = paddle.ParamAttr(initializer=nn.initializer.Assign(paddle.eye(width)))
        self.projection = nn.Linear(width, width, weight_attr=identity, bias_attr=False)
        self.feature_spec = FeatureSpec("pooled", (width,))

    def per_token(self) -> None:
        """Give features for every piece from now on."""
        self.feature_spec = FeatureSpec("tokens", (None, (2 * self.window + 1) * self.width))

    def check(self, x: Any) -> None:
        """Raise InputError for anything but (ids, segments, mask) of one shape."""
        if not isinstance(x, tuple | list) or len(x) != 3:
            raise InputError(f"expected (ids, segments, mask), found {type(x).__name__}")
        if not paddle.in_dynamic_mode():  # while it is traced, nobody knows the lengths
            return
        shapes = [list(each.shape) for each in x]
        if shapes[0] != shapes[1] or shapes[0] != shapes[2] or len(shapes[0]) not in (2, 3):
            raise InputError(f"expected ids, segments and mask as [N, L] or [N, K, L], found {shapes}")

    def example(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give a batch of one text of four pieces."""
        ids = paddle.zeros([1, 4], "int64")
        return ids, ids, paddle.ones_like(ids)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [("embeddings", [self.table]), ("projection", [self.projection])]

    def stages(self) -> list[tuple[str, Stage]]:
        return [("embeddings", self._look_up), ("projection", self._project)]

    def _look_up(self, x: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        ids, _, mask = x
        here = mask.astype("float32").unsqueeze(-1)
        rows = self.table(ids) * here
        if self.feature_spec.kind == "tokens":
            return rows
        return rows.sum(axis=-2) / here.sum(axis=-2).clip(min=1)

    def _project(self, x: Tensor) -> Tensor:
        found = self.projection(x)
        if self.feature_spec.kind == "pooled":
            return F.normalize(found, axis=-1) if self.normalize else found
        found = (
            F.normalize(found, axis=-1) * self.width**0.5
        )  # numbers around 1, which a new head learns from faster
        return _with_neighbours(found, self.window) if self.window else found


def _with_neighbours(x: Tensor, window: int) -> Tensor:
    """Give [..., L, (2 window + 1) C] of x [..., L, C]: each row between those before and after it, zeros beyond."""
    gap = [paddle.zeros_like(x[..., :1, :])] * window
    padded = paddle.concat([*gap, x, *gap], axis=-2)
    shifts = [padded[..., start : start - 2 * window, :] for start in range(2 * window)]
    return paddle.concat([*shifts, padded[..., 2 * window :, :]], axis=-1)
