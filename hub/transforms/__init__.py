"""Steps from a file to an array, found by name so that module.yaml can say them: `image` today."""

from hub.transforms import image

__all__ = ["image"]
