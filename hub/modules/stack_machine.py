"""The stack machine that a pickle is a program for, without any of the ways in which it could act.

It runs the instructions that build numbers, text, bytes and plain containers, in protocols 2 to 4. What a name
means, what a call gives and what a state does is left to a subclass; by itself the machine refuses all three.
It reads each byte once, and time and memory are bounded by the size of the file: a length is compared with what
is left of the file before anything is made of that length, instructions are counted, containers cannot be deep.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader, FileIO
from typing import NoReturn

import numpy as np

from hub.errors import UnsafeFileError

MOST_STEPS = 250_000  # instructions, and one more for every 32 bytes of the file; an array takes about 25
MOST_MARKS = 64  # lists, tuples and dicts that are being filled at one time
LONG = (
    64 * 1024
)  # bytes beyond which data is read straight into an array, and text can only be data in disguise

# Instructions that pickles of objects have and this machine does not, by the names in Python's documentation.
_REFUSED = {
    b"i": "INST", b"o": "OBJ", b"P": "PERSID", b"Q": "BINPERSID", b"\x81": "NEWOBJ", b"\x92": "NEWOBJ_EX",
    b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4", b"0": "POP", b"1": "POP_MARK", b"2": "DUP", b"d": "DICT",
    b"l": "LIST", b"\x8f": "EMPTY_SET", b"\x8b": "LONG4", b"\x96": "BYTEARRAY8", b"\x97": "NEXT_BUFFER",
}  # fmt: skip


@dataclass(eq=False)
class LongBytes:
    """More than LONG bytes, in memory of their own."""

    data: np.ndarray


@dataclass(eq=False)
class LongText:
    """A text of more than LONG bytes whose characters all lie below U+0100, as the bytes of its Latin-1.

    Only protocol 2 has such text: it has no instruction for bytes and says `encode(text, "latin1")` instead.
    """

    latin1: np.ndarray


class StackMachine:
    """One run over one file: `run()` gives the value that is left at the end."""

    def __init__(self, file: BufferedReader[FileIO], *, path: str, size: int, hint: str) -> None:
        self.path = path
        self.size = size
        self.most_steps = MOST_STEPS + size // 32
        self._file = file
        self._hint = hint
        self._left = size
        self._at = 0  # where the present instruction starts
        self._stack: list[object] = []
        self._waiting: list[list[object]] = []  # the stacks below each open MARK
        self._memo: dict[int, object] = {}

    def find(self, module: str, name: str) -> object:
        """Give what stands for a name that the file asks for."""
        self.refuse(f"asks for {shown(f'{module}.{name}')}, which no weights need")

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        """Give the value of a call."""
        self.refuse(f"calls {type(function).__name__}")

    def build(self, target: object, state: object) -> None:
        """Set the state of a value."""
        self.refuse(f"sets the state of {type(target).__name__}")

    def refuse(self, why: str) -> NoReturn:
        raise UnsafeFileError(f"{self.path}: byte {self._at:,}: {why}", hint=self._hint)

    def run(self) -> object:
        if self._take(1) != b"\x80" or self._take(1) not in {b"\x02", b"\x03", b"\x04"}:
            self.refuse("expected a pickle of protocol 2, 3 or 4")
        try:
            for _ in range(self.most_steps):
                self._at = self.size - self._left
                code = self._take(1)
                if code == b".":
                    return self._stop()
                instruction = _INSTRUCTIONS.get(code)
                if instruction is None:
                    name = _REFUSED.get(code, "unknown")
                    self.refuse(f"asks for instruction {name} (0x{code[0]:02x}), which no weights need")
                instruction(self)
        except (IndexError, KeyError, UnicodeError) as error:
            # an empty stack, a memo that was never set, text that is none: the program takes what is not there
            self.refuse(f"damaged ({type(error).__name__})")
        self.refuse(f"takes more than {self.most_steps:,} instructions")

    def _stop(self) -> object:
        if self._left:
            self.refuse(f"{self._left:,} bytes follow the end")
        if self._waiting or len(self._stack) != 1:
            self.refuse("does not end with one value")
        return self._stack[0]

    # Reading

    def _take(self, count: int) -> bytes:
        """Read no more than LONG bytes."""
        data = self._file.read(count)
        if len(data) != count:
            self.refuse("ends in the middle of an instruction")
        self._left -= count
        return data

    def _take_long(self, count: int) -> np.ndarray:
        """Read bytes into memory of their own: one copy, and no map that a truncated file turns into a crash."""
        self._reserve(count)
        data = np.empty(count, np.uint8)
        if self._file.readinto(data.data) != count:
            self.refuse("became shorter while it was read")
        return data

    def _reserve(self, count: int) -> None:
        if count > self._left:
            self.refuse(f"promises {count:,} bytes where {self._left:,} are left")
        self._left -= count

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> str:
        line = self._file.readline(256)
        self._left -= len(line)
        return line.removesuffix(b"\n").decode("ascii")

    # Values

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _signed(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little", signed=True)

    def _bytes(self, width: int) -> bytes | LongBytes:
        count = self._number(width)
        return self._take(count) if count <= LONG else LongBytes(self._take_long(count))

    def _text(self, width: int) -> str | LongText:
        count = self._number(width)
        if count <= LONG:
            return self._take(count).decode("utf-8")
        self._reserve(count)
        decoder, latin1 = codecs.getincrementaldecoder("utf-8")(), bytearray()
        for start in range(
            0, count, LONG
        ):  # piece by piece: text beyond Latin-1 could take four times its bytes
            piece = self._file.read(min(LONG, count - start))
            latin1 += decoder.decode(piece, final=start + LONG >= count).encode("latin1")
        return LongText(np.frombuffer(latin1, np.uint8))

    def _python2_string(self, width: int) -> str | LongBytes:
        """Text or bytes, Python 2 did not say which: text by Latin-1 keeps every byte."""
        count = self._number(width)
        return self._take(count).decode("latin1") if count <= LONG else LongBytes(self._take_long(count))

    # Containers

    def _mark(self) -> None:
        if len(self._waiting) >= MOST_MARKS:
            self.refuse(f"fills more than {MOST_MARKS} containers at once")
        self._waiting.append(self._stack)
        self._stack = []

    def _pop(self, count: int | None = None) -> list[object]:
        """Take that many values off the stack, or all above the last MARK."""
        if count is not None:
            return [self._stack.pop() for _ in range(count)][::-1]
        items = self._stack
        self._stack = self._waiting.pop()
        return items

    def _append(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            self.refuse("appends to what is no list")
        target.extend(items)

    def _set(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            self.refuse("sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # To hash nested tuples, or many integers that were chosen to collide, can take for ever.
            if not (type(key) is str or (type(key) is int and abs(key) < 2**31)):
                self.refuse(f"a dict key that is neither text nor a small integer: {type(key).__name__}")
            if key in target:
                self.refuse(f"the dict key {shown(str(key))} twice")
            target[key] = value

    def _remember(self, index: int) -> None:
        if index > self.most_steps:
            self.refuse(f"sets a memo of {index:,} values")
        self._memo[index] = self._stack[-1]

    def _frame(self) -> None:
        length = self._number(8)
        if length > self._left:
            self.refuse(f"promises a frame of {length:,} bytes where {self._left:,} are left")

    # Names, calls and states

    def _find(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            self.refuse("asks for a name that is no text")
        self._push(self.find(module, name))

    def _call(self) -> None:
        function, arguments = self._pop(2)
        if not isinstance(arguments, tuple):
            self.refuse("a call without arguments")
        self._push(self.call(function, arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        self.build(self._stack[-1], state)


def shown(text: str) -> str:
    """Give text from a file in a form that is short and harmless on a terminal."""
    return ascii(text[:80])[1:-1]


_M = StackMachine
_INSTRUCTIONS: dict[bytes, Callable[[StackMachine], None]] = {
    b"\x95": _M._frame,
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"K": lambda m: m._push(m._number(1)),
    b"M": lambda m: m._push(m._number(2)),
    b"J": lambda m: m._push(m._signed(4)),
    b"\x8a": lambda m: m._push(m._signed(m._number(1))),
    b"G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
    b"C": lambda m: m._push(m._bytes(1)),
    b"B": lambda m: m._push(m._bytes(4)),
    b"\x8e": lambda m: m._push(m._bytes(8)),
    b"\x8c": lambda m: m._push(m._text(1)),
    b"X": lambda m: m._push(m._text(4)),
    b"\x8d": lambda m: m._push(m._text(8)),
    b"U": lambda m: m._push(m._python2_string(1)),
    b"T": lambda m: m._push(m._python2_string(4)),
    b"(": _M._mark,
    b")": lambda m: m._push(()),
    b"]": lambda m: m._push([]),
    b"}": lambda m: m._push({}),
    b"\x85": lambda m: m._push(tuple(m._pop(1))),
    b"\x86": lambda m: m._push(tuple(m._pop(2))),
    b"\x87": lambda m: m._push(tuple(m._pop(3))),
    b"t": lambda m: m._push(tuple(m._pop())),
    b"a": lambda m: m._append(m._pop(1)),
    b"e": lambda m: m._append(m._pop()),
    b"s": lambda m: m._set(m._pop(2)),
    b"u": lambda m: m._set(m._pop()),
    b"\x94": lambda m: m._remember(len(m._memo)),
    b"q": lambda m: m._remember(m._number(1)),
    b"r": lambda m: m._remember(m._number(4)),
    b"h": lambda m: m._push(m._memo[m._number(1)]),
    b"j": lambda m: m._push(m._memo[m._number(4)]),
    b"c": lambda m: m._find(m._line(), m._line()),
    b"\x93": lambda m: m._find(*m._pop(2)),
    b"R": _M._call,
    b"b": _M._build,
}
