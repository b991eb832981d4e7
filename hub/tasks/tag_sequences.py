"""The loss of sequences of tags: how likely the right one is among all that the scheme allows.

It is that of a conditional random field (Lafferty, McCallum and Pereira 2001, "Conditional random fields") in which a
tag may follow another or may not, and nothing about that is learnt: then the sequence that `spans.best_tags` finds is
the most likely one, and a head is as it would be without. Learnt transitions are no better (benchmarks/crf.py).
"""

from __future__ import annotations

import paddle
from paddle import Tensor

from hub.tasks.spans import Transitions

FORBIDDEN = -1e4
"""Added to the logarithm of a chance that there is not; finite, for infinities have no gradient."""


def loss(outputs: Tensor, targets: Tensor, transitions: Transitions, *, goes_on: int) -> Tensor:
    """Give minus the logarithm of the chance of the right tags, summed over the texts and divided by their words.

    `outputs` are logits [N, M, L], `targets` int64 [N, M]: a tag where a piece speaks for a word, else below 0. Of a
    part of a text, the first or the last piece (or both) is `goes_on` where there is more of it: there any tag may
    begin or end. Where the right tags are not allowed themselves, every word of the text counts by itself.
    """
    words, tags, there = _words(outputs, targets)
    moves, begins, ends = map(paddle.to_tensor, transitions)
    begins = begins | (targets[:, :1] == goes_on)  # of each text [N, L]
    ends = ends | (targets[:, 1:] == goes_on).any(axis=1, keepdim=True)
    legal = _is_legal(tags, there, moves, begins, ends).astype(words.dtype).unsqueeze(1)
    moves, begins, ends = (FORBIDDEN * (~allowed).astype(words.dtype) for allowed in (moves, begins, ends))

    ways = words[:, 0] + legal * begins  # the logarithm of the sum over all that lead to each tag [N, L]
    between = legal.unsqueeze(2) * moves
    for place in range(1, words.shape[1]):
        onward = paddle.logsumexp(ways.unsqueeze(2) + between, axis=1) + words[:, place]
        ways = paddle.where(there[:, place].unsqueeze(1), onward, ways)
    every = paddle.logsumexp(ways + legal * ends, axis=1)
    counted = there.astype(words.dtype)
    right = (paddle.take_along_axis(words, tags.unsqueeze(2), axis=2).squeeze(2) * counted).sum(axis=1)
    return ((every - right) * counted[:, 0]).sum() / counted.sum().clip(min=1)


def _words(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the logits [N, W, L] of the pieces that speak for words, their tags [N, W], and which of them are there."""
    known = labels >= 0
    most = max(1, int(known.sum(axis=1).max()))
    places = paddle.argsort((~known).astype("int32"), axis=1, stable=True)[:, :most]
    words = paddle.take_along_axis(outputs.astype("float32"), places.unsqueeze(2), axis=1)
    tags, there = (paddle.take_along_axis(each, places, axis=1) for each in (labels, known.astype("int32")))
    return words, tags.clip(min=0), there.astype("bool")


def _is_legal(tags: Tensor, there: Tensor, moves: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    """Say of each text whether its tags are what the scheme allows; bool [N]."""
    count = len(moves)
    pairs = paddle.gather(moves.flatten(), (tags[:, :-1] * count + tags[:, 1:]).flatten())
    good = (pairs.reshape([len(tags), -1]) | ~there[:, 1:]).all(axis=1)
    last = there.astype("int64").sum(axis=1, keepdim=True).clip(min=1) - 1
    final = paddle.take_along_axis(tags, last, axis=1)
    for edge, tag in ((begins, tags[:, :1]), (ends, final)):
        good &= paddle.take_along_axis(edge.astype("int32"), tag, axis=1).squeeze(1).astype("bool")
    return good
