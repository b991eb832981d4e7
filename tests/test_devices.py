"""What is computed with: which processors are told to take their fast kernels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from hub.errors import DeviceError, UsageError
from hub.modules import devices

AMD, OTHER = "vendor_id\t: AuthenticAMD\n", "vendor_id\t: GenuineIntel\n"
FAST, SLOW = "flags\t\t: fpu sse2 fma avx avx2\n", "flags\t\t: fpu sse2 avx\n"
FASTER = FAST[:-1] + " avx512f avx512dq avx512cd avx512bw avx512vl\n"


@pytest.mark.parametrize(
    ("processor", "chosen", "expected"),
    [
        (AMD + FAST, None, "5"),
        (AMD + FASTER, None, "7"),
        (AMD + FASTER.replace(" avx512dq", ""), None, "5"),
        (AMD + SLOW, None, None),
        (OTHER + FASTER, None, None),
        (AMD + FAST, "4", "4"),
        (None, None, None),
    ],
    ids=[
        "AMD with AVX2", "AMD with AVX-512", "AMD with some of AVX-512", "AMD with neither", "another maker's",
        "the user's choice", "another system",
    ],
)  # fmt: skip
def test_amd_processors_use_what_they_can_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processor: str | None,
    chosen: str | None,
    expected: str | None,
) -> None:
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", chosen or "")
    if chosen is None:
        monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    if processor is not None:
        (tmp_path / "cpuinfo").write_text(processor, encoding="utf-8")
    devices.wake_mkl(tmp_path / "cpuinfo")
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == expected


@pytest.mark.parametrize(
    ("processor", "device", "problem"),
    [
        (OTHER + "flags\t\t: fpu avx2 avx512_bf16\n", "cpu", None),
        (AMD + "flags\t\t: fpu amx_bf16\n", "cpu", None),
        (AMD + FAST, "cpu", r"expected a CPU that computes bfloat16 .*; .*cpuinfo names neither"),
        (None, "cpu", "names neither"),
        (AMD + "flags\t\t: avx512_bf16\n", "gpu:0", "found gpu:0"),
    ],
    ids=["AVX512", "AMX", "neither", "another system", "a GPU"],
)
def test_bfloat16_is_computed_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str | None, device: str, problem: str | None
) -> None:
    if processor is not None:
        (tmp_path / "cpuinfo").write_text(processor, encoding="utf-8")
    monkeypatch.setattr(devices, "PROCESSOR", tmp_path / "cpuinfo")
    devices.require_precision("fp32", device)
    with pytest.raises(UsageError, match="expected one of bf16, fp32, found 'fp16'"):
        devices.require_precision("fp16", device)
    if problem is None:
        devices.require_precision("bf16", device)
    else:
        with pytest.raises(DeviceError, match=problem) as caught:
            devices.require_precision("bf16", device)
        assert "leave precision out" in caught.value.hint


HELD = """
import resource, sys
from pathlib import Path
import paddle
from hub.modules import devices
devices.choose("cpu")
x = paddle.ones([16 << 20])  # 64 MB
for _ in range(20):  # until every large block has its place: on Python 3.10 up to five lie between small ones
    x + x
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    x + x
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1])
kept = resident()
devices.release_memory()
print(kept - resident())
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
@pytest.mark.parametrize(("chosen", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_memory_is_kept_from_step_to_step_until_it_is_released(chosen: dict[str, str], kept: bool) -> None:
    pages = (64 << 20) // os.sysconf("SC_PAGESIZE")
    done = subprocess.run(
        [sys.executable, "-c", HELD], env={**os.environ, **chosen}, capture_output=True, text=True, check=True
    )
    faults, released = map(int, done.stdout.split()[-2:])
    # A small block can still come to lie between large ones, and one more large one is taken then: not each time.
    assert (faults < 3 * pages) if kept else (faults >= 20 * pages), f"{faults} faults, {pages} pages"
    # A block that was kept is given back now; where none was, only what the imports left is there to give.
    assert (released >= pages * 0.9) is kept, f"{released} released, {pages} pages"
