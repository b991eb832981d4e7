"""Pictures with masks: from list files, folders, polygons in JSON and palette pictures to checked data.

    prepare_masks("data/")                       # images/ and masks/ (or annotations/), with train/ and valid/ in them
    prepare_masks("data/")                       # train_list.txt: "img/a.jpg mask/a.png", labels.txt beside it
    prepare_masks("VOC2012/")                    # JPEGImages/, SegmentationClass/, lists in ImageSets/Segmentation/
    prepare_masks("data/annotations.json")       # COCO: polygons, pictures beside the JSON or as COCO has them
    prepare_masks([("a.jpg", "a.png"), …])       # any object with (picture, mask) items, or a pandas frame

What is read is described in hub.datasets.mask_files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from hub.datasets.base import Dataset, Origin, Problem, Sample, broken_names
from hub.datasets.mask import IGNORED, Mask, MaskPart, require_names
from hub.datasets.mask_files import read
from hub.datasets.preflight import bar, check, identity
from hub.datasets.prepare import Prepared, Probe
from hub.datasets.sources import ROLES, part_for, parts_in, require_path, require_train
from hub.datasets.splits import Splits, split_at_random
from hub.errors import DataError, UsageError, did_you_mean
from hub.transforms.image import FORMATS, upright_size
from hub.transforms.joint import is_ground


class Masks(Dataset):
    """Pictures with masks by index: `label` of a sample is an object that `np.asarray` makes class numbers of."""

    has_classes = False

    def __init__(self, part: MaskPart, labels: Sequence[str]) -> None:
        self._rows = part.rows
        self._masks, self._strange, self._notes = part.masks, part.strange, part.notes
        self.name, self.ignored = part.rows.name, part.rows.ignored
        self.labels, self.multi_label = tuple(labels), False
        self.problems = tuple(part.rows.problems)
        self._index = np.arange(len(part.masks), dtype=np.int64)
        first: dict[
            Hashable, int
        ] = {}  # the same mask file has the same number: then a repeat is only a repeat
        files = (identity(mask.file) if mask.file else n for n, mask in enumerate(part.masks))
        numbers = [first.setdefault(file, n) for n, file in enumerate(files)]
        self._targets = np.array(numbers, np.int64)
        self._pixels = np.zeros((len(part.masks), len(self.labels)), np.int64)
        self._colours: list[dict[int, str]] = [
            {} for _ in part.masks
        ]  # of the classes of each, in its palette

    def __getitem__(self, i: int) -> Sample:
        k = int(self._index[i])
        return Sample(self._rows.input(k), self._masks[k], self._rows.origin(k))  # type: ignore[arg-type]

    @property
    def holds(self) -> str:
        """What samples are made of, as `load` calls it."""
        return "masks"

    def part(self) -> MaskPart:
        """Give these pictures and masks alone, as a source gives them."""
        chosen = self._index.tolist()
        rows = replace(self._rows.part(chosen), problems=list(self.problems))
        return MaskPart(rows, [self._masks[k] for k in chosen], notes=self._notes)

    def renumbered(self, numbers: Sequence[int]) -> Masks:
        """Give these pictures and masks with `numbers[old]` for each class number; the labels keep their places."""
        table = [*numbers, *range(len(numbers), IGNORED + 1)]
        return Masks(_by_table(self.part(), table), self.labels)

    def relabel(self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None) -> Dataset:
        """Give the same samples numbered by another class list, for which every mask is read again.

        Masks with a class that it does not know become problems. Raises UsageError and DataError for no class list.
        """
        if multi_label:
            raise UsageError("multi_label: a pixel has one class")
        if labels is None:
            return self
        _require_class_list(labels)
        return _examined({"train": _renumbered(self.part(), self.labels, labels)}, labels)["train"]

    def __repr__(self) -> str:
        return f"<Masks {self.name}: {len(self)} pictures, {len(self.labels)} classes>"

    def counts(self) -> dict[str, int]:
        """Give the number of pixels of every class."""
        return dict(zip(self.labels, self._pixels[self._index].sum(axis=0).tolist(), strict=True))

    def labelled(self) -> Dataset:
        """Give those of which some pixel has a class: others neither teach nor measure anything."""
        return self.select(np.flatnonzero(self._pixels[self._index].any(axis=1)))

    def describe(self) -> str:
        """Give a line for a person: pictures, and the share of pixels of each class, or of the few that occur."""
        counts = self.counts()
        total = max(1, sum(counts.values()))
        present = {label: count for label, count in counts.items() if count}
        few = 0 < 2 * len(present) < len(counts)
        shares = ", ".join(
            f"{label} {count / total:.1%}" for label, count in (present if few else counts).items()
        )
        others = f"; none of the other {len(counts) - len(present)} classes" if few else ""
        return f"{self.name}: {len(self)} pictures; pixels: {shares}{others}"


def load_masks(source: Any, *, labels: Sequence[str] | None = None) -> Splits:
    """Give pictures with masks by part, numbered by `labels`, or else as the source numbers them.

    Every mask is read once, and where nothing lists the classes twice. What is wrong waits in `problems` for `check`;
    raises DataError where nothing can be read at all, or for labels that no module could have, and UsageError for a
    dataset of something else.
    """
    if labels is not None:
        _require_class_list(labels)
    parts, names = _read(source)
    require_train(parts, source)
    if labels and names:
        parts = {role: _renumbered(part, names, labels) for role, part in parts.items()}
    found = _examined(parts, labels or names or _counted(parts["train"]))
    return Splits(found.pop("train"), **found)


def prepare_masks(
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Prepared:
    """Find, check and split pictures with masks.

    `valid` None takes the source's own part, or else a fifth of the pictures; False goes without. Raises one DataError
    that lists every problem of every part (a mask that is missing, of another size, unreadable, with a value that is
    no class), or with on_bad="skip" leaves those pictures out.
    """
    parts, names = _read(train)
    require_train(parts, train)
    for role, given in (("valid", valid), ("test", test)):
        if given is False:
            parts.pop(role, None)
        elif given is not None:
            own, own_names = _read(given)
            part = part_for(role, own, given)
            parts[role] = _renumbered(part, own_names, names) if own_names and names else part
    labels = names or _counted(parts["train"], workers, progress=progress)
    checked, notes = _checked(
        parts, labels, on_bad=on_bad, workers=workers, probe=probe, progress=progress, teaches=True
    )
    notes = [*parts["train"].notes, *_gaps(checked.values()), *_mixed_colours(checked.values()), *notes]
    whole, chosen = checked["train"], checked.get("valid")
    if chosen is None and valid is not False:
        every, some = len(whole), cast(Masks, whole).labelled()
        if len(some) < every:
            notes.append(
                f"{every - len(some)} of {every} pictures have no pixel with a class, and were left out"
            )
        whole, chosen = split_at_random(some, seed=seed)
        count = len(some)
        notes.append(f"no validation data was given: {len(chosen)} of {count} pictures were held out")
    return Prepared(whole, chosen, checked.get("test"), tuple(notes))


def prepare_masks_evaluation(
    data: Any,
    *,
    labels: Sequence[str],
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it, numbered by `labels`.

    Classes are told apart by their names where the data has names, else by their numbers.
    """
    parts, names = _read(data)
    part = next(parts[role] for role in ("test", "valid", "train") if role in parts)
    if names:
        part = _renumbered(part, names, labels)
    checked, _ = _checked(
        {"train": part}, labels, on_bad=on_bad, workers=workers, probe=probe, progress=progress
    )
    return checked["train"]


def _require_class_list(labels: Any) -> None:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise UsageError(f"labels: expected a list of class names, found {labels!r}")
    require_names(labels, "labels")


# ---- checking ----


def _checked(
    parts: dict[str, MaskPart],
    labels: Sequence[str],
    *,
    on_bad: str,
    workers: int | None,
    probe: Probe | None,
    progress: bool,
    teaches: bool = False,
) -> tuple[dict[str, Dataset], list[str]]:
    """Give the parts without what cannot be used, and notes that say what that was.

    What `teaches` needs two classes at least.
    """
    found = _examined(parts, labels, workers=workers, progress=progress)
    known = [problem for part in found.values() for problem in part.problems]
    present = [label for label, count in found["train"].counts().items() if count]
    if teaches and len(present) == 1 and (not known or on_bad == "skip"):
        raise DataError(
            f"{found['train'].name}: expected pixels of two classes at least, found only {present[0]!r}",
            hint="255 marks pixels without a class: a mask of 0 and 255 should be saved as 0 and 1",
        )
    with bar("checking", progress) as tell:
        ordered = [found.get(role) for role in ROLES]
        checked = check(*ordered, probe=probe, on_bad=on_bad, workers=workers or None, progress=tell)
    for each in checked.splits:
        if each is not None and len(each) and not any(each.counts().values()):
            raise DataError(
                f"{each.name}: expected pixels that have a class, found none: all are {IGNORED}",
                hint=f"{IGNORED} marks pixels without a class; nothing can be learnt from them or measured on them",
            )
    notes = [str(checked)] if checked.dropped else []
    splits = dict(zip(ROLES, checked.splits, strict=True))
    return {role: part for role, part in splits.items() if part is not None}, notes


def _examined(
    parts: dict[str, MaskPart], labels: Sequence[str], *, workers: int | None = None, progress: bool = False
) -> dict[str, Dataset]:
    """Give the parts with the pixels of every class counted; masks that are no good become problems."""
    found: dict[str, Dataset] = {}
    with _pool(workers) as pool:
        for role, part in parts.items():
            data = Masks(part, labels)
            troubles = []
            with bar(f"masks of {role}", progress) as tell:
                for trouble in pool.map(lambda i, data=data: _examine(data, i), range(len(data))):
                    troubles.append(trouble)
                    tell(len(troubles), len(data))
            data.problems = (*data.problems, *(each for each in troubles if each is not None))
            found[role] = data.select([i for i, each in enumerate(troubles) if each is None])
    return found


def _pool(workers: int | None) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="hub-masks")


def _examine(data: Masks, i: int) -> Problem | None:
    """Read one mask, count its pixels, and give what is wrong with it."""
    mask, origin = data._masks[i], data.origin(i)
    where = mask.file or None
    if isinstance(mask.source, Path) and not os.path.isfile(mask.source):  # pathlib's raises for a long name
        return Problem("missing mask", origin, where)
    size = _size_of(data, i)
    try:
        if size is not None and size != mask.size:  # first of all: what is of no use may be too large to draw
            width, height = mask.size
            sizes = f"the mask has {width}×{height} pixels, its picture {size[0]}×{size[1]}"
            return Problem("size of mask", origin, where, sizes)
        values, palette = mask.read()
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as problem:
        return Problem("unreadable mask", origin, where, str(problem).removeprefix(f"{where}: "))
    numbers = np.bincount(np.array(mask.table, np.uint8)[values].ravel(), minlength=256)
    raw = np.bincount(values.ravel(), minlength=256)
    last = len(data.labels) - 1
    bad = [v for v in range(IGNORED) if raw[v] and mask.table[v] > last]
    if bad:
        return Problem(
            "unknown class in mask", origin, where, _unknown(data, {v: int(raw[v]) for v in bad}, mask)
        )
    data._pixels[i] = numbers[: last + 1]
    coloured = [v for v in range(min(IGNORED, len(palette) // 3)) if raw[v]]
    data._colours[i] = {mask.table[v]: bytes(palette[3 * v : 3 * v + 3]).hex() for v in coloured}
    return None


def _unknown(data: Masks, pixels: Mapping[int, int], mask: Mask) -> str:
    """Say which classes were found that there are not, by name where they have one, and which there are."""
    names = {value: data._strange.get(mask.table[value]) for value in pixels}
    said = [f"{names[v] or v} ({count:,} pixels)" for v, count in [*pixels.items()][:5]]
    expected = f"0 to {len(data.labels) - 1}"
    if any(names.values()):
        expected = ", ".join(data.labels[:10]) + (", …" if len(data.labels) > 10 else "")
    likely = [did_you_mean(name, data.labels) for name in names.values() if name]
    return "; ".join([f"found {', '.join(said)}", f"expected {expected}, or 255", *filter(None, likely[:5])])


def _size_of(data: Masks, i: int) -> tuple[int, int] | None:
    """Give (width, height) of a picture as it stands upright; None where it cannot be read, which `check` reports."""
    try:
        given = data._rows.input(i)
        if isinstance(given, np.ndarray):
            return given.shape[1], given.shape[0]
        if isinstance(given, Image.Image):
            return upright_size(given)
        with Image.open(given, formats=FORMATS) as opened:
            return upright_size(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _counted(part: MaskPart, workers: int | None = None, *, progress: bool = False) -> tuple[str, ...]:
    """Give "0", "1", … up to the largest value of the masks that can be read."""

    def largest(mask: Mask) -> int:
        try:
            values = mask.values()
        except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
            return 0  # it is reported when all masks are examined
        return int(values[values != IGNORED].max(initial=0))

    last = 0
    with _pool(workers) as pool, bar("classes of masks", progress) as tell:
        for done, number in enumerate(pool.map(largest, part.masks), 1):
            last = max(last, number)
            tell(done, len(part.masks))
    return tuple(str(number) for number in range(last + 1))


def _gaps(parts: Iterable[Dataset]) -> Iterator[str]:
    """Give a note where most of the numbers that classes are called by occur nowhere: such values are seldom meant."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts())
    present = [label for label, count in counts.items() if count]
    if _is_counted([*counts]) and 2 * len(present) < len(counts):
        yield (
            f"{len(counts) - len(present)} of the {len(counts)} classes, 0 to {len(counts) - 1}, have no pixel in any "
            f"mask; values {', '.join(present[:10])}{' …' if len(present) > 10 else ''} occur: unless that is meant, "
            "save masks as 0, 1 and so on, without gaps"
        )


def _mixed_colours(parts: Iterable[Dataset]) -> Iterator[str]:
    """Give a note where a number has one colour in one palette and another in the next: programs order them anew."""
    seen: dict[int, tuple[str, Origin]] = {}
    for part in cast(Iterable[Masks], parts):
        for i, k in enumerate(part._index.tolist()):
            for number, colour in part._colours[k].items():
                first, where = seen.setdefault(number, (colour, part.origin(i)))
                if colour != first and number < len(part.labels):
                    yield (
                        f"class {part.labels[number]} is #{first} in the mask of {where} and #{colour} in that of "
                        f"{part.origin(i)}: the number counts and not the colour; where colours are meant, save all "
                        "masks with one palette"
                    )
                    return


def _is_counted(names: Sequence[str]) -> bool:
    """Say whether classes are called by their numbers, as `_counted` does."""
    return list(names) == [str(number) for number in range(len(names))]


def _renumbered(part: MaskPart, names: Sequence[str], labels: Sequence[str]) -> MaskPart:
    """Give the part with its class numbers turned into those of `labels`, by name: "0", "1", … were never names.

    Two grounds are the same.
    """
    if tuple(names) == tuple(labels) or (
        _is_counted(names) and not any(label.isdecimal() for label in labels)
    ):
        return part
    table, strange = [254] * IGNORED + [IGNORED], dict[int, str]()  # 254: no class of ours, without a name
    for number, name in enumerate(names):
        if name in labels:
            table[number] = list(labels).index(name)
        elif number == 0 and is_ground(name) and is_ground(labels[0]) and labels[0] not in names:
            table[0] = 0  # "background" of outlines is the "ground" of another
        elif len(labels) + len(strange) < 254:
            table[number] = len(labels) + len(strange)
            strange[table[number]] = name
    return replace(_by_table(part, table), strange=strange)


def _by_table(part: MaskPart, table: Sequence[int]) -> MaskPart:
    masks = [Mask(mask.source, tuple(table[number] for number in mask.table)) for mask in part.masks]
    return replace(part, masks=masks, strange={})


def _read(source: Any) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    if isinstance(source, Dataset):
        source = Splits(source)
    if isinstance(source, Splits):
        if not isinstance(source.train, Masks):
            raise UsageError(
                f"expected pictures with masks, found a dataset of {source.train.holds}",
                hint='hub.datasets.load("data/", kind="masks")',
            )
        return {role: cast(Masks, part).part() for role, part in source.parts().items()}, source.train.labels
    given = parts_in(source)
    if given.get("train") is not source:
        return _read_parts(given)
    parts, names = read(source)
    broken = broken_names(replace(next(iter(parts.values())).rows, labels=names))
    if broken:
        raise DataError(str(broken[0]))
    return parts, names


def _read_parts(given: Mapping[str, Any]) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Give parts that were given one by one, numbered by the classes that the first of them lists."""
    parts: dict[str, MaskPart] = {}
    names: tuple[str, ...] = ()
    for role, source in given.items():
        own, own_names = _read(require_path(source, role))
        part = part_for(role, own, source)
        names = names if parts else own_names
        parts[role] = _renumbered(part, own_names, names) if own_names and names else part
    return parts, names
