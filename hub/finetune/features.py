"""The features of what is frozen, for a whole set: computed once, and in the next run not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import paddle
from tqdm import tqdm

from hub._version import __version__
from hub.finetune.batches import Read, each
from hub.finetune.distributed import Group
from hub.finetune.feature_store import LIMIT, FeatureStore, Rows
from hub.modules import compiled, weights
from hub.modules.network import Network, infer
from hub.tasks.base import Arrays

LEAST_SAMPLES = 64
"""Compiling is not worth its second for a set of fewer."""
BATCH, FEW = 16, 8
"""Samples of a batch, and of one of a small set. Every batch is full: in batches of another size the last digits of a
row would be others, and a run would depend on how many rows were kept before it. Texts are padded to the longest of
their batch, which may still show in the last digits."""

MOST_BYTES = LIMIT
"""Features of a set that would be larger are not kept: a run then trains without them."""


class Features:
    """Gives features from a store, or computes them, and says what it does."""

    def __init__(
        self,
        store: FeatureStore,
        *,
        about: str = "",
        network: str = "",
        variants: str = "",
        group: Group | None = None,
        progress: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Take what decides the values beside weights and samples.

        `about` is a digest of how samples are read, `network` says what the weights belong to (an architecture with
        its arguments), and `variants` what the random steps are.
        """
        self.store, self.about, self.group = store, about, group or Group()
        self.network, self.variants = network, variants
        self.progress, self.say = progress, say
        self._kept: dict[tuple[int, int, int], list[Arrays]] = {}
        self._forward: dict[str, Callable[[Arrays], Any]] = {}

    def of(self, network: Network, cut: int, source: Read, *, views: int = 1) -> list[Arrays]:
        """Give for each view what the first `cut` groups of the network make of the set, float32 rows.

        A source with random variants gives another one in each view. The groups compute as they do when they
        predict: with fixed statistics and no dropout.
        """
        mark = (cut, id(source), views)
        if mark not in self._kept:
            if not self.group.first:
                self.group.wait()  # the first process computes, and the others find its entry
            self._kept[mark] = [self._view(network, cut, source, view) for view in range(views)]
            if self.group.first:
                self.group.wait()
        return self._kept[mark]

    def fits(self, network: Network, cut: int, source: Read, *, views: int = 1) -> bool:
        """Say whether the features of a set are small enough to be kept."""
        spec = network.backbone.feature_spec
        if cut == len(network.backbone.stages()) and spec.kind == "pooled":
            size = 4 * spec.channels
        else:
            one = _tuple(infer(network.prefix(cut), source.take(np.arange(1), 0)[0]))
            size = sum(array.nbytes for array in one)
        return size * len(source) * views <= MOST_BYTES

    def _view(self, network: Network, cut: int, source: Read, view: int) -> Arrays:
        prefix = network.prefix(cut)
        digest = hashlib.sha256()
        for part in (
            __version__,
            paddle.__version__,
            paddle.get_device(),
            self.about,
            self.network,
            str(cut),
        ):
            digest.update(part.encode() + b"\0")
        few = (
            len(source) < LEAST_SAMPLES
        )  # and not those that are missing: others may be kept from another set
        digest.update(f"{few} {FEW if few else BATCH}".encode())
        for name, array in sorted(weights.state_of(prefix).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        digest.update(repr(prefix).encode())  # its layers: anybody may have put others in their places
        mark = digest.hexdigest()
        digest.update(b"" if source.seed is None else f"{source.seed} {view} {self.variants}".encode())

        lengths = source.lengths()

        def compute(indices: np.ndarray) -> Rows:
            if lengths is not None:  # samples of like length together: less padding
                order = np.argsort(lengths[indices], kind="stable")
                return tuple(rows[np.argsort(order)] for rows in in_batches(indices[order]))
            return in_batches(indices)

        def in_batches(indices: np.ndarray) -> Rows:
            found: Rows = ()
            size = FEW if few else BATCH
            starts = range(0, len(indices), size)
            for start in tqdm(
                starts, desc="features", unit=" batches", disable=not self.progress, leave=False
            ):
                part = indices[start : start + size]
                given = each(partial(_filled, size=size), source.take(part, view)[0])
                if mark not in self._forward:
                    self._forward[mark] = (
                        partial(infer, prefix) if few else compiled.forward(prefix, given, say=self.say)
                    )
                rows = _tuple(self._forward[mark](given))
                # Written where they stay: the whole is in memory once.
                found = found or tuple(np.empty((len(indices), *own.shape[1:]), own.dtype) for own in rows)
                for array, own in zip(found, rows, strict=True):
                    array[start : start + len(part)] = own[: len(part)]
            return found

        samples = (
            source.keys() if source.seed is None else [f"{key} {i}" for i, key in enumerate(source.keys())]
        )
        rows = self.store.rows(digest.hexdigest()[:32], samples, compute, about=self.about)
        self.store.digests.keep()
        return rows if len(rows) > 1 else rows[0]


def _filled(array: np.ndarray, *, size: int) -> np.ndarray:
    """Give an array of `size` rows: those of this one, and then its last again and again."""
    return np.concatenate([array, *[array[-1:]] * (size - len(array))])


def _tuple(outputs: Arrays) -> Rows:
    return outputs if isinstance(outputs, tuple) else (outputs,)
