"""Downloads against curl, plain requests and huggingface_hub: one local server, interleaved rounds, medians.

    python benchmarks/download.py [--quick] [--runs 5] [--shape 1]

Three shapes: one large file; many small files, eight at a time; one large file where each connection gets 20 MB/s.
"ours" is what `hub install` asks of the downloader: sha256 checked, resumable; the cache then waits for the disk, which
is what the second row does in the same call. curl and requests check and sync nothing, huggingface_hub checks the size,
so "curl, then sha256sum" is the fair comparison. The last column is the median of the ratios of each round: what else
the machine does at that moment slows both. Processor seconds are those of the downloader, without the server.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_ONCE = 8


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Shape:
    title: str
    files: tuple[File, ...]
    url: str


def ours(shape: Shape, to: Path, *, durable: bool = False) -> None:
    """Fetch as `hub install` does, whose cache waits for the disk when it takes the file over."""
    from hub.registry.download import fetch
    from hub.registry.transport import default_transport

    transport = default_transport()

    def one(file: File) -> None:
        fetch(
            [f"{shape.url}/{file.name}"],
            to=to / file.name,
            partials=to / "partials",
            sha256=file.sha256,
            size=file.size,
            transport=transport,
            durable=durable,
        )

    each(shape.files, one)


def ours_on_disk(shape: Shape, to: Path) -> None:
    ours(shape, to, durable=True)


def plain_requests(shape: Shape, to: Path) -> None:
    import requests

    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))

    def one(file: File) -> None:
        with (
            session.get(f"{shape.url}/{file.name}", stream=True, timeout=30) as reply,
            (to / file.name).open("wb") as out,
        ):
            for chunk in reply.iter_content(2**20):
                out.write(chunk)

    each(shape.files, one)


def curl(shape: Shape, to: Path) -> None:
    config = "\n".join(
        f'url = "{shape.url}/{file.name}"\noutput = "{to / file.name}"' for file in shape.files
    )
    command = [
        "curl",
        "-sS",
        "--no-progress-meter",
        "--fail",
        "-Z",
        "--parallel-max",
        str(AT_ONCE),
        "-K",
        "-",
    ]
    subprocess.run(command, input=config, text=True, check=True, stderr=subprocess.DEVNULL)


def curl_and_sha256sum(shape: Shape, to: Path) -> None:
    curl(shape, to)
    lines = "".join(f"{file.sha256}  {to / file.name}\n" for file in shape.files)
    subprocess.run(["sha256sum", "--quiet", "-c", "-"], input=lines, text=True, check=True)


def huggingface(shape: Shape, to: Path) -> None:
    from huggingface_hub.file_download import http_get

    def one(file: File) -> None:
        with (to / file.name).open("wb") as out:
            http_get(f"{shape.url}/{file.name}", out, expected_size=file.size)

    each(shape.files, one)


def each(files: Iterable[File], one: Callable[[File], None]) -> None:
    """Treat many files eight at a time, one file in this thread."""
    files = list(files)
    if len(files) == 1:
        one(files[0])
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, files))


def contestants() -> dict[str, Callable[[Shape, Path], None]]:
    """Give who is here to run: ours always first."""
    found: dict[str, Callable[[Shape, Path], None]] = {
        "ours": ours,
        "ours, synced to the disk": ours_on_disk,
        "plain requests": plain_requests,
    }
    if shutil.which("curl"):
        found["curl"] = curl
    if shutil.which("curl") and shutil.which("sha256sum"):
        found["curl, then sha256sum"] = curl_and_sha256sum
    if importlib.util.find_spec("huggingface_hub"):
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        found["huggingface_hub"] = huggingface
    return found


@dataclass
class Rounds:
    """What one contestant took in each round: seconds of the clock, and of the processor."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def measure(shape: Shape, runs: int, folder: Path) -> dict[str, Rounds]:
    """Give what each contestant took; they take turns, and each round begins with another one."""
    turns = list(contestants().items())
    found = {name: Rounds() for name, _ in turns}
    many = len(shape.files) > 1
    for run in range(runs + 1):
        turns = [*turns[1:], turns[0]]  # whoever comes after one that left much behind is slower for it
        for name, download in turns:
            to = folder / f"{run}, {name}"
            to.mkdir()
            os.sync()  # what the one before has left to write is not this one's work
            start, before = time.perf_counter(), sum(os.times()[:4])
            download(shape, to)
            if run:  # the first round warms the page cache of the server and the imports
                found[name].seconds.append(time.perf_counter() - start)
                found[name].processor.append(sum(os.times()[:4]) - before)
            check(shape, to)
            if (
                not many
            ):  # ext4 looks at each file that was deleted just now before it makes one: up to a millisecond
                shutil.rmtree(to)
    return found


def check(shape: Shape, to: Path) -> None:
    wrong = [file.name for file in shape.files if (to / file.name).stat().st_size != file.size]
    assert not wrong, wrong


def make(folder: Path, count: int, size: int) -> tuple[File, ...]:
    chance = random.Random(count)
    files = []
    for number in range(count):
        data = b"".join(chance.randbytes(min(2**20, size - at)) for at in range(0, size, 2**20))
        (folder / f"{count}-{number}").write_bytes(data)
        files.append(File(f"{count}-{number}", size, hashlib.sha256(data).hexdigest()))
    return tuple(files)


class Server:
    """The test server in a process of its own, so that it does not share an interpreter with whom it serves."""

    def __init__(self, folder: Path, rate: float) -> None:
        command = [sys.executable, __file__, "--serve", str(folder), "--rate", str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(folder: Path, rate: float) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from faultserver import FaultServer

    documents: dict[str, bytes | Path] = {f"/{path.name}": path for path in folder.iterdir()}
    with FaultServer(documents, rate=rate or None, send_buffer=None) as server:
        print(server.url, flush=True)
        sys.stdin.read()  # until the benchmark closes it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, for a look")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shape", type=int, choices=(1, 2, 3), help="only one of the three")
    parser.add_argument("--json", action="store_true", help="one JSON object per shape instead of tables")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.rate)
        return
    scale = 10 if options.quick else 1
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            os.environ.pop(spelling, None)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.mkdir()
        large = make(source, 1, 500_000_000 // scale)
        small = make(source, 2000 // scale, 20_000)
        megabytes = large[0].size / 1e6
        shapes = (
            (f"one file of {megabytes:.0f} MB", large, 0.0),
            (f"{len(small):,} files of 20 kB", small, 0.0),
            (f"one file of {megabytes:.0f} MB, 20 MB/s per connection", large, 20e6),
        )
        for number, (title, files, rate) in enumerate(shapes, start=1):
            if options.shape not in (None, number):
                continue
            with Server(source, rate) as server:
                found = measure(Shape(title, files, server.url), options.runs, Path(name))
            show(title, found, as_json=options.json)


def show(title: str, found: dict[str, Rounds], *, as_json: bool) -> None:
    ours = found["ours"].seconds
    rows = {
        name: {
            "seconds": statistics.median(each.seconds),
            "processor": statistics.median(each.processor),
            "ours_to_it": statistics.median(mine / its for mine, its in zip(ours, each.seconds, strict=True)),
        }
        for name, each in found.items()
    }
    if as_json:
        print(json.dumps({"shape": title, "found": rows}), flush=True)
        return
    print(f"\n{title}\n{'':26}{'seconds':>9}{'processor':>11}{'ours / it':>11}")
    for name, row in rows.items():
        print(f"{name:26}{row['seconds']:9.2f}{row['processor']:11.2f}{row['ours_to_it']:11.2f}", flush=True)
    if importlib.util.find_spec("huggingface_hub") is None:
        print("huggingface_hub          not installed, not measured")


if __name__ == "__main__":
    main()
