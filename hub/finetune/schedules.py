"""Learning-rate schedules: pure functions from the position in a run, 0 to 1, to a multiplier."""

from __future__ import annotations

import math


def warmup_cosine(position: float, *, warmup: float = 0.1, final: float = 0.01) -> float:
    """Give a straight rise to 1 over the first `warmup` of the run, then half a cosine down to `final`.

    After Loshchilov & Hutter 2017 (https://arxiv.org/abs/1608.03983), without restarts.
    """
    if position < warmup:
        return position / warmup
    fall = (position - warmup) / (1 - warmup)
    return final + (1 - final) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2
