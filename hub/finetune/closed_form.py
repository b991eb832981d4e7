"""The start of a head in closed form: a ridge solution on frozen features, scaled into logits.

Of one linear layer on pooled features, or of one that looks at every cell of a map. There a cell takes the place of a
sample: what is wanted of it is the share that each label has in its block of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from hub.finetune import ridge
from hub.finetune.batches import Read
from hub.finetune.features import Features
from hub.modules.network import Network, infer
from hub.tasks import Task
from hub.tasks.segmentation import IGNORED, PixelHead

LOGIT_SCALES = (2.0, 4.0, 8.0, 16.0, 32.0)

CELLS = 20_000
"""Cells of maps that a head is fitted to, in all."""

MOST_NUMBERS = 256 * CELLS
"""Of all these cells together: of maps with more channels there are fewer. Fitting needs some 30 bytes for each."""

VARIANTS = 4
"""Random variants of each picture whose cells are looked at, where training varies its pictures."""

MOST_MAPS = 200
"""Pictures or variants whose cells are looked at: of more pictures than this, so many are drawn."""


def can_fit(head: nn.Layer, task: Task) -> bool:
    """Say whether this task's head is one linear layer that has a closed form."""
    return isinstance(head, nn.Linear | PixelHead) and hasattr(task, "wanted")


def start(
    network: Network, task: Task, train: Read, features: Features, *, seed: int, augment: bool = True
) -> None:
    """Set the network's head by what its backbone makes of the training samples, as `can_fit` said that it can be."""
    if isinstance(network.head, PixelHead):
        varied = Read(train.samples, train.items, train.targets, seed=seed if augment else None)
        fit_pixel_head(network, task, varied, seed=seed)
        return
    whole = features.of(network, len(network.layer_groups()) - 1, train)[0]
    assert isinstance(whole, np.ndarray), "a pooled feature is one array"
    fit_head(network.head, task, whole, train.targets)


def fit_head(head: nn.Linear, task: Task, features: np.ndarray, targets: np.ndarray) -> None:
    """Set the head to the ridge solution, scaled so that its left-out predictions are best calibrated.

    Labels that other samples speak of (those whose `wanted` is a number) have a solution and a scale of their own.
    """
    weight, bias = np.zeros(head.weight.shape, np.float32), np.zeros(head.bias.shape, np.float32)
    # A ridge prediction lies between 0 and 1: as a logit it needs a scale, and for a sigmoid a middle of 0.
    middle = 0.5 if targets.ndim == 2 else 0.0
    loss = task.loss()
    for rows, columns in _blocks(_Wanted(task, targets, np.arange(len(bias)))):
        solution = ridge.fit(features[rows], _Wanted(task, targets[rows], columns))
        right = paddle.to_tensor(targets[rows][solution.rows])
        logits = np.zeros((len(solution.left_out), len(bias)), np.float32)

        def left_out_loss(scale: float) -> float:
            logits[:, columns] = scale * (solution.left_out - middle)  # noqa: B023
            return float(loss(paddle.to_tensor(logits), right))  # noqa: B023

        # What predicts numbers has no logits: its solution is in their own units.
        scale = 1.0 if task.of_numbers else min(LOGIT_SCALES, key=left_out_loss)
        weight[:, columns] = scale * solution.weight
        bias[columns] = scale * (solution.bias - middle)
    head.weight.set_value(weight)
    head.bias.set_value(bias)


@dataclass(frozen=True)
class _Wanted:
    """What the task's head is fitted to for some of its labels; made when it is asked for, as all may be too much."""

    task: Task
    targets: np.ndarray
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.targets), len(self.labels)

    def __getitem__(self, rows: ridge.Rows) -> np.ndarray:
        wanted: np.ndarray = self.task.wanted(self.targets[rows])  # type: ignore[attr-defined]  # can_fit() has looked
        return wanted if len(self.labels) == wanted.shape[1] else wanted[:, self.labels]


def fit_pixel_head(network: Network, task: Task, train: Read, *, seed: int) -> None:
    """Set the network's PixelHead to the ridge solution over a random sample of cells of the maps of its backbone.

    `train` decides whether they are those of the pictures or of random variants. Memory is that of one map and of the
    cells. Where no pixel has a label, the head is left as it is.
    """
    head, rng = network.head, np.random.default_rng((seed, len(train)))
    assert isinstance(head, PixelHead), "can_fit() has looked"
    features, blocks = _cells(network, train, head.stride, rng)
    if not len(blocks):
        return
    wanted: np.ndarray = task.wanted(blocks)  # type: ignore[attr-defined]
    solution = ridge.fit(features, wanted)
    # One pixel of each block stands for all of them: all would be blocks × labels × pixels of logits.
    drawn = np.where(blocks == IGNORED, -1.0, rng.random(blocks.shape)).argmax(axis=1)
    right = paddle.to_tensor(blocks[np.arange(len(blocks)), drawn][solution.rows, None, None])
    loss = task.loss()

    def left_out_loss(scale: float) -> float:
        logits = (scale * solution.left_out).astype(np.float32)[:, :, None, None]
        return float(loss(paddle.to_tensor(logits), right))

    scale = min(LOGIT_SCALES, key=left_out_loss)
    head.classify.weight.set_value((scale * solution.weight.T)[:, :, None, None].astype(np.float32))
    head.classify.bias.set_value((scale * solution.bias).astype(np.float32))


def _cells(
    network: Network, train: Read, stride: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Give the features [N, C] of cells with a label, and the class numbers [N, stride²] of their blocks of pixels."""
    backbone = network.prefix(len(network.layer_groups()) - 1)
    variants = 1 if train.seed is None else VARIANTS
    order = [(index, epoch) for epoch in range(variants) for index in rng.permutation(len(train))]
    order = order[:MOST_MAPS]
    limit = min(CELLS, MOST_NUMBERS // network.backbone.feature_spec.channels)
    features, blocks = [], []
    for index, epoch in order:  # one at a time: pictures differ in size, and a map may be large
        given, mask = train.take(np.array([index]), epoch)
        maps = infer(backbone, given)[0]
        channels, rows, columns = maps.shape
        cut = mask[0].reshape(rows, stride, columns, stride).swapaxes(1, 2).reshape(rows * columns, -1)
        known = np.flatnonzero((cut != IGNORED).any(axis=1))
        known = rng.permutation(known)[: -(-limit // len(order))]
        features.append(maps.reshape(channels, -1).T[known])
        blocks.append(cut[known])
    return np.concatenate(features), np.concatenate(blocks)


def _blocks(wanted: _Wanted) -> Iterator[tuple[ridge.Rows, np.ndarray]]:
    """Give (rows, columns) of the labels that the same samples speak of: those whose `wanted` is a number."""
    number: dict[bytes, int] = {}
    kinds = [
        number.setdefault(row.tobytes(), len(number))
        for part in ridge.blocks(*wanted.shape)
        for row in ~np.isnan(wanted[part])
    ]
    known = np.frombuffer(b"".join(number), bool).reshape(len(number), -1)
    if known.all():
        yield slice(None), wanted.labels  # nothing is copied
        return
    speaking, which = np.unique(known, axis=1, return_inverse=True)
    for column, speaks in enumerate(speaking.T):
        yield np.flatnonzero(speaks[kinds]), np.flatnonzero(which.reshape(-1) == column)
