"""Distil the bundled text module from MiniLM: `python recipes/sentences/pretrain.py --output FOLDER --answers FILE`.

Runs all-MiniLM-L6-v2 over its own vocabulary and over sentences that corpus.py makes, trains a table of vectors to give
the same embeddings, rounds it to four bits a number, and writes a module folder. The teacher's answers are
kept in FILE, where they are found again the next time.
"""

from __future__ import annotations

import argparse
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import corpus
import numpy as np
import paddle
import student
import torch
from teacher import Teacher, vocabulary

from hub import tasks
from hub.modules import archs, bundle, golden, preprocessor, weights
from hub.modules.archs.static_text import pack
from hub.modules.network import Network
from hub.modules.spec import ModuleSpec
from hub.transforms.text import Tokenizer
from hub.transforms.tokenizer_files import SPECIAL

PIECES, WIDTH, MAX_LENGTH = 28_500, 112, 256
STEPS = 2_000
FIRST_WORD = 1996
"""The id of the first whole word of the teacher's vocabulary."""
COUNTS = {"strung": 60_000, "mixed": 60_000, "plain": 50_000, "framed": 90_000}
SHORT = range(4, 17)
"""Words of the sentences that are mixed."""
TESTED = 1_000


def pretrain(output: Path, answers: Path, *, steps: int, pieces: int, width: int, seed: int) -> None:
    """Distil and write the module folder. The same seed and answers give the same module on the same machine."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    names = vocabulary()
    sentences, single, embedded = taught(answers, names, seed=seed)
    kept = worth_keeping(names, pieces)
    files = {"vocab.txt": "".join(f"{names[n]}\n" for n in kept).encode()}
    tokenizer = Tokenizer.of(files, max_length=MAX_LENGTH, lowercase=True)
    special = [kept.index(names.index(name)) for name in ("[CLS]", "[SEP]")]
    ids = [[special[0], n, special[1]] for n in range(len(kept))] + read(tokenizer, sentences)
    lessons = student.Lessons(ids, np.concatenate([single[kept], embedded]).astype(np.float32))
    print(f"{len(kept):,} pieces, {len(lessons.ids):,} lessons", flush=True)
    pupil = student.Student(single[kept].astype(np.float32), width)
    student.train(pupil, lessons, steps=steps, seed=seed)
    codes, size = student.quantised(pupil.finished())
    metrics = agreement(codes, size, tokenizer, seed=seed)
    write(output, codes, size, files, metrics, f"{len(lessons.ids):,} embeddings of all-MiniLM-L6-v2")
    print(f"{output}: {metrics}, {time.perf_counter() - started:.0f} s")


def taught(file: Path, names: list[str], *, seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Give the sentences, and the teacher's embeddings of single pieces and of sentences, float16."""
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return str(kept["sentences"]).split("\n"), kept["single"], kept["embedded"]
    rng = np.random.default_rng(seed)
    words = [name for name in names[FIRST_WORD:] if name.isascii() and name.isalpha() and len(name) > 1]
    aside = {sentence for part in corpus.library().values() for sentence in part}
    found = sorted({s for package in corpus.PACKAGES for s in corpus.docstrings(package)} - aside)
    found = [found[n] for n in rng.permutation(len(found))]
    short = [sentence for sentence in found if len(sentence.split()) in SHORT]
    sentences = [
        *corpus.strung(words, COUNTS["strung"], rng),
        *corpus.mixed(short[: COUNTS["mixed"]], words, rng),
        *found[: COUNTS["plain"]],
        *corpus.framed(words, COUNTS["framed"], rng),
    ]
    teacher = Teacher()
    begin, end = names.index("[CLS]"), names.index("[SEP]")
    single = teacher.embed_ids([[begin, n, end] for n in range(len(names))]).astype(np.float16)
    embedded = teacher.embed(sentences).astype(np.float16)
    np.savez(file, sentences=np.array("\n".join(sentences)), single=single, embedded=embedded)
    return sentences, single, embedded


def worth_keeping(names: list[str], most: int) -> list[int]:
    """Give the ids of the pieces to keep: special ones, every character, then the most frequent in Latin script."""
    always = [n for n, name in enumerate(names) if name in SPECIAL or len(name.removeprefix("##")) == 1]
    taken = set(always)
    more = [
        n for n, name in enumerate(names)
        if n not in taken and not name.startswith("[unused") and all(map(_is_latin, name.removeprefix("##")))
    ]  # fmt: skip
    return sorted([*always, *more[: most - len(always)]])


def _is_latin(character: str) -> bool:
    return not character.isalpha() or unicodedata.name(character, "").startswith("LATIN")


def read(tokenizer: Tokenizer, sentences: list[str]) -> list[list[int]]:
    """Give the ids of each sentence."""
    return [tokens.ids.tolist() for tokens in tokenizer.encode_many(sentences)]


def agreement(codes: np.ndarray, size: np.ndarray, tokenizer: Tokenizer, *, seed: int) -> dict[str, float]:
    """Give the correlation of the cosines between sentences of the standard library with the teacher's."""
    every = [sentence for part in corpus.library().values() for sentence in part]
    chosen = [every[n] for n in np.random.default_rng((seed, 1)).choice(len(every), TESTED, replace=False)]
    rows = (codes - (student.LEVELS - 1) / 2) * size
    ours, theirs = student.embed(rows, read(tokenizer, chosen)), Teacher().embed(chosen)
    pairs = np.triu_indices(TESTED, 1)
    return {
        "cosine_correlation": round(
            float(np.corrcoef((ours @ ours.T)[pairs], (theirs @ theirs.T)[pairs])[0, 1]), 4
        )
    }


def write(
    output: Path,
    codes: np.ndarray,
    size: np.ndarray,
    files: dict[str, bytes],
    metrics: dict[str, float],
    taught_by: str,
) -> None:
    """Write the module folder, with golden values."""
    spec = ModuleSpec.create(
        name="sentences_static",
        task="text_classification",
        summary="Table of word vectors distilled from MiniLM, for short English texts on any machine",
        arch={"name": "static_text", "pieces": len(codes), "width": codes.shape[1]},
        preprocess=[{"tokenize": {"max_length": MAX_LENGTH, "lowercase": True}}],
        license="Apache-2.0",
        head=None,
        files=files,
    )
    spec = replace(
        spec,
        source={"distilled_from": "all-MiniLM-L6-v2 (Apache-2.0)", "trained_on": taught_by,
                "recipe": "recipes/sentences/pretrain.py", "metrics": metrics},
    )  # fmt: skip
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    state = weights.state_of(backbone)
    # Lengths of a text's vector do not matter, and weights around 1 are what an optimizer's steps are made for.
    state |= {"table.codes": pack(codes), "table.weight": (size / size.mean()).astype(np.float32)}
    weights.give(backbone, state, what="the student")
    backbone.eval()
    steps = preprocessor.build(spec.preprocess, (), files)
    given = golden.example(tasks.kind(spec.task).inputs)
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec, labels=(), backbone=backbone, head_state={}, preprocessor=steps, files=files,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, golden.answer(Network(backbone, paddle.nn.Identity()), steps, given)),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--answers", type=Path, required=True, help="where the teacher's answers are kept")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pieces", type=int, default=PIECES)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pretrain(
        given.output,
        given.answers,
        steps=given.steps,
        pieces=given.pieces,
        width=given.width,
        seed=given.seed,
    )
