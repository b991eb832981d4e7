"""Safetensors files whose header lies, and plain ones. Values: the file, and what the refusal says ("" if none)."""

from __future__ import annotations

import json
import struct


def packed(header: bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(start: int, end: int, shape: list | None = None, dtype: str = "F32", **more: object) -> dict:
    return {
        "dtype": dtype,
        "shape": [(end - start) // 4] if shape is None else shape,
        "data_offsets": [start, end],
        **more,
    }


def of(data: bytes = bytes(8), **tensors: object) -> bytes:
    return packed(json.dumps(tensors).encode(), data)


A = json.dumps(tensor(0, 8)).encode()
NAN = json.dumps(tensor(0, 8, [float("nan")])).encode()

HOSTILE = {
    "empty": (b"", "expected a header of 0 bytes, found a file of 0"),
    "shorter than a length": (b"\0" * 7, "found a file of 7"),
    "no header": (packed(b""), "starts with '{', found ''"),
    "a pickle": (b"\x80\x04" + bytes(40), "expected a header"),
    "a web page": (b"<!DOCTYPE html><html></html>", "expected a header of"),
    "a header longer than the file": (packed(b'{"a":1}', length=1000), "a header of 1,000 bytes, found a file of 23"),
    "a header of 2**63": (packed(b'{"a":1}', length=2**63), "a header of 9,223"),
    "a header of 2**64 - 1": (packed(b'{"a":1}', length=2**64 - 1), "a header of 18,446"),
    "a huge header": (packed(b"{" + b" " * 9 * 2**20 + b"}"), "at most 8,388,608 bytes"),
    "a leading blank": (packed(b' {"a":' + A + b"}"), "starts with '{', found ' '"),
    "a leading byte order mark": (packed(b'\xef\xbb\xbf{"a":' + A + b"}"), "starts with '{'"),
    "a list": (packed(b"[]"), "starts with '{', found '['"),
    "half a header": (packed(b'{"a":' + A), "in JSON"),
    "two headers": (packed(b"{}{}", b""), "in JSON"),
    "a NUL behind the header": (packed(b"{}\0", b""), "in JSON"),
    "not UTF-8": (packed(b'{"\xff":' + A + b"}"), "in JSON"),
    "half a surrogate pair": (packed(b'{"\\ud800":' + A + b"}"), "in JSON"),
    "a tensor twice": (packed(b'{"a":' + A + b',"a":' + A + b"}"), "the key 'a' stands twice"),
    "70,000 names and one twice": (
        packed(b"{" + b"".join(b'"%d":0,' % i for i in range(70_000)) + b'"69999":0}'), "the key '69999' stands twice",
    ),
    "offsets twice": (packed(b'{"a":' + A[:-1] + b',"data_offsets":[0,4]}}'), "the key 'data_offsets' stands twice"),
    "deep JSON": (packed(b'{"a":' * 100_000), "in JSON"),
    "deep lists": (packed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "in JSON"),
    "a deep shape": (of(a={"dtype": "F32", "shape": [[[[[0]]]]], "data_offsets": [0, 8]}), "found 'a list'"),
    "a number of 5,000 digits": (packed(b'{"a":' + b"9" * 5_000 + b"}"), "in JSON"),
    "an overlap": (of(a=tensor(0, 8), b=tensor(4, 8)), "'b': overlaps tensor 'a'"),
    "the same bytes twice": (of(a=tensor(0, 8), b=tensor(0, 8)), "'b': overlaps tensor 'a'"),
    "a hole": (of(bytes(12), a=tensor(0, 4), b=tensor(8, 12)), "'b': leaves a hole after tensor 'a'"),
    "a hole at the start": (of(a=tensor(4, 8)), "'a': leaves a hole after the header"),
    "trailing bytes": (of(bytes(9), a=tensor(0, 8)), "bytes that belong to no tensor"),
    "a zip behind": (of(bytes(8) + b"PK\x05\x06" + bytes(18), a=tensor(0, 8)), "bytes that belong to no tensor"),
    "data and no tensors": (packed(b"{}"), "bytes that belong to no tensor"),
    "cut short": (of(bytes(7), a=tensor(0, 8)), "cut short"),
    "an empty tensor in a tensor": (of(a=tensor(0, 8), z=tensor(4, 4, [0])), "'z': overlaps tensor 'a'"),
    "an unknown type": (of(a=tensor(0, 8, dtype="F31")), "expected one of the types BOOL"),
    "a type of half bytes": (of(a=tensor(0, 8, dtype="F4")), "expected one of the types BOOL"),
    "a type that is no text": (of(a=tensor(0, 8, dtype=None)), "expected dtype, shape and"),  # type: ignore[arg-type]
    "a shape that is too large": (of(a=tensor(0, 8, [3])), "expected 12 bytes for F32 [3], found 8"),
    "a shape that is too small": (of(a=tensor(0, 8, [1])), "expected 4 bytes for F32 [1], found 8"),
    "a shape that overflows to 8": (of(a=tensor(0, 8, [2**62 + 2])), "expected sizes and offsets"),
    "a product that overflows to 8": (of(a=tensor(0, 8, [2**32 + 1, 2**32 - 2])), "expected a possible shape"),
    "0 by 2**61 by 2**61": (of(a=tensor(0, 0, [0, 2**61, 2**61])), "expected a possible shape"),
    "33 axes": (of(a=tensor(0, 4, [1] * 33)), "expected a possible shape"),
    "a negative axis": (of(a=tensor(0, 8, [-2])), "found '-2'"),
    "a fraction of an axis": (of(a=tensor(0, 8, [2.0])), "found 'a float'"),
    "an axis that is true": (of(bytes(4), a=tensor(0, 4, [True])), "found 'True'"),
    "an axis that is no number": (packed(b'{"a":' + NAN + b"}"), "found 'a float'"),
    "an axis of text": (of(a=tensor(0, 8, ["2"])), "found 'a str'"),
    "a negative offset": (of(a=tensor(-8, 0, [2])), "found '-8'"),
    "offsets that overflow": (of(a=tensor(0, 2**64 + 8, [2])), "expected sizes and offsets"),
    "offsets in reverse": (of(a=tensor(8, 0, [2])), "expected 8 bytes for F32 [2], found -8"),
    "three offsets": (of(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}), "expected dtype, shape and"),
    "a key too many": (of(a=tensor(0, 8, more=1)), "and nothing else"),
    "a key too few": (of(a={"dtype": "F32", "data_offsets": [0, 8]}), "expected dtype, shape and"),
    "a tensor that is a list": (of(a=[]), "expected dtype, shape and"),
    "metadata that is a list": (of(b"", __metadata__=[]), "expected __metadata__"),
    "metadata that is a number": (of(b"", __metadata__={"a": 1}), "expected __metadata__"),
    "nested metadata": (of(b"", __metadata__={"a": {"b": "c"}}), "expected __metadata__"),
    "a name with control characters": (of(**{"\x1b[2J": 1}), "tensor '\\x1b[2J'"),
}  # fmt: skip

PLAIN = {
    "no tensors": packed(b"{}", b""),
    "padded with blanks": packed(b'{"a":' + A + b"}       "),
    "in another order": of(bytes(12), b=tensor(4, 12), a=tensor(0, 4)),
    "empty tensors": of(
        x=tensor(0, 0, [0]), a=tensor(0, 4), y=tensor(4, 4, [3, 0]), b=tensor(4, 8), z=tensor(8, 8, [0])
    ),
    "no axes": of(bytes(4), a=tensor(0, 4, [])),
    "metadata": of(a=tensor(0, 8), __metadata__={"format": "pd", "größe": "1"}),
    "a name in any script": of(**{"层.权重": tensor(0, 8)}),
}
