"""What modules, their versions, tasks and files may be called: one rule for who writes a name and for who reads it."""

from __future__ import annotations

import os
import re

_DEVICE = r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z"  # what Windows takes for a device, whatever follows the dot
NAME = re.compile(rf"(?!{_DEVICE})[a-z0-9][a-z0-9_-]{{0,63}}")
# A version in PEP 440's normal form without a local part: one spelling, safe as a folder name on every system.
VERSION = re.compile(
    r"(?=.{1,64}\Z)([1-9][0-9]*!)?(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*"
    r"((a|b|rc)(0|[1-9][0-9]*))?(\.post(0|[1-9][0-9]*))?(\.dev(0|[1-9][0-9]*))?"
)
_PATH_PART = re.compile(rf"(?!(?i:{_DEVICE}))[A-Za-z0-9_][A-Za-z0-9._+-]{{0,127}}(?<!\.)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TASK = re.compile(r"[a-z][a-z0-9_]{0,63}")

A_NAME = "a module name: up to 64 of a-z, 0-9, _ and -, no device name"
A_VERSION = "a version by PEP 440 in its normal form, such as 1.2.0"
A_TASK = "a task such as image_classification"
A_PATH = "a path inside the module folder, of plain letters"


def is_module_name(text: object) -> bool:
    """Say whether a text is a module name: up to 64 of a-z, 0-9, _ and -, and no Windows device."""
    return isinstance(text, str) and bool(NAME.fullmatch(text))


def is_version(value: object) -> bool:
    """Say whether a value is a version by PEP 440 in its normal form, without a local part."""
    return isinstance(value, str) and bool(VERSION.fullmatch(value))


def is_task(value: object) -> bool:
    """Say whether a value could be the name of a task, of this hub or of a newer one."""
    return isinstance(value, str) and bool(_TASK.fullmatch(value))


def is_safe_path(text: object) -> bool:
    """Say whether a text is a relative path that stays in its folder on every system.

    Parts of plain letters, digits and ._+-, at most 16 of them and 240 characters, separated by /; none is hidden,
    ends in a dot or is a Windows device.
    """
    if not isinstance(text, str) or not 0 < len(text) <= 240:
        return False
    parts = text.split("/")
    return len(parts) <= 16 and all(map(_PATH_PART.fullmatch, parts))


def is_size(value: object) -> bool:
    """Say whether a value is a number of bytes."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def is_digest(value: object) -> bool:
    """Say whether a value is a sha256 as we write it."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def name_from(text: str, *, otherwise: str) -> str:
    """Give the module name that is made of a text: "My Flowers" is my_flowers; `otherwise` where that gives none."""
    name = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:64]
    return name if is_module_name(name) else otherwise


def encoder_name(text: str) -> str:
    """Give an encoder's module name, of what its folder or repository is called: of bert.git it is bert."""
    return name_from(text.lower().removesuffix(".git"), otherwise="encoder")


def encoder_name_of(folder: str | os.PathLike[str]) -> str:
    """Give the module name that an encoder has by the user's words for its folder: of a link its own."""
    return encoder_name(os.path.basename(os.path.abspath(folder)))
