"""What the pictures and the page of a run are made of: safe nodes, and values and names as people write them.

Everything is built as a tree and serialised once, so nothing that comes from data can become markup.
"""

from __future__ import annotations

import math
import re
from xml.etree.ElementTree import Element

import numpy as np

from hub.errors import cut

Child = Element | str | None

VALUE_LENGTH = 2_000

_BLOCKS = "head title style header nav main section h1 h2 p ul li figure figcaption table caption thead tbody tr pre"
# What a page may not hold, or what cannot be written as UTF-8 (a file name that was not UTF-8 has surrogates).
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def node(tag: str, *children: Child, **attributes: object) -> Element:
    """Give an element; `class_` and `stroke_width` stand for class and stroke-width, a None child for nothing."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    element = Element(tag, {name: _printable(str(value)) for name, value in names.items()})
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif child and len(element):
            element[-1].tail = (element[-1].tail or "") + _printable(child)
        elif child:
            element.text = (element.text or "") + _printable(child)
    if tag in _BLOCKS.split():  # a source that people and diff can read
        element.tail = "\n"
    return element


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def named(name: str) -> str:
    """Give the name of a metric or setting as people write it."""
    return name.replace("_", " ")


def percent(share: float) -> str:
    """Give 0.8571 as 85.7 %."""
    return f"{100 * share:.1f} %"


def shown(value: object) -> str:
    """Give a measured value as a table shows it: four decimals, thousands separated, – for none."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if not isinstance(value, float | np.floating):
        return cut(str(value), VALUE_LENGTH)
    size = abs(float(value))
    if not math.isfinite(size) or 0 < size < 0.001 or size >= 1e9:
        return f"{float(value):.4g}"
    return f"{float(value):.4f}" if size < 10 else f"{float(value):,.1f}"


def number(value: object) -> float | None:
    """Give a value that can be drawn, or None for what is no number, not finite, or beyond all measure."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number that JSON holds, and no float does
        return None
    return found if abs(found) <= 1e100 else None
