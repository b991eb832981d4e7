"""The pieces of the report's page: tables, small pictures and sounds as data URIs, how it looks."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

import numpy as np
from PIL import Image

from hub.errors import cut
from hub.finetune import charts
from hub.finetune.markup import VALUE_LENGTH, Child, node, shown

THUMBNAIL = 160  # pixels, the longer side
ENLARGED = 64  # pixels: a picture up to this size is shown larger, with its pixels visible
MOST_RATE = 16_000  # Hz: enough to recognise speech and most noises by ear
LABEL_LENGTH = 80


def page(title: str, *content: Child) -> str:
    """Give a whole HTML page that loads nothing and runs nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    html = node(
        "html",
        node(
            "head",
            node("meta", charset="utf-8"),
            node("meta", http_equiv="Content-Security-Policy", content=policy),
            node("meta", name="viewport", content="width=device-width, initial-scale=1"),
            node("meta", name="color-scheme", content="light dark"),
            node("link", rel="icon", href="data:,"),  # else a server is asked for favicon.ico
            node("title", title),
            node("style", STYLE),
        ),
        node("body", *content),
        lang="en",
    )
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def label(text: str) -> Element:
    """Give a name from the data, cut, with its writing direction kept to itself."""
    return node("bdi", cut(text, LABEL_LENGTH))


def setting(value: object) -> str:
    """Give a value of the configuration as it would be written."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return cut(text, VALUE_LENGTH)


def table(
    caption: str, head: Sequence[Child], rows: Iterable[Sequence[object]], *, kind: str = ""
) -> Element:
    """Give a table in a box that scrolls; the first cell of a row is its heading, numbers stand to the right."""
    lines = []
    for first, *others in rows:
        heading = node("th", _child(first), scope="row")
        lines.append(node("tr", heading, *map(_cell, others)))
    columns = [node("th", column, scope="col") for column in head]
    content = node(
        "table", node("caption", caption), node("thead", node("tr", *columns)), node("tbody", *lines)
    )
    # A box that scrolls must be reachable by keyboard, and then needs a name.
    return node(
        "div", content, class_=f"scroll {kind}".strip(), tabindex="0", role="region", aria_label=caption
    )


def _cell(value: object) -> Element:
    if isinstance(value, Element) and value.tag == "td":
        return value
    numeric = isinstance(value, int | float | np.number) or value is None
    return node("td", _child(value), **({"class_": "number"} if numeric else {}))


def _child(value: object) -> Child:
    return value if isinstance(value, Element) else shown(value)


def thumbnail(picture: Image.Image | np.ndarray, *, alt: str) -> Element:
    """Give a picture of at most 160 pixels a side; one that cannot be read becomes a sentence that says so.

    Arrays are uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; 16-bit and float pictures are stretched to their range.
    """
    try:
        small = _small_picture(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:  # all three are how PIL says it
        return node("p", f"This picture cannot be read: {problem}", class_="missing")
    file = io.BytesIO()
    if max(small.size) <= ENLARGED:
        small.save(file, "PNG", optimize=True)
        kind, scale, style = "png", THUMBNAIL // max(small.size), "pixels"
    else:
        small.save(file, "JPEG", quality=80, optimize=True)
        kind, scale, style = "jpeg", 1, "photo"
    width, height = (side * scale for side in small.size)
    return node(
        "img",
        src=_data_uri(f"image/{kind}", file.getvalue()),
        alt=alt,
        width=width,
        height=height,
        class_=style,
    )


def _small_picture(picture: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(picture, np.ndarray):
        squeezed = picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
        if not squeezed.size:
            raise OSError(f"it is empty, of shape {picture.shape}")
        picture = Image.fromarray(squeezed)
    picture.load()
    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, np.float64))
        values = (values - values.min()) / max(float(np.ptp(values)), 1e-12) * 255
        picture = Image.fromarray(values.astype(np.uint8))
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    small = picture.convert(
        "L" if picture.mode in ("1", "L") else "RGB"
    )  # a copy: thumbnail changes in place
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def sound(samples: np.ndarray, rate: int, *, name: str, most_bytes: int) -> list[Element]:
    """Give a player and what it plays: mono 16 bits at up to 16 kHz, cut to `most_bytes`."""
    every = -(-rate // MOST_RATE)
    kept = np.nan_to_num(np.asarray(samples, np.float32))[: most_bytes // 2 * every]
    whole = len(kept) // every * every
    # The mean of neighbours is a crude low-pass filter, good enough to listen for a mistake.
    coarse = kept[:whole].reshape(-1, every).mean(axis=1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate // every)
        writer.writeframes((coarse.clip(-1, 1) * 32767).astype("<i2").tobytes())
    heard, total = len(kept) / rate, len(samples) / rate
    length = f"{total:.1f} s" if len(kept) == len(samples) else f"the first {heard:.1f} of {total:.1f} s"
    source = _data_uri("audio/wav", file.getvalue())
    return [node("audio", controls="controls", src=source, aria_label=name), node("p", length)]


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


STYLE = (
    f""":root {{ {charts.PALETTE} }}{charts.STYLE}"""
    + """
:root { color-scheme: light dark; --box: #f5f6f8; --right: 0 114 178; --wrong: 213 94 0; --top: .75; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --dim: #a3acb7; --paper: #14171b; --box: #1e2329; --rule: #3a424c;
    --s0: #56b4e9; --s1: #f0a05a; --s2: #4fcfa5; --s3: #e59bc6; --s4: #e3cf57;
    --right: 86 180 233; --wrong: 230 120 40; --top: .5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem clamp(.75rem, 3vw, 2rem) 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: .5rem 0; font-size: 1.6rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule); font-size: 1.2rem; }
a { color: var(--s0); }
nav ul, .legend, .cards { list-style: none; margin: 0; padding: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
.answer { margin: 1rem 0 .25rem; font-size: 1.25rem; font-weight: 600; line-height: 1.35; }
.dim, caption, .legend, figcaption p, .card p { color: var(--dim); font-size: .875rem; }
.findings { padding: 0; list-style: none; max-width: 60rem; }
.findings li { margin: .5rem 0; padding: .5rem .75rem; border-left: .3rem solid var(--s0); background: var(--box); }
.findings li.warning { border-color: var(--s1); }
.grid { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; }
.chart { max-width: 28rem; }
.chart > svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.legend svg { vertical-align: -1px; }
.scroll { max-width: 100%; width: fit-content; max-height: 34rem; overflow: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
tbody th { font-weight: 500; min-width: 6rem; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--box); vertical-align: bottom;
  overflow-wrap: normal; }
.number { text-align: right; white-space: nowrap; }
.numbers thead th:not(:first-child) { text-align: right; }
.settings td { white-space: pre-wrap; font-family: ui-monospace, monospace; }
.matrix { max-height: none; }
.matrix th, .matrix td { padding: .15rem .35rem; text-align: center; }
.matrix thead th:not(:first-child) { writing-mode: vertical-rl; max-height: 10rem; overflow: hidden; text-align: left;
  text-overflow: ellipsis; white-space: nowrap; padding: .4rem .15rem; }
.matrix tbody th { position: sticky; left: 0; background: var(--box); max-width: 9rem; overflow: hidden;
  text-align: right; text-overflow: ellipsis; white-space: nowrap; }
.matrix td { min-width: 2rem; white-space: nowrap; }
.matrix .none { color: var(--dim); }
.right { background: rgb(var(--right) / calc(var(--shade) * var(--top))); outline: 1px solid var(--rule); }
.wrong { background: rgb(var(--wrong) / calc(var(--shade) * var(--top))); font-weight: 600; }
.beside { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0 2rem; }
.beside > * { min-width: 0; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12rem), 1fr)); }
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.card { padding: .75rem; border: 1px solid var(--rule); background: var(--box); }
.card img { display: block; max-width: 100%; height: auto; margin: 0 auto .5rem; }
.card .pixels { image-rendering: pixelated; }
.card audio { display: block; width: 100%; }
.card blockquote { margin: 0 0 .5rem; white-space: pre-wrap; }
.card p { margin: .1rem 0; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .6rem; margin: 0; font-size: .875rem; }
.card dt { color: var(--dim); } .card dd { margin: 0; }
pre { margin: .75rem 0; padding: .75rem; background: var(--box); white-space: pre-wrap; font-size: .875rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, audio { display: none; }
  .scroll { max-height: none; overflow: visible; }
  thead th, .matrix tbody th { position: static; }
  figure, li, tr { break-inside: avoid; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
)
