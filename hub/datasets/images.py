"""Which files are images, and whether one can be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from hub.errors import InputError
from hub.transforms.image import load

if TYPE_CHECKING:
    from hub.datasets.base import Sample

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""The only formats that are handed to a decoder: Pillow knows some forty, and each is a target."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def decode_image(sample: Sample) -> None:
    """Decode the sample's image to its last byte and forget it.

    Raises InputError for a file that is no image or is cut short, for a decompression bomb (more pixels than
    `PIL.Image.MAX_IMAGE_PIXELS`), and for an array that cannot be an image.
    """
    image = sample.input
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or not image.size or image.dtype.kind not in "biuf":
            found = f"{image.dtype} of shape {list(image.shape)}"
            raise InputError(
                f"expected numbers of shape [height, width] or [height, width, channels], found {found}"
            )
    elif isinstance(image, Image.Image):
        _load(image)
    else:
        try:
            opened = Image.open(image, formats=FORMATS)
        except UnidentifiedImageError:
            raise InputError(f"none of {', '.join(FORMATS)}") from None
        except Image.DecompressionBombError as error:
            raise InputError(str(error)) from error
        with opened:
            _load(opened)


def _load(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:  # Pillow itself refuses only twice as many
        raise InputError(
            f"{image.width} × {image.height} pixels are more than the {limit:,} that are safe to decode"
        )
    try:
        load(image)
    except Exception as error:  # a damaged file can raise anything inside Pillow's decoders
        raise InputError(f"the image is damaged: {error}") from error
