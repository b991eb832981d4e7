"""A table of vectors whose weighted mean over a sentence comes close to the teacher's embedding of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from hub.modules.archs.static_text import LEVELS

BATCH = 512
LEARNING_RATE = 3e-3
ALIKE = 10.0
"""Weight of the second half of the loss: the cosines between the sentences of a batch should be the teacher's."""
STEP = 0.335
"""Of 16 even levels, the best for normally distributed numbers with a deviation of 1 (Max 1960)."""


@dataclass(frozen=True)
class Lessons:
    """Sentences as the student reads them, and the teacher's embeddings, float [N, 384]."""

    ids: Sequence[Sequence[int]]
    answers: np.ndarray


class Student(torch.nn.Module):
    """Rows [pieces, width], the weight of a piece being the length of its row, and the way to the teacher's numbers."""

    def __init__(self, pieces: np.ndarray, width: int) -> None:
        """Begin with the `width` main directions of the teacher's embeddings of single pieces, [pieces, 384].

        Frequent pieces get smaller rows, a / (a + p) with their share p of a text (Arora et al. 2017, smooth inverse
        frequency; the share by Zipf's law, for the pieces stand by falling frequency).
        """
        super().__init__()
        centred = pieces - pieces.mean(axis=0)
        directions = np.linalg.svd(centred[::3], full_matrices=False)[2][:width]
        share = 1 / (np.arange(len(pieces)) + 10)
        weight = 1e-3 / (1e-3 + share / share.sum())
        rows = (centred @ directions.T) * weight[:, None]
        self.rows = torch.nn.Parameter(torch.tensor(rows, dtype=torch.float32))
        self.way = torch.nn.Parameter(torch.tensor(directions, dtype=torch.float32))

    def loss(self, ids: torch.Tensor, starts: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """Give how far the embeddings, and the cosines between them, are from the teacher's."""
        sums = F.embedding_bag(ids, self.rows, starts, mode="sum")
        apart = 1 - (F.normalize(sums @ self.way, dim=1) * answers).sum(1).mean()
        units = F.normalize(sums, dim=1)
        return apart + ALIKE * (units @ units.T - answers @ answers.T).square().mean()

    def finished(self) -> np.ndarray:
        """Give rows [pieces, width] between which cosines are as between the teacher's numbers that they lead to."""
        triangle = torch.linalg.qr(self.way.detach().T)[1]
        return (self.rows.detach() @ triangle.T).numpy()


def train(student: Student, lessons: Lessons, *, steps: int, seed: int) -> None:
    """Train with Adam, the learning rate falling to zero along half a cosine."""
    rng, started, order = np.random.default_rng(seed), time.perf_counter(), np.zeros(0, np.int64)
    rates = {"rows": LEARNING_RATE, "way": LEARNING_RATE / 3}
    optimizer = torch.optim.Adam(
        [{"params": [parameter], "rate": rates[name]} for name, parameter in student.named_parameters()]
    )
    total = 0.0
    for step in range(steps):
        if len(order) < BATCH:
            order = rng.permutation(len(lessons.ids))
        chosen, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1, (step + 1) / 20) * (1 + np.cos(np.pi * step / steps)) / 2
        loss = student.loss(*_bags([lessons.ids[n] for n in chosen]), torch.tensor(lessons.answers[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        if (step + 1) % 200 == 0:
            print(
                f"step {step + 1}: loss {total / 200:.4f}, {time.perf_counter() - started:.0f} s", flush=True
            )
            total = 0.0


def quantised(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give whole numbers from 0 to 15, [pieces, width], and the step between two of them, [pieces, 1]."""
    size = np.sqrt(np.square(rows).mean(axis=1, keepdims=True)) * STEP + 1e-12
    for _ in range(6):  # the nearest levels for a step, then the best step for these levels
        codes = np.clip(np.floor(rows / size) + LEVELS // 2, 0, LEVELS - 1)
        levels = codes - (LEVELS - 1) / 2
        size = (levels * rows).sum(axis=1, keepdims=True) / np.square(levels).sum(axis=1, keepdims=True)
        size = np.maximum(size, 1e-12)
    return codes, size


def embed(rows: np.ndarray, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Give the embeddings of sentences by a table, each of length 1."""
    flat, starts = _bags(ids)
    sums = F.embedding_bag(flat, torch.tensor(rows, dtype=torch.float32), starts, mode="sum")
    return F.normalize(sums, dim=1).numpy()


def _bags(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = [len(each) for each in ids]
    starts = np.cumsum([0, *lengths[:-1]])
    return torch.tensor(np.concatenate([np.asarray(each) for each in ids])), torch.tensor(starts)
