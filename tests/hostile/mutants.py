"""Files that were good once: a few bytes flipped, cut, doubled, moved, or taken from another one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

# bytes that mean something to a pickle, to JSON, or to a length
TELLING = (
    b'.()]}tusaeRbhjqrcNCBXTUGJKM"{[:,0-9 \\\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8e\x93\x94\x95\x00\x7f\xff'
)


def mutants(originals: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` mutants of the originals, the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _mutate(mutant, originals, chance)
        yield bytes(mutant)


def overwrite(path: Path, data: bytes) -> None:
    """Give a file other bytes. To truncate it first would make some filesystems write it out each time."""
    path.touch()
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def _mutate(mutant: bytearray, originals: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(mutant) + 1)
    length = chance.choice((1, 1, 2, 4, 8, chance.randrange(1, 200)))
    match chance.randrange(7):
        case 0 if at < len(mutant):
            mutant[at] ^= 1 << chance.randrange(8)
        case 1:
            mutant[at : at + 1] = bytes([chance.choice(TELLING)])
        case 2:
            mutant[at:at] = bytes([chance.choice(TELLING)])
        case 3:
            del mutant[at : at + length]
        case 4:
            mutant[at:at] = mutant[at : at + length]
        case 5:
            mutant[at : at + length] = chance.randbytes(length)
        case _:
            other = chance.choice(originals)
            start = chance.randrange(len(other))
            mutant[at : at + length] = other[start : start + length]
