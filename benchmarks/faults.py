"""One server that misbehaves, several downloaders: who ends with the right file, and what had to be sent twice.

    python benchmarks/faults.py [--quick] [--only ours]

Every downloader runs in a process of its own, with the settings that it has when nobody sets any, except that two
seconds without a byte count as a stall and that each case ends after 25 seconds. The expected sha256 is known to ours
alone, since the others have no place to put it: that is what the comparison is about.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from faultserver import FaultServer, Reply

PATH = "/org/name/resolve/main/model.bin"  # where huggingface_hub looks for a file
COMMIT = {"X-Repo-Commit": "0" * 40}  # without it huggingface_hub takes no answer
STALL_S, PATIENCE_S = 2.0, 25.0
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """Faults of consecutive GETs. `good` says what must come out: the right file, or a refusal."""

    title: str
    replies: tuple[Reply, ...]
    good: tuple[str, ...] = ("right file",)
    always: bool = False


def cases(size: int) -> dict[str, list[Case]]:
    """Give the cases by group; offsets are parts of the size."""
    early, late = size // 4 + 11, size // 2 + 77
    transient = [
        Case("connection closed early", (Reply(cut=early),)),
        Case("TCP reset", (Reply(reset=early),)),
        Case("stall", (Reply(stall=early),)),
        Case("closed early five times", tuple(Reply(cut=early + step * size // 10) for step in range(5))),
        *(Case(f"one {status}", (Reply(status=status),)) for status in (408, 429, 500, 502, 503, 504)),
        *(Case(f"three {status}", (Reply(status=status),) * 3) for status in (429, 500, 503)),
        Case("503, Retry-After: 1", (Reply(status=503, headers={"Retry-After": "1"}),)),
        Case("429, Retry-After: junk", (Reply(status=429, headers={"Retry-After": "soon"}),)),
        Case("cut, then Range ignored", (Reply(cut=late), Reply(ignore_range=True))),
        Case("cut, then 416", (Reply(cut=late), Reply(status=416))),
        Case("no Content-Length", (Reply(headers={"Content-Length": ""}),)),
        Case("chunked", (Reply(chunked=True),)),
    ]
    refuse = ("refused", "right file")
    other = random.Random(3).randbytes(size)
    corrupt = [
        *(Case(f"one bit flipped at {part:.0%}", (Reply(flip=int(size * part)),), refuse) for part in PARTS),
        Case("another file of that size", (Reply(body=other),), refuse),
        Case("cut short, Content-Length too", (Reply(body=other[:late]),), refuse),
        Case("206 with a wrong offset", (Reply(cut=late), Reply(shift=1000, extra=bytes(1000))), refuse),
        Case(
            "file replaced before the resume",
            (Reply(cut=late, body=other, headers={"ETag": '"same"'}), Reply(headers={"ETag": '"same"'})),
            refuse,
        ),
        Case("one byte too many", (Reply(extra=b"!"),), refuse),
    ]
    patience = [
        Case("429, Retry-After: 3600", (Reply(status=429, headers={"Retry-After": "3600"}),), refuse, True)
    ]
    return {
        "transient faults survived": transient,
        "corrupt files accepted": corrupt,
        "answers in time": patience,
    }


PARTS = tuple(index / 20 + 0.01 for index in range(20))


# --- the downloaders: each runs in a child process and prints the path of the file ------------------------------


def ours(url: str, to: Path, sha256: str, size: int) -> Path:
    from hub.registry.download import fetch
    from hub.registry.transport_http import HttpTransport

    transport = HttpTransport(read_timeout_s=STALL_S)
    return fetch([url], to=to / "file", partials=to / "p", sha256=sha256, size=size, transport=transport).path


def huggingface(url: str, to: Path, sha256: str, size: int) -> Path:
    os.environ |= {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": str(int(STALL_S)),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    from huggingface_hub import hf_hub_download

    endpoint = url.removesuffix(PATH)
    return Path(hf_hub_download("org/name", "model.bin", endpoint=endpoint, cache_dir=to / "cache"))


def curl(url: str, to: Path, sha256: str, size: int) -> Path:
    stall = ["--speed-time", str(int(STALL_S)), "--speed-limit", "1"]
    command = ["curl", "-sS", "--fail", "--retry", "5", "--retry-all-errors", "-C", "-", *stall]
    subprocess.run([*command, "-o", str(to / "file"), url], check=True)
    return to / "file"


DOWNLOADERS: dict[str, Callable[[str, Path, str, int], Path]] = {
    "ours": ours,
    "huggingface_hub": huggingface,
    "curl -C - --retry 5": curl,
}


def present() -> list[str]:
    here = {
        "ours": True,
        "huggingface_hub": importlib.util.find_spec("huggingface_hub") is not None,
        "curl -C - --retry 5": shutil.which("curl") is not None,
    }
    for name in (name for name, found in here.items() if not found):
        print(f"{name}: not installed, not measured", file=sys.stderr)
    return [name for name, found in here.items() if found]


# --- the measurement --------------------------------------------------------------------------------------------


def start(name: str, url: str, to: Path, body: bytes) -> subprocess.Popen:
    job = {
        "name": name,
        "url": url,
        "to": str(to),
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
    }
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    # A session of its own, so that what it has started (curl) ends with it.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def kill(process: subprocess.Popen) -> None:
    """Kill a downloader and what it has started, as `kill -9` of the group does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def finish(process: subprocess.Popen, body: bytes) -> str:
    """Give how a download ended: right file, WRONG FILE, refused, waits."""
    try:
        out, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        kill(process)
        process.communicate()
        return "waits"
    if process.returncode:
        return "refused"
    return "right file" if Path(out.strip()).read_bytes() == body else "WRONG FILE"


def run_case(name: str, case: Case, body: bytes, to: Path) -> tuple[str, int, float]:
    """Give how it ended, the bytes sent more than once, and the seconds it took."""
    with FaultServer({PATH: body}) as server:
        server.headers = dict(COMMIT)
        if case.always:
            server.always(PATH, case.replies[0])
        else:
            server.script(PATH, *case.replies)
        begun = time.monotonic()
        ended = finish(start(name, f"{server.url}{PATH}", to, body), body)
        return ended, max(0, server.sent(PATH) - len(body)), time.monotonic() - begun


def run_kills(name: str, body: bytes, to: Path, count: int) -> list[int]:
    """Kill the download at random offsets, run it again, and give what was sent twice each time."""
    twice = []
    for number, offset in enumerate(random.Random(7).sample(range(len(body) // 10, len(body)), count)):
        place = to / str(number)
        place.mkdir()
        with FaultServer({PATH: body}, rate=15e6) as server:
            server.headers = dict(COMMIT)
            children: list[subprocess.Popen] = []

            def kill_first(children: list[subprocess.Popen] = children) -> None:
                with contextlib.suppress(IndexError):
                    kill(children[0])

            server.always(PATH, Reply(at=(offset, kill_first)))
            children.append(start(name, f"{server.url}{PATH}", place, body))
            children[0].wait()
            server.always(PATH, Reply())
            server.rate = None
            ended = finish(start(name, f"{server.url}{PATH}", place, body), body)
            assert ended == "right file", (name, offset, ended)
            twice.append(server.sent(PATH) - len(body))
    return twice


def show_group(
    group: str, found: list[tuple[Case, dict[str, tuple[str, int, float]]]], names: list[str]
) -> None:
    print(f"\n{group}\n{'':34}" + "".join(f"{name:>26}" for name in names))
    for case, results in found:
        cells = [f"{ended}, {twice / MIB:.1f} MiB twice" for ended, twice, _ in results.values()]
        print(f"{case.title:34}" + "".join(f"{cell:>26}" for cell in cells))
    for name in names:
        ends = [(case, results[name][0]) for case, results in found]
        wrong = sum(end == "WRONG FILE" for _, end in ends)
        good = sum(end in case.good for case, end in ends)
        score = f"{wrong} of {len(ends)}" if "corrupt" in group else f"{good} of {len(ends)}"
        print(f"  {group}: {name}: {score}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="files of 4 MB, three kills instead of ten")
    parser.add_argument("--only", choices=DOWNLOADERS, help="one downloader")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            os.environ.pop(spelling, None)
    if options.job:
        job = options.job
        print(DOWNLOADERS[job["name"]](job["url"], Path(job["to"]), job["sha256"], job["size"]))
        return
    names = [options.only] if options.only else present()
    # Up to 32 MiB ours uses one connection, so that every downloader meets the faults in the same order.
    body = random.Random(5).randbytes((4 if options.quick else 24) * MIB)
    large = random.Random(6).randbytes((4 if options.quick else 40) * MIB)
    with tempfile.TemporaryDirectory() as folder:
        for group, members in cases(len(body)).items():
            found = []
            for case in members:
                results = {}
                for name in names:
                    to = Path(folder) / "to"
                    to.mkdir()
                    results[name] = run_case(name, case, body, to)
                    shutil.rmtree(to)
                found.append((case, results))
            show_group(group, found, names)
        print("\nsent twice after kill -9 and a second run, worst case")
        for name in names:
            to = Path(folder) / name
            to.mkdir()
            twice = run_kills(name, large, to, 3 if options.quick else 10)
            print(f"  {name}: {max(twice) / MIB:.2f} MiB of {len(large) / MIB:.0f}", flush=True)


if __name__ == "__main__":
    main()
