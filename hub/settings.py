"""Every HUB_* variable, read when it is needed and never cached, so that setting one always works."""

from __future__ import annotations

import os
from pathlib import Path

from hub.errors import UsageError

# The table that `hub doctor` prints and docs/reference/settings.md is made from: name, default, meaning.
VARIABLES = {
    "HUB_HOME": (
        "the user's cache folder",
        "where installed modules, datasets, features of trainings and locks live",
    ),
    "HUB_INDEX": (
        "none",
        "registry indexes to search, in order: folders or URLs, separated by spaces or commas",
    ),
    "HUB_OFFLINE": ("0", "1 forbids every network connection"),
    "HUB_PADDLEHUB_SERVER": ("https://paddlepaddle.org.cn/paddlehub", "server for paddlehub:// references"),
    "HUB_TOKEN_<HOST>": (
        "none",
        "token for a server, such as HUB_TOKEN_EXAMPLE_COM; see also credentials.json",
    ),
}


def home() -> Path:
    """Give the folder that holds everything hub keeps (HUB_HOME, else the platform's cache folder)."""
    chosen = os.environ.get("HUB_HOME")
    if chosen:
        folder = os.path.expanduser(chosen)
        if folder.startswith("~"):
            raise UsageError(
                f"HUB_HOME: expected a folder, found {chosen!r}, of a user who is not there",
                hint="give HUB_HOME the path of a folder",
            )
        return Path(folder).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("hubtune"))


def indexes() -> tuple[str, ...]:
    """Give the registry indexes to search after the bundled one, in order (HUB_INDEX)."""
    return tuple(os.environ.get("HUB_INDEX", "").replace(",", " ").split())


def offline() -> bool:
    """Say whether the network is switched off (HUB_OFFLINE)."""
    value = os.environ.get("HUB_OFFLINE", "").strip().lower()
    if value in {"", "0", "no", "false", "off"}:
        return False
    if value in {"1", "yes", "true", "on"}:
        return True
    raise UsageError(f"HUB_OFFLINE: expected 0 or 1, found {value!r}")
