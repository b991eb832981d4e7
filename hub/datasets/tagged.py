"""Tagged words for a run: checked, split, and what is odd about the sequences of their tags counted.

    prepare_tagged("msra_ner/")             # train.tsv, dev.tsv, test.tsv, or the same as .txt, .conll, .jsonl
    prepare_tagged("eng.train", valid="eng.testa")
    prepare_tagged([(["EU", "rejects"], ["B-ORG", "O"]), …])

What is read is described in hub.datasets.words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hub.datasets.base import Dataset
from hub.datasets.kinds import TAGGED
from hub.datasets.prepare import Prepared, Probe, prepare, prepare_evaluation
from hub.datasets.splits import Splits
from hub.datasets.words import OUTSIDE

_TAG = re.compile(r"([BIMELSU])(?:-(.+))?")
_BEGIN, _OPEN, _GO_ON, _CLOSE = (frozenset(each) for each in ("BSU", "BIM", "IMEL", "ELSU"))
_NONE: tuple[str, str | None] = ("", None)


def prepare_tagged(
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
    """Load, check and split tagged sentences.

    `valid` None takes the source's own part, or else a fifth of the sentences; False goes without. Raises one DataError
    that lists every problem of every part, or with on_bad="skip" leaves those sentences out. A sequence of tags that
    its scheme does not allow is counted in a note.
    """
    prepared = prepare(
        train, valid=valid, test=test, kind=TAGGED, stratified=False, on_bad=on_bad, seed=seed, workers=workers,
        probe=probe, progress=progress,
    )  # fmt: skip
    notes = list(prepared.notes)
    parts = Splits(prepared.train, prepared.valid, prepared.test)
    notes += [note for role, part in parts.parts().items() if (note := odd_tags(role, part))]
    return Prepared(*parts, tuple(notes))


def prepare_tagged_evaluation(
    data: Any,
    *,
    labels: Sequence[str],
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it, with `labels` as its tags."""
    return prepare_evaluation(
        data,
        labels=labels,
        multi_label=False,
        kind=TAGGED,
        on_bad=on_bad,
        workers=workers,
        probe=probe,
        progress=progress,
    )


def odd_tags(role: str, data: Dataset) -> str:
    """Give a note that counts the sentences whose tags cannot follow one another as they do; "" where all can.

    In BIO that is an I-X that does not go on with an X, which begins one in IOB1; in BIOES and BMES also what is begun
    and not ended. Tags without prefixes may come in any order, and so may those of which none begins an entity.
    """
    found = [_TAG.fullmatch(label) for label in data.labels]
    tags = [(each[1], each[2]) if each else _NONE for each in found]
    prefixes = {prefix for prefix, _ in tags}
    plain = [label for label, each in zip(data.labels, found, strict=True) if not each and label != OUTSIDE]
    if plain or not prefixes & _BEGIN:
        return ""
    closed = bool(prefixes & _CLOSE)
    count, first = 0, ""
    for i in range(len(data)):
        sample = data[i]
        numbers: tuple[int, ...] = sample.label  # type: ignore[assignment]
        place = _break([tags[number] for number in numbers], closed=closed)
        if place is not None:
            names = ["the beginning", *(data.labels[number] for number in numbers), "the end"]
            first = first or f"{names[place + 1]} after {names[place]} ({sample.origin})"
            count += 1
    if not count:
        return ""
    meant = "" if closed else "; an entity begins there, as in IOB1"
    return f"{role}: {count:,} of {len(data):,} sentences have tags out of order, such as {first}{meant}"


def _break(tags: Sequence[tuple[str, str | None]], *, closed: bool) -> int | None:
    """Give the place of the first tag that cannot follow the one before it, len(tags) being the end; None for none."""
    before = _NONE
    for place, tag in enumerate([*tags, _NONE]):
        inside = before[0] in _OPEN
        goes_on = tag[0] in _GO_ON and inside and before[1] == tag[1]
        if (tag[0] in _GO_ON or (closed and inside)) and not goes_on:
            return place
        before = tag
    return None
