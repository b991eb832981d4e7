"""Pickles that run code, fill the memory, or never end; and pieces to write more of them with.

`RUNS_CODE` really does what its names say when Python's own pickle loads it: each leaves the file CANARY behind.
`BOMBS` are small and unfold. `WRONG` is what a weights file must not be, for one reason or another. The values of
the last two tables are (the file, what the refusal says).
"""

from __future__ import annotations

import struct

CANARY = "code-ran-here"
COMMAND = f"echo ran > {CANARY}"
PYTHON = f"open('{CANARY}', 'w').close()"

PROTOCOL_2, PROTOCOL_4 = b"\x80\x02", b"\x80\x04"
STOP, MARK, REDUCE, BUILD, MEMOIZE = b".", b"(", b"R", b"b", b"\x94"
TUPLE, TUPLE1, TUPLE2, TUPLE3 = b"t", b"\x85", b"\x86", b"\x87"
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
EMPTY_LIST, EMPTY_DICT, EMPTY_TUPLE, SETITEM, APPEND = b"]", b"}", b")", b"s", b"a"


def text(value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) < 256:
        return b"\x8c" + bytes([len(encoded)]) + encoded
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def get(index: int) -> bytes:
    return b"h" + bytes([index])


def name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def sequence(*values: bytes) -> bytes:
    return MARK + b"".join(values) + TUPLE


def mapping(items: dict[str, bytes]) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + sequence(*arguments) + REDUCE


def dtype_state(order: str = "<", names: bytes = NONE) -> bytes:
    return sequence(integer(3), text(order), NONE, names, NONE, integer(-1), integer(-1), integer(0)) + BUILD


def dtype(code: str = "f4", order: str = "<") -> bytes:
    return call(name("numpy", "dtype"), text(code), FALSE, TRUE) + dtype_state(order)


def array(
    values: bytes = b"\0\0\x80?",
    *,
    shape: bytes | None = None,
    kind: bytes | None = None,
    module: str = "numpy._core.multiarray",
    raw: bytes | None = None,
) -> bytes:
    """A float32 array as numpy pickles it, with any part exchanged."""
    empty = call(name(module, "_reconstruct"), name("numpy", "ndarray"), integer(0) + TUPLE1, data(b"b"))
    shape = sequence(integer(len(values) // 4)) if shape is None else shape
    state = sequence(integer(1), shape, kind or dtype(), FALSE, raw or data(values))
    return empty + state + BUILD


def pickled(*program: bytes, protocol: bytes = PROTOCOL_4) -> bytes:
    return protocol + b"".join(program) + STOP


def state_dict(**values: bytes) -> bytes:
    return pickled(mapping(values))


EVAL = name("builtins", "eval")
IMPORT_OS = f"__import__('os').system('{COMMAND}')"

RUNS_CODE = {
    "os.system": pickled(call(name("os", "system"), text(COMMAND))),
    "posix.system by GLOBAL": pickled(b"cposix\nsystem\n", text(COMMAND), TUPLE1, REDUCE, protocol=PROTOCOL_2),
    "os.system beside a weight": state_dict(weight=array(), bias=call(name("os", "system"), text(COMMAND))),
    "os.system deep inside": state_dict(a=mapping({"b": mapping({"c": call(name("os", "system"), text(COMMAND))})})),
    "subprocess.call": pickled(call(name("subprocess", "call"), text(COMMAND), integer(-1), NONE, NONE, NONE, NONE,
                                    NONE, TRUE, TRUE)),
    "eval of code": pickled(call(EVAL, text(IMPORT_OS))),
    "eval of code with data": pickled(call(EVAL, text(IMPORT_OS), mapping({"data": array()}))),
    "eval of data made by a call": pickled(call(EVAL, text("data"), mapping({"data": call(name("os", "system"),
                                                                                          text(COMMAND))}))),
    "eval in protocol 2": pickled(b"c__builtin__\neval\n", text(IMPORT_OS), TUPLE1, REDUCE, protocol=PROTOCOL_2),
    "exec": pickled(call(name("builtins", "exec"), text(PYTHON))),
    "INST": pickled(MARK, text(COMMAND), b"ios\nsystem\n", protocol=PROTOCOL_2),
    "OBJ": pickled(MARK, name("os", "system"), text(COMMAND), b"o"),
    "NEWOBJ": pickled(name("subprocess", "Popen"), EMPTY_TUPLE, b"\x81", NONE,
                      mapping({}), TUPLE2, BUILD, call(name("os", "system"), text(COMMAND)), TUPLE2),
    "NEWOBJ_EX": pickled(name("collections", "OrderedDict"), EMPTY_TUPLE, EMPTY_DICT, b"\x92",
                         call(name("os", "system"), text(COMMAND)), TUPLE2),
    "numpy's Fortran evaluator": pickled(call(name("numpy.f2py.crackfortran", "myeval"), text(IMPORT_OS))),
    "numpy's test runner": pickled(call(name("numpy.testing", "runstring"), text(PYTHON), mapping({}))),
    "getattr chain": pickled(call(call(name("builtins", "getattr"), call(name("builtins", "__import__"), text("os")),
                                       text("system")), text(COMMAND))),
    "dotted name": pickled(call(name("shutil", "os.system"), text(COMMAND))),
    "a pickle in the pickle": pickled(call(name("_pickle", "loads"), data(pickled(call(name("os", "system"),
                                                                                       text(COMMAND)))))),
    "code after a popped weight": pickled(array(), b"0", call(name("os", "system"), text(COMMAND))),
}  # fmt: skip


def _doubled(container: bytes, join: bytes) -> bytes:
    """Forty levels, each of them the one below it twice: 2**40 paths in a few hundred bytes."""
    program = container + b"".join(b"q" + bytes([level]) + get(level) + join for level in range(40))
    return pickled(program, protocol=PROTOCOL_2)


def _many(piece: bytes, times: int) -> bytes:
    return pickled(EMPTY_LIST, MARK, piece * times, b"e")


BOMBS = {
    "memo of 2**31": (pickled(EMPTY_LIST, b"r\xff\xff\xff\x7f", protocol=PROTOCOL_2), "memo of 2,147,483,647"),
    "frame of 2**62": (pickled(b"\x95", struct.pack("<Q", 2**62), NONE), "frame of 4,611,686"),
    "bytes of 2**40": (pickled(b"\x8e", struct.pack("<Q", 2**40)), "promises 1,099,511,627,776 bytes"),
    "bytes of 2**31": (pickled(b"B", struct.pack("<I", 2**31)), "promises 2,147,483,648 bytes"),
    "text of 2**40": (pickled(b"\x8d", struct.pack("<Q", 2**40)), "promises 1,099,511,627,776 bytes"),
    "string of -1": (pickled(b"T", struct.pack("<i", -1), protocol=PROTOCOL_2), "promises 4,294,967,295 bytes"),
    "integer of 2**31 bytes": (pickled(b"\x8b", struct.pack("<I", 2**31)), "LONG4"),
    "array of 2**40": (state_dict(w=array(shape=sequence(integer(2**40)))), "fills an array of shape"),
    "array of 0 by 2**60": (state_dict(w=array(b"", shape=sequence(integer(0), integer(2**60)))), "impossible shape"),
    "array of 40 axes": (state_dict(w=array(shape=sequence(*[integer(1)] * 40))), "impossible shape"),
    "array by its constructor": (pickled(call(name("numpy", "ndarray"), integer(2**40) + TUPLE1)), "calls ndarray"),
    "bytes by their constructor": (pickled(call(name("__builtin__", "bytes"), integer(2**40))), "calls bytes"),
    "tuple of tuples": (_doubled(EMPTY_TUPLE, TUPLE2), "unfolds to more than 8 levels"),
    "dict of dicts": (
        pickled(MARK, EMPTY_DICT, *(
            b"q" + bytes([i]) + EMPTY_DICT + b"".join(text(key) + get(i) + SETITEM for key in "ab") for i in range(40)
        ), TUPLE, protocol=PROTOCOL_2),
        "unfolds to more than 8 levels",
    ),
    "list of tuples": (_doubled(EMPTY_LIST, TUPLE2), "unfolds to more than 8 levels"),
    "wide tuple of tuples": (
        pickled(MARK, NONE, *(b"q" + bytes([i]) + sequence(*[get(i)] * 200) for i in range(6)), TUPLE,
                protocol=PROTOCOL_2),
        "unfolds to more than 8 levels",
    ),
    "tuple of tuples as a key": (
        pickled(EMPTY_DICT, _doubled(EMPTY_TUPLE, TUPLE2)[2:-1], NONE, SETITEM, protocol=PROTOCOL_2),
        "dict key",
    ),
    "integers that collide as keys": (
        pickled(EMPTY_DICT, MARK, *(integer(i * (2**61 - 1)) + NONE for i in range(1, 30_000)), b"u"),
        "dict key",
    ),
    "list in itself": (pickled(EMPTY_LIST, MEMOIZE, get(0), APPEND), "unfolds to more than 8 levels"),
    "dict in itself": (pickled(EMPTY_DICT, MEMOIZE, text("a"), get(0), SETITEM), "unfolds to more than 8 levels"),
    "100,000 lists in one another": (pickled(EMPTY_LIST * 100_000, APPEND * 99_999), "unfolds to more than 8 levels"),
    "200,000 marks": (pickled(MARK * 200_000), "containers at once"),
    "2,000,000 dicts": (_many(EMPTY_DICT, 2_000_000), "instructions"),
    "one byte string as 5,000 arrays": (
        pickled(data(bytes(80_000)), MEMOIZE, TUPLE1, EMPTY_LIST, MARK,
                array(raw=get(0), shape=sequence(integer(20_000))) * 5_000, b"e", TUPLE2),
        "unfolds to more than twice",
    ),
    "one text encoded 100,000 times": (
        pickled(name("_codecs", "encode"), MEMOIZE, text("x" * 60_000), text("latin1"), TUPLE2, MEMOIZE, EMPTY_LIST,
                MARK, (get(0) + get(1) + REDUCE) * 100_000, b"e", TUPLE3),
        "unfolds to more than twice",
    ),
    "one array under 100,000 names": (
        pickled(array(bytes(40_000)), MEMOIZE, EMPTY_LIST, MARK, get(0) * 100_000, b"e", TUPLE2),
        "unfolds to more than eight times",
    ),
    "a list copied 100,000 times": (
        pickled(name("builtins", "tuple"), MEMOIZE, EMPTY_LIST, MARK, NONE * 20_000, b"e", TUPLE1, MEMOIZE, EMPTY_LIST,
                MARK, (get(0) + get(1) + REDUCE) * 100_000, b"e", TUPLE3),
        "calls tuple",
    ),
    "text that grows when decoded": (
        pickled(b"X", struct.pack("<I", 4_000_004), b"a" * 4_000_000, "\U0001f600".encode(), protocol=PROTOCOL_2),
        "damaged",
    ),
}  # fmt: skip

_ENCODE = name("_codecs", "encode")
WRONG = {
    "an empty file": (b"", "ends in the middle"),
    "a web page": (b"<!DOCTYPE html><html>not found</html>", "expected a pickle"),
    "a zip": (b"PK\x03\x04" + bytes(60), "expected a pickle"),
    "protocol 0": (b"(dp0\n.", "expected a pickle"),
    "protocol 1": (b"}.", "expected a pickle"),
    "protocol 5": (b"\x80\x05}.", "expected a pickle"),
    "a truncated file": (state_dict(w=array())[:-9], "ends in the middle"),
    "a second pickle behind": (state_dict(w=array()) + RUNS_CODE["os.system"], "follow the end"),
    "two values": (pickled(NONE, NONE), "does not end with one value"),
    "an open mark": (pickled(NONE, MARK), "does not end with one value"),
    "nothing on the stack": (pickled(APPEND), "damaged"),
    "a memo never set": (pickled(get(7)), "damaged"),
    "text that is not UTF-8": (pickled(b"\x8c\x01\xff"), "damaged"),
    "PERSID": (pickled(b"Pabc\n", protocol=PROTOCOL_2), "PERSID"),
    "BINPERSID": (pickled(text("abc"), b"Q"), "BINPERSID"),
    "EXT1": (pickled(b"\x82\x01"), "EXT1"),
    "EXT2": (pickled(b"\x83\x01\x00"), "EXT2"),
    "EXT4": (pickled(b"\x84\x01\x00\x00\x00"), "EXT4"),
    "DUP": (pickled(NONE, b"2", TUPLE2), "DUP"),
    "a set": (pickled(b"\x8f"), "EMPTY_SET"),
    "an out-of-band buffer": (pickled(b"\x97"), "NEXT_BUFFER"),
    "no instruction at all": (pickled(b"\xff"), "unknown (0xff)"),
    "pip.main": (pickled(call(name("pip", "main"), sequence(text("--version")))), "asks for pip.main"),
    "numpy.load": (pickled(call(name("numpy", "load"), text("x.npy"), NONE, TRUE)), "asks for numpy.load"),
    "numpy.fromfile": (pickled(call(name("numpy", "fromfile"), text("/etc/passwd"))), "asks for numpy.fromfile"),
    "a method of ndarray": (pickled(call(name("numpy", "ndarray.tofile"), array(), text(CANARY))), "ndarray.tofile"),
    "a look-alike of builtins": (pickled(name("built\u0456ns", "eval")), "asks for built\\u0456ns.eval"),
    "a name with control characters": (pickled(name("os\x1b[2J", "system")), "asks for os\\x1b[2J.system"),
    "a name that is a number": (pickled(integer(1), integer(2), b"\x93"), "no text"),
    "a random generator": (pickled(name("paddle.base.libpaddle", "GeneratorState")), "GeneratorState"),
    "a paddle.dtype": (state_dict(w=array(), d=call(name("paddle", "dtype"), integer(5))), "asks for paddle.dtype"),
    "a class as a weight": (state_dict(w=name("numpy", "ndarray")), "found Name where weights have arrays"),
    "raw bytes as a weight": (state_dict(w=data(b"abc")), "found bytes where weights have arrays"),
    "a dtype as a weight": (state_dict(w=dtype()), "found PickledDType where weights have arrays"),
    "an array without state": (
        state_dict(w=call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"),
                          integer(0) + TUPLE1, data(b"b"))),
        "found PickledArray where weights have arrays",
    ),
    "an array of another class": (
        pickled(call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "dtype"), integer(0) + TUPLE1,
                     data(b"b"))),
        "calls reconstruct",
    ),
    "an array of another first shape": (
        pickled(call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), integer(2**40) + TUPLE1,
                     data(b"b"))),
        "calls reconstruct",
    ),
    "eval with another expression": (pickled(call(EVAL, text("-data"), mapping({"data": array()}))), "calls eval"),
    "eval with more variables": (
        pickled(call(EVAL, text("data"), mapping({"data": array(), "more": array()}))), "calls eval",
    ),
    "eval with other data": (pickled(call(EVAL, text("data"), mapping({"data": text("1")}))), "calls eval"),
    "eval with locals": (
        pickled(call(EVAL, text("data"), mapping({"data": array()}), mapping({"data": array()}))), "calls eval",
    ),
    "eval of bytes": (pickled(call(EVAL, data(b"data"), mapping({"data": array()}))), "calls eval"),
    "OrderedDict with arguments": (
        pickled(call(name("collections", "OrderedDict"), EMPTY_LIST)), "calls OrderedDict",
    ),
    "encode by another codec": (pickled(call(_ENCODE, text("abc"), text("unicode_escape"))), "calls encode"),
    "encode with an error handler": (pickled(call(_ENCODE, text("abc"), text("latin1"), text("x"))), "calls encode"),
    "a call of an array": (pickled(call(array(), integer(1))), "calls PickledArray"),
    "a call without arguments": (pickled(EVAL, NONE, REDUCE), "without arguments"),
    "state of a dict": (pickled(EMPTY_DICT, mapping({"x": NONE}), BUILD), "sets the state of dict"),
    "state of a class": (pickled(name("numpy", "ndarray"), mapping({"x": NONE}), BUILD), "sets the state of Name"),
    "attributes for an array": (pickled(array(), mapping({"x": NONE}), BUILD), "sets the state of PickledArray"),
    "a second state of an array": (
        pickled(array(), sequence(integer(1), EMPTY_TUPLE, dtype(), FALSE, data(bytes(4))), BUILD),
        "sets the state of PickledArray",
    ),
    "a second state of a dtype": (
        pickled(dtype(), dtype_state(">")),
        "sets the state of PickledDType",
    ),
    "a dtype of fields": (
        pickled(call(name("numpy", "dtype"), text("f4"), FALSE, TRUE), dtype_state(names=sequence(text("a")))),
        "sets the state of PickledDType",
    ),
    "an array of objects": (state_dict(w=array(kind=dtype("O8", "|"))), "calls dtype"),
    "an array of text": (state_dict(w=array(kind=dtype("U1"))), "calls dtype"),
    "an array of dates": (state_dict(w=array(kind=dtype("M8"))), "calls dtype"),
    "an array from a list": (state_dict(w=array(raw=EMPTY_LIST)), "fills an array with list"),
    "an array with too little data": (state_dict(w=array(bytes(8), shape=sequence(integer(3)))), "with 8 bytes"),
    "an array of negative length": (state_dict(w=array(shape=sequence(integer(-1)))), "impossible shape"),
    "an array of true length": (state_dict(w=array(shape=sequence(TRUE))), "impossible shape"),
    "a boolean of 2": (
        state_dict(w=array(b"\2", shape=sequence(integer(1)), kind=dtype("b1", "|"))), "neither true nor false",
    ),
    "a key twice": (pickled(EMPTY_DICT, MARK, text("a"), NONE, text("a"), array(), b"u"), "key a twice"),
    "a key that is an array": (pickled(EMPTY_DICT, array(), NONE, SETITEM), "a dict key"),
    "items of a list": (pickled(EMPTY_LIST, text("a"), NONE, SETITEM), "what is no dict"),
    "a dict that is appended to": (pickled(EMPTY_DICT, NONE, APPEND), "what is no list"),
    "split arrays that are not there": (
        state_dict(**{"UnpackBigParamInfor@@": mapping({"w": mapping({
            "OriginShape": sequence(integer(1)), "slices": EMPTY_LIST + text("w@@.0") + APPEND})})}),
        "do not fit together",
    ),
    "split arrays that overlap": (
        state_dict(**{"w@@.0": array(), "UnpackBigParamInfor@@": mapping({"w": mapping({
            "OriginShape": sequence(integer(2)),
            "slices": EMPTY_LIST + MARK + text("w@@.0") * 2 + b"e"})})}),
        "do not fit together",
    ),
    "split arrays without shape": (state_dict(**{"UnpackBigParamInfor@@": mapping({"w": NONE})}), "was split"),
}  # fmt: skip

ALL = {**{key: (value, "") for key, value in RUNS_CODE.items()}, **BOMBS, **WRONG}
