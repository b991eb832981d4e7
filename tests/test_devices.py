"""What is computed with: which processors are told to take their fast kernels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.modules import devices

AMD, OTHER = "vendor_id\t: AuthenticAMD\n", "vendor_id\t: GenuineIntel\n"
FAST, SLOW = "flags\t\t: fpu sse2 fma avx avx2\n", "flags\t\t: fpu sse2 avx\n"


@pytest.mark.parametrize(
    ("processor", "chosen", "expected"),
    [
        (AMD + FAST, None, "5"),
        (AMD + SLOW, None, None),
        (OTHER + FAST, None, None),
        (AMD + FAST, "4", "4"),
        (None, None, None),
    ],
    ids=["AMD with AVX2", "AMD without", "another maker's", "the user's choice", "another system"],
)
def test_amd_processors_with_avx2_use_it(
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
    devices.wake_avx2(tmp_path / "cpuinfo")
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == expected
