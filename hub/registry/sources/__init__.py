"""Where modules come from: what ships with hub first, the indexes of HUB_INDEX in order, then the catalog."""

from __future__ import annotations

from pathlib import Path

from hub import settings
from hub.registry.catalog import entry
from hub.registry.sources.base import Source
from hub.registry.sources.catalog import CatalogSource
from hub.registry.sources.static import StaticSource

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parents[2] / "modules" / "bundled"


def bundled() -> StaticSource | None:
    """Give the index that ships with hub, None when this copy has none."""
    there = (BUNDLED_FOLDER / "config.json").is_file()
    return StaticSource(str(BUNDLED_FOLDER), name=BUNDLED) if there else None


def catalog() -> CatalogSource | None:
    """Give the catalog of public checkpoints that ships with hub, None when this copy has none."""
    return CatalogSource() if (entry.FOLDER / entry.SEARCH).is_file() else None


def sources() -> list[Source]:
    """Give every source of modules by name, in the order in which they are asked."""
    asked = [bundled(), *map(StaticSource, settings.indexes()), catalog()]
    return [source for source in asked if source]
