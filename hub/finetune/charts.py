"""A run's history as charts, drawn as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, tostring

from hub.finetune.markup import named, node, number, shown

Points = Sequence[tuple[float, float]]

MOST_LINES = 5  # lines in one chart, which is as many as there are colours and marks
MOST_MARKS = 25  # on one line

LEAST_SPAN = 1e-100  # what lies closer is drawn as equal: no steps could be told apart in it

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 20, 34
_GAP, _LINE = 16, 16
PALETTE = """--ink: #1b1f24; --dim: #57606a; --paper: #fff; --rule: #d0d5db;
  --s0: #0072b2; --s1: #c04a00; --s2: #007a5a; --s3: #a33278; --s4: #6b5200;"""
STYLE = """
.drawing { font: 11px system-ui, sans-serif; fill: var(--dim); }
line.grid { stroke: var(--rule); }
line.best { stroke: var(--ink); stroke-dasharray: 2 3; }
.line { fill: none; stroke-width: 1.75; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); stroke-dasharray: 7 3; } .s2 { stroke: var(--s2); }
.s3 { stroke: var(--s3); stroke-dasharray: 2 2; } .s4 { stroke: var(--s4); stroke-dasharray: 9 3 2 3; }
.mark { stroke-dasharray: none; fill: var(--paper); stroke-width: 1.5; }
"""
# One for each line: a circle, a square, a triangle, a diamond, a cross. Colour alone would not tell them apart.
_MARKS = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
    "M-2.7 -2.7h5.4v5.4h-5.4z",
    "M0 -3.6L3.4 2.6H-3.4z",
    "M0 -3.8L3.4 0L0 3.8L-3.4 0z",
    "M-3 -3L3 3M-3 3L3 -3",
)


def of_history(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Points]]]:
    """Give (caption, lines): losses, then what lies between 0 and 1 together, then the others one by one.

    What is no number is not drawn, nor a row without the number of its epoch.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        epoch = number(row.get("epoch"))
        for name, value in row.items():
            height = number(value)
            if epoch is not None and height is not None and name not in ("epoch", "seconds"):
                curves.setdefault(name, []).append((epoch, height))
    losses = {name: curves.pop(name) for name in ("train_loss", "valid_loss") if name in curves}
    rate = curves.pop("learning_rate", None)
    shares = {name: line for name, line in curves.items() if all(0 <= value <= 1 for _, value in line)}
    if losses:
        yield "Loss", {named(name): line for name, line in losses.items()}
    names = list(shares)
    for start in range(0, len(names), MOST_LINES):
        chosen = names[start : start + MOST_LINES]
        same = all(name.startswith("valid_") for name in chosen)
        own = [name.removeprefix("valid_") if same else name for name in chosen]
        lines = [shares[name] for name in chosen]
        yield "Validation metrics" if same else "Metrics", dict(zip(_told_apart(own), lines, strict=True))
    if rate:
        yield "Learning rate", {"learning rate": rate}
    for name, line in curves.items():
        if name not in shares:
            yield named(name).capitalize(), {named(name): line}


def _told_apart(names: Sequence[str]) -> list[str]:
    """Give names as people write them, and as they are those that would read the same."""
    written = [named(name) for name in names]
    return [name if written.count(text) > 1 else text for name, text in zip(names, written, strict=True)]


def figure(caption: str, lines: Mapping[str, Points], *, span: tuple[int, int], best: int | None) -> Element:
    """Give a chart for a page of HTML, with its caption and what its lines are; the arguments are those of `chart`."""
    legend = node(
        "ul", *(node("li", _sample(n), f" {name}") for n, name in enumerate(lines)), class_="legend"
    )
    caption_and_legend = node("figcaption", node("strong", caption), legend)
    return node("figure", caption_and_legend, chart(caption, lines, span=span, best=best), class_="chart")


def picture(history: Sequence[Mapping[str, Any]], *, best: int | None) -> str:
    """Give the charts of a history as one SVG picture, two beside each other, that needs no page around it.

    `best` is the epoch to mark. Of a history without a number the picture is empty.
    """
    epochs = [int(epoch) for row in history if (epoch := number(row.get("epoch"))) is not None]
    span = min(epochs, default=0), max(epochs, default=0)
    drawn = list(of_history(history))
    cells: list[Element] = []
    height = _GAP
    for start in range(0, len(drawn), 2):
        beside = drawn[start : start + 2]
        for column, (caption, lines) in enumerate(beside):
            drawing = chart(caption, lines, span=span, best=best)
            cells.append(_cell(drawing, caption, lines, x=_GAP + column * (_WIDTH + _GAP), y=height))
        height += _LINE * (1 + max(len(lines) for _, lines in beside)) + _HEIGHT + _GAP
    width = _GAP + min(len(drawn), 2) * (_WIDTH + _GAP)
    # Not every viewer of pictures knows variables, or dark paper.
    colours = dict(re.findall(r"(--\w+): ([^;]+);", PALETTE))
    style = re.sub(r"var\((--\w+)\)", lambda found: colours[found[1]], STYLE)
    paper = node("rect", width=width, height=height, fill=colours["--paper"])
    whole = node("svg", node("style", style), paper, *cells, width=width, height=height)
    whole.set("xmlns", "http://www.w3.org/2000/svg")
    return tostring(whole, encoding="unicode") + "\n"


def _cell(drawing: Element, caption: str, lines: Iterable[str], *, x: int, y: int) -> Element:
    """Give a chart with its caption above and what its lines are below."""
    drawing.attrib |= {"y": str(_LINE), "width": str(_WIDTH), "height": str(_HEIGHT)}
    below = _LINE + _HEIGHT
    legend: list[Element] = []
    for place, name in enumerate(lines):
        sample = _sample(place)
        sample.attrib |= {"x": str(_LEFT), "y": str(below + place * _LINE)}
        legend += [sample, node("text", name, x=_LEFT + 32, y=below + place * _LINE + 10)]
    heading = node("text", caption, x=_LEFT, y=10, font_weight="bold")
    return node("g", heading, drawing, *legend, transform=f"translate({x} {y})", class_="drawing")


def chart(caption: str, lines: Mapping[str, Points], *, span: tuple[int, int], best: int | None) -> Element:
    """Give a drawing with a line for each of at most five series of (epoch, value) over the epochs of `span`."""
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low <= max(1e-6 * size, LEAST_SPAN):
        margin = 0.05 * size if size > LEAST_SPAN else 0.5
        low, high = low - margin, high + margin
    y_ticks = _ticks(low, high)
    first, last = span if span[0] < span[1] else (span[0] - 1, span[1] + 1)

    def x(epoch: float) -> float:
        return _LEFT + (epoch - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_horizontal(y(tick), f"{tick:g}") for tick in y_ticks]
    whole = [tick for tick in _ticks(first, last, least=1) if span[0] <= tick <= span[1]]
    parts += [
        node("text", f"{tick:g}", x=f"{x(tick):.1f}", y=_HEIGHT - 18, text_anchor="middle") for tick in whole
    ]
    parts.append(node("text", "epoch", x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    if best is not None and span[0] <= best <= span[1]:
        parts += _best_mark(x(best), best)
    for place, (name, points) in enumerate(lines.items()):
        spots = [(x(epoch), y(value)) for epoch, value in points]
        way = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
        parts.append(node("polyline", points=way, class_=f"line s{place}"))
        every = -(-len(points) // MOST_MARKS)
        for (epoch, value), (a, b) in list(zip(points, spots, strict=True))[::every]:
            hover = node("title", f"epoch {epoch:g}: {name} {shown(value)}")
            spot = f"translate({a:.1f} {b:.1f})"
            parts.append(node("path", hover, d=_MARKS[place], transform=spot, class_=f"mark s{place}"))
    ends = [f"{name} from {shown(points[0][1])} to {shown(points[-1][1])}" for name, points in lines.items()]
    spoken = f"{caption} over the epochs: {', '.join(ends)}"
    view = f"0 0 {_WIDTH} {_HEIGHT}"
    return node("svg", *parts, viewBox=view, role="img", aria_label=spoken, class_="drawing")


def _ticks(low: float, high: float, *, least: float = 0.0) -> list[float]:
    """Give round values from at or below `low` to at or above `high`, about five steps of 1, 2 or 5 times 10^n."""
    rough = max((high - low) / 5, least)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(times * size for times in (1, 2, 5, 10) if times * size >= rough * (1 - 1e-9))
    numbers = range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    return [float(f"{number * step:.12g}") for number in numbers]


def _horizontal(height: float, text: str) -> Element:
    at = f"{height:.1f}"
    rule = node("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at, class_="grid")
    return node("g", rule, node("text", text, x=_LEFT - 6, y=f"{height + 4:.1f}", text_anchor="end"))


def _best_mark(x: float, epoch: int) -> list[Element]:
    at = f"{x:.1f}"
    # Beside the line, on the side where there is room.
    side = {"x": f"{x - 4:.1f}", "text_anchor": "end"} if x > _WIDTH / 2 else {"x": f"{x + 4:.1f}"}
    line = node("line", x1=at, x2=at, y1=4, y2=_HEIGHT - _BOTTOM, class_="best")
    return [line, node("text", f"best: epoch {epoch}", y=12, **side)]


def _sample(number: int) -> Element:
    """Give a piece of the line of this number, with its mark."""
    line = node("polyline", points="0,6 24,6", class_=f"line s{number}")
    mark = node("path", d=_MARKS[number], transform="translate(12 6)", class_=f"mark s{number}")
    return node("svg", line, mark, width=24, height=12, viewBox="0 0 24 12", aria_hidden="true")
