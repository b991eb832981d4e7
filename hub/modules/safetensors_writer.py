"""Write a .safetensors file. Nothing here imports paddle."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, in any memory order. Raises OSError when the disk is full or the path not writable."""
    try:
        safetensors.numpy.save_file(
            {name: np.asarray(array, order="C") for name, array in arrays.items()}, path
        )
        path.chmod(0o644)  # the library makes it readable for its owner alone
    except safetensors.SafetensorError as problem:
        # The library wraps the system's error in a text; callers tell a full disk by its number.
        if number := re.search(r"\(os error (\d+)\)", str(problem)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from problem
        raise
