"""Where modules come from: the ones that ship with hub first, then the indexes of HUB_INDEX, in order."""

from __future__ import annotations

from pathlib import Path

from hub import settings
from hub.registry.sources.base import Source
from hub.registry.sources.static import StaticSource

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parents[2] / "modules" / "bundled"


def bundled() -> StaticSource | None:
    """Give the index that ships with hub, None when this copy has none."""
    there = (BUNDLED_FOLDER / "config.json").is_file()
    return StaticSource(str(BUNDLED_FOLDER), name=BUNDLED) if there else None


def sources() -> list[Source]:
    """Give every source of modules by name, in the order in which they are asked."""
    first = bundled()
    return [*([first] if first else []), *(StaticSource(location) for location in settings.indexes())]
