"""Architectures by name: `build("resnet", depth=50)` gives a backbone with the contract of `base.Backbone`."""

from hub.modules.archs.base import Backbone, FeatureSpec, build, is_ours, names, register, shortened

__all__ = ["Backbone", "FeatureSpec", "build", "is_ours", "names", "register", "shortened"]
