"""How long reading a .pdparams file takes, beside `paddle.load` of the same file.

    python benchmarks/read_pdparams.py [--megabytes 400] [--rounds 9]

`paddle.load` runs the file as a program; ours reads it as data (hub/modules/pdparams.py). Both give values in memory
of their own. In one process, in turn, the file in the page cache, after two rounds that do not count; medians, and
the ratio of each round.

The goal: no slower for one large file as paddle 3 writes it (protocol 4). Protocol 2 stores bytes as text, which
costs both the same decoding; many tiny tensors cost an interpreter written in Python more than one written in C.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from hub.modules import pdparams

TENSOR = 1000 * 1000  # elements


def seconds(read: Callable[[], object]) -> float:
    start = time.perf_counter()
    values = read()
    elapsed = time.perf_counter() - start
    del values  # not part of the measurement: only now is its memory given back
    return elapsed


def compare(title: str, path: Path, *, rounds: int) -> None:
    import paddle

    ours, theirs = [], []
    for number in range(rounds + 2):
        pair = seconds(lambda: pdparams.read(path)), seconds(lambda: paddle.load(str(path)))
        if number >= 2:
            ours.append(pair[0])
            theirs.append(pair[1])
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    print(
        f"{title:<32} {path.stat().st_size / 1e6:>6.0f} MB   ours {1000 * statistics.median(ours):>6.0f} ms   "
        f"paddle.load {1000 * statistics.median(theirs):>6.0f} ms   ratio {ratio:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.filterwarnings("ignore")
    import paddle

    many = max(1, options.megabytes // 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pdparams"
        large = {f"layer.{i}.weight": paddle.rand([TENSOR]) for i in range(many)}
        paddle.save(large, str(path))
        compare("large tensors, protocol 4", path, rounds=options.rounds)
        half = {name: tensor.astype("bfloat16") for name, tensor in large.items()}
        paddle.save(half, str(path))
        compare("bfloat16, given as float32", path, rounds=options.rounds)
        paddle.save(large, str(path), protocol=2)
        compare("large tensors, protocol 2", path, rounds=max(3, options.rounds // 3))
        paddle.save({f"layer.{i}.scale": paddle.rand([16]) for i in range(3000)}, str(path))
        compare("3,000 tensors of 16 numbers", path, rounds=options.rounds)


if __name__ == "__main__":
    main()
