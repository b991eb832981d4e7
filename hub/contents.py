"""What two inputs have in common that are one: the digest of all that a network sees of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hub.files import sha256_of


def digest_of(given: Any) -> str:
    """Give the sha256 of an input's content: of its file's bytes where it is a path, of a picture all that is seen."""
    if isinstance(given, Path):
        return sha256_of(given)
    if isinstance(given, str):
        content = given.encode()
    elif isinstance(given, tuple | list):
        content = " ".join(map(digest_of, given)).encode()
    elif isinstance(given, Image.Image):
        content = _content(given)
    else:
        array = np.asarray(given)
        content = f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""


def _content(picture: Image.Image) -> bytes:
    """Give what decides how a picture looks: its pixels alone are, say, numbers of colours that stand in a palette."""
    marks = (picture.mode, picture.size, picture.info.get("transparency"), picture.getexif().get(ORIENTATION))
    pixels = picture.convert("RGBA") if picture.mode in ("P", "PA") else picture
    return repr(marks).encode() + pixels.tobytes()
