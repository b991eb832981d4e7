"""Steps from a file to an array, of pictures, sounds and texts, found by name so that module.yaml can say them."""

from hub.transforms import image

__all__ = ["image"]
