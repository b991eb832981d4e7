"""Sentences to learn from, made of what is installed: docstrings of packages, and words put together at random.

`library` are the docstrings of Python's own standard library: they are kept apart, to measure on.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

PACKAGES = (
    "numpy", "scipy", "sklearn", "sympy", "networkx", "torch", "transformers", "huggingface_hub",
    "sentence_transformers", "jinja2",
)  # fmt: skip
"""What sentence-transformers needs, and so whoever has the teacher."""

SHORTEST, LONGEST = 15, 240
"""Characters of a sentence."""
LETTERS = 0.85
"""The least share of letters and spaces: less is code or a table."""

FRAMES = """{} and {}|the {} of the {}|a {} for every {}|we {} the {} yesterday|they will {} it tomorrow
she likes {} , he likes {}|I think this is {}|it was {} , then it was {}|so {} and so {} !
too {} for us|not {} at all|never {} , always {}|is it {} or {} ?|where can I buy a {} ?
how do you {} a {} ?|my {} is {}|your {} looks {}|their {} became {}|our {} {} in the {}
a {} {} with {} {}|the {} {} is about {}|a report on {} and {}|{} in {}|{} from {}|{} without {}
he works as a {} in {}|she studied {} at {}|in the {} there was a {}|the {} said that {} is {}
people who {} are {}|this {} makes me feel {}|we were {} with the {}|I would {} this {} again
I will not {} that {} again|please {} the {}|do not {} the {}|there are many {} in this {}
nothing but {} and {}|everything felt {} and {}|the best {} ever|the worst {} ever|more {} than {}
as {} as a {}|{} news about {}|the history of {}|an {} of {} and {}|on monday the {} was {}
two {} and three {}|the old {} , the young {}|when the {} is {} , {}|because of the {}
thank you for the {}|{} , {} , {}|{} {}|{} {} {}|you can {} with a {}|they {} their {} in {}
it tastes {}|it sounds {}|it looks {} and {}|a very {} {}|it is a kind of {}|{} is used to {}
which {} do you prefer , {} or {} ?|what is {} ?|who is {} ?|I am {}|we are so {} today"""
"""Everyday phrases around random words, between bars or line ends: docstrings alone are about computing."""


def docstrings(package: str) -> list[str]:
    """Give the sentences of a package's docstrings, each once, sorted. Raises FileNotFoundError without the package."""
    root = Path(sysconfig.get_paths()["purelib"], package)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: {package} is not installed")
    return sorted({sentence for path in sorted(root.rglob("*.py")) for sentence in _sentences_of(path)})


def library() -> dict[str, list[str]]:
    """Give the sentences of the standard library's docstrings by module, each list sorted."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"} & set(parts):
            found.setdefault(parts[0].removesuffix(".py"), set()).update(_sentences_of(path))
    return {module: sorted(sentences) for module, sentences in sorted(found.items()) if sentences}


def strung(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Give `count` rows of 2 to 12 random words, which `words` has by falling frequency."""
    return [" ".join(_draw(words, int(rng.integers(2, 13)), rng)) for _ in range(count)]


def framed(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Give `count` everyday phrases with random words in them."""
    frames = FRAMES.replace("\n", "|").split("|")
    chosen = [frames[n] for n in rng.integers(0, len(frames), count)]
    return [frame.format(*_draw(words, frame.count("{}"), rng)) for frame in chosen]


def mixed(sentences: Sequence[str], words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Give the sentences with every second of their longer words replaced by a random one."""

    def another(match: re.Match[str]) -> str:
        return words[int(rng.integers(len(words)))] if rng.random() < 0.5 else match[0]

    return [re.sub(r"[A-Za-z]{4,}", another, sentence) for sentence in sentences]


def _draw(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Give random words, half of them drawn by frequency (Zipf's law), half of them evenly."""
    evenly = rng.integers(0, len(words), count)
    by_rank = (len(words) ** rng.random(count)).astype(int) - 1
    return [words[n] for n in np.where(rng.random(count) < 0.5, evenly, by_rank)]


def _sentences_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8", errors="ignore"))
    except (SyntaxError, ValueError, RecursionError):  # templates and files of other Python versions
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _sentences(ast.get_docstring(node) or "")


def _sentences(doc: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", doc):
        if any(mark in paragraph for mark in (">>>", "----", "====")):
            continue
        text = " ".join(re.sub(r"``?|:\w+:", "", paragraph).split())
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text):
            letters = sum(character.isalpha() or character == " " for character in sentence)
            if SHORTEST <= len(sentence) <= LONGEST and letters > LETTERS * len(sentence):
                yield sentence
