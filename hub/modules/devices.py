"""Which device to compute on, and why: said once, never a silent fallback."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import paddle

from hub.errors import DeviceError, UsageError, one_of

INSTALL_GPU = (
    "pip uninstall paddlepaddle, then install paddlepaddle-gpu as paddlepaddle.org.cn says for your CUDA"
)

PRECISIONS = ("fp32", "bf16")
"""What `predict` computes in: float32 everywhere, bfloat16 on processors that have it."""

PROCESSOR = Path("/proc/cpuinfo")
MKLS_AVX512 = {f"avx512{part}" for part in ("f", "cd", "bw", "dq", "vl")}
"""What MKL's kernels for AVX-512 were made for: the parts that Skylake has, and every AMD since Zen 4."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of settings in glibc's malloc.h."""


def choose(asked: str | None) -> tuple[str, str]:
    """Give (device, why) for None (a GPU when there is one), "cpu", "gpu" or "gpu:N".

    Raises DeviceError with the cause when a GPU is asked for and is not available, UsageError for other words.
    """
    wake_mkl(PROCESSOR)
    keep_memory()
    if asked == "cpu":
        return "cpu", "as asked"
    if asked is not None and asked != "gpu" and not (asked.startswith("gpu:") and asked[4:].isdigit()):
        raise UsageError(f"device: expected None, 'cpu', 'gpu' or 'gpu:N', found {asked!r}")
    # A launcher of several processes gives each a GPU of its own.
    own = int(os.environ.get("FLAGS_selected_gpus", "0").split(",")[0] or 0)  # noqa: SIM112 - its name
    number = int(asked[4:]) if asked and ":" in asked else own
    if not paddle.is_compiled_with_cuda():
        if asked:
            raise DeviceError(
                f"device={asked!r}: {_build()} is a build without GPU support", hint=INSTALL_GPU
            )
        return "cpu", f"{_build()} is a build without GPU support"
    count = paddle.device.cuda.device_count()
    if number >= count:
        cause = f"found {count} GPUs (driver missing, or CUDA_VISIBLE_DEVICES hides them)"
        if asked:
            raise DeviceError(f"device={asked!r}: {cause}", hint="run nvidia-smi; see `hub doctor`")
        return "cpu", cause
    return f"gpu:{number}", "as asked" if asked else f"{_build()} sees {count} GPUs"


def wake_mkl(processor: Path) -> None:
    """Have products of matrices computed with what an AMD processor can do, unless the user has chosen.

    The MKL that paddle 3.3 brings, of 2019, chooses its kernels by the maker's name: on AMD's processors those that any
    processor runs, half as fast as its kernels for AVX2 (5), a quarter as those for AVX-512 (7). It asks once, at its
    first product.
    """
    maker, abilities = _about(processor)
    if maker == "AuthenticAMD" and {"avx2", "fma"} <= abilities:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "7" if abilities >= MKLS_AVX512 else "5")


def require_precision(precision: str, device: str) -> None:
    """Raise UsageError for a name that is not one of PRECISIONS, DeviceError where it is not available.

    Processors without bfloat16 would take its steps one by one, more slowly than float32.
    """
    if precision not in PRECISIONS:
        raise one_of("precision", precision, PRECISIONS)
    if precision == "fp32":
        return
    wanted = f"precision={precision!r}: expected a CPU that computes bfloat16 (AVX512_BF16 or AMX)"
    if device != "cpu":
        raise DeviceError(f"{wanted}, found {device}", hint="leave precision out, or pass device='cpu'")
    if not {"avx512_bf16", "amx_bf16"} & _about(PROCESSOR)[1]:
        raise DeviceError(f"{wanted}; {PROCESSOR} names neither", hint="leave precision out")


def _about(processor: Path) -> tuple[str, set[str]]:
    """Give the maker and the abilities of a processor as Linux writes them; nothing on other systems."""
    try:
        lines = processor.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", set()
    said = {key.strip(): value for key, _, value in (line.partition(":") for line in reversed(lines))}
    return said.get("vendor_id", "").strip(), set(said.get("flags", "").split())


def keep_memory() -> None:
    """Have what one step frees lie ready for the next one, unless the user has set up malloc.

    glibc hands a freed block of 32 MB back to the system, at the latest, and a new one costs a page fault every 4 KiB,
    which takes longer than to add two maps of that size. What was the most at a time stays with the process, until
    `release_memory`.
    """
    mallopt = _c_function("mallopt")
    if mallopt is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    _ = mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most for older ones
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give the system back what is free, after much work."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _c_function(name: str) -> Any:
    """Give a function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def _build() -> str:
    for name in ("paddlepaddle-gpu", "paddlepaddle"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"paddle {paddle.__version__}"
