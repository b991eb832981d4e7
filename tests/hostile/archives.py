"""Archives that leave their folder, hide a member, unpack for ever, or are two things at once; and plain ones.

Every table maps a name to a Case: the file's ending and bytes, the error it must give ("" when it must be taken)
and what the message says.
"""

from __future__ import annotations

import bz2
import gzip
import struct
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

DATA = b"only data\n"


class Case(NamedTuple):
    ending: str
    data: bytes
    error: str = "UnsafeFileError"
    says: str = ""


# Tar


def header(
    name: bytes, size: int = 0, kind: bytes = b"0", link: bytes = b"", magic: bytes = b"ustar\x0000"
) -> bytes:
    """One block as POSIX lays it out, with whatever it is given."""
    numbers = b"0006777\x00" + b"0000000\x00" * 2 + b"%011o\x00" % size + b"00000000000\x00"
    block = name.ljust(100, b"\0") + numbers + b" " * 8 + kind + link.ljust(100, b"\0") + magic
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\x00 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def entry(name: bytes, data: bytes = DATA, kind: bytes = b"0", **more: bytes) -> bytes:
    return header(name, len(data), kind, **more) + padded(data)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length += 1
        data += b"%d" % length + body
    return entry(b"pax", data, kind)


def tar(*entries: bytes, end: bytes = bytes(1024)) -> bytes:
    return b"".join(entries) + end


def tgz(*entries: bytes) -> bytes:
    return gzip.compress(tar(*entries), 1, mtime=0)


# Zip


@dataclass
class Zipped:
    """A member of a zip, with whatever its two headers and its descriptor are to say instead of the truth."""

    name: bytes
    data: bytes = DATA
    deflate: bool = False
    flags: int = 0
    attributes: int = 0
    extra: bytes = b""
    local: dict[str, object] = field(default_factory=dict)
    central: dict[str, object] = field(default_factory=dict)
    descriptor: bytes = b""

    def __post_init__(self) -> None:
        self.packed = self.data
        if self.deflate:
            squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
            self.packed = squeeze.compress(self.data) + squeeze.flush()

    def truth(self) -> dict:
        return {
            "flags": self.flags, "method": 8 * self.deflate, "crc": zlib.crc32(self.data), "packed": len(self.packed),
            "size": len(self.data), "name": self.name, "extra": self.extra,
        }  # fmt: skip

    def local_part(self) -> bytes:
        says = self.truth() | self.local
        head = b"PK\x03\x04" + struct.pack("<H", 20) + self._common(says) + self._names(says)
        return head + self.packed + self.descriptor

    def central_part(self, offset: int) -> bytes:
        says = self.truth() | {"offset": offset, "attributes": self.attributes} | self.central
        tail = struct.pack("<3H2I", 0, 0, 0, says["attributes"], says["offset"])
        return b"PK\x01\x02" + struct.pack("<2H", 20, 20) + self._common(says) + tail + self._names(says)

    def _common(self, says: dict) -> bytes:
        numbers = [says[key] for key in ("crc", "packed", "size")]
        lengths = [len(says[key]) for key in ("name", "extra")]
        return struct.pack("<4H3I2H", says["flags"], says["method"], 0, 33, *numbers, *lengths)

    def _names(self, says: dict) -> bytes:
        return says["name"] + says["extra"]


def end_of_zip(number: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    return b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, number, number, size, offset, len(comment)) + comment


def end_of_zip64(number: int, size: int, offset: int, at: int, more: bytes = b"") -> bytes:
    record = struct.pack("<Q2H2I4Q", 44 + len(more), 45, 45, 0, 0, number, number, size, offset) + more
    return b"PK\x06\x06" + record + b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1)


def zipped(
    *members: Zipped,
    hidden: tuple[Zipped, ...] = (),
    comment: bytes = b"",
    prefix: bytes = b"",
    zip64: dict | None = None,
    small: tuple[int, int, int] | None = None,
) -> bytes:
    """A zip; `hidden` members are not in the central directory, `small` is what the last record says."""
    body, central = prefix, b""
    for member in (*members, *hidden):
        if member in members:
            central += member.central_part(len(body))
        body += member.local_part()
    numbers = (len(members), len(central), len(body))
    end = b""
    if zip64 is not None:
        end = end_of_zip64(**{"number": numbers[0], "size": numbers[1], "offset": numbers[2]} | zip64,
                           at=len(body) + len(central))  # fmt: skip
    return body + central + end + end_of_zip(*(small or numbers), comment)


def extra(kind: int, *values: int, raw: bytes = b"") -> bytes:
    data = raw or struct.pack(f"<{len(values)}Q", *values)
    return struct.pack("<HH", kind, len(data)) + data


CRC, SIZE, LARGE = zlib.crc32(DATA), len(DATA), 0xFFFFFFFF
LATER = {"crc": 0, "packed": 0, "size": 0}
IN_64 = {"packed": LARGE, "size": LARGE, "extra": extra(1, SIZE, SIZE)}


def late(*numbers: int, form: str = "3I", sign: bytes = b"PK\x07\x08", **more) -> Zipped:
    """A member whose sizes follow its data."""
    return Zipped(b"a.txt", flags=8, local=LATER, descriptor=sign + struct.pack("<" + form, *numbers), **more)


def unicode_name(name: bytes, instead_of: bytes) -> bytes:
    return extra(0x7075, raw=b"\1" + struct.pack("<I", zlib.crc32(instead_of)) + name)


# The tables


HOSTILE_NAMES = {
    "up": "../evil", "up later": "a/../../evil", "up alone": "..", "up behind a dot": "./../evil",
    "up with backslashes": "..\\evil", "up later with backslashes": "a\\..\\..\\evil", "absolute": "/tmp/evil",
    "drive": "C:/evil", "drive and backslash": "C:\\evil", "drive-relative": "C:evil", "UNC": "\\\\server\\share\\evil",
    "UNC with slashes": "//server/share/evil", "device namespace": "\\\\?\\C:\\evil", "stream": "a.txt:evil",
    "line break": "evil\n.txt", "escape": "evil\x1b[2J", "delete": "evil\x7f", "right to left": "evil\u202etxt.exe",
    "zero width": "ev\u200bil", "CON": "CON", "nul.txt": "nul.txt", "COM1 in a folder": "a/com1.log/b",
    "LPT\u00b9": "LPT\u00b9", "AUX with a blank": "aux .txt", "last dot": "evil.", "last blank": "evil ",
    "folder with a last dot": "a./b", "folder with a last blank": "a /b", "wildcard": "evil*", "quote": 'ev"il',
    "pipe": "ev|il", "empty part": "a//b", "dot part": "a/./b", "17 parts": "/".join("a" * 17),
    "5,000 parts": "/".join("d" * 5000), "300 characters": "x" * 300, "2,000 characters": "/".join(["y" * 199] * 10),
}  # fmt: skip

NAMES = {
    **{f"{what} in a tar.gz": Case(".tar.gz", tgz(pax((b"path", name.encode())), entry(b"a")))
       for what, name in HOSTILE_NAMES.items()},
    **{f"{what} in a zip": Case(".zip", zipped(Zipped(name.encode(), flags=0x800)))
       for what, name in HOSTILE_NAMES.items()},
    "up in a tar": Case(".tar", tar(entry(b"../evil"))),
    "up by prefix": Case(".tar", tar(header(b"evil", magic=b"ustar\x0000".ljust(88, b"\0") + b"a/../.."))),
    "up as a folder": Case(".tar", tar(entry(b"../evil/", b"", b"5"))),
    "up by a GNU long name": Case(".tar", tar(entry(b"long", b"../evil\0", b"L"), entry(b"a"))),
    "up for all members": Case(".tar", tar(pax((b"path", b"../evil"), kind=b"g"), entry(b"a"))),
    "NUL in a zip": Case(".zip", zipped(Zipped(b"a.txt\0.evil")), says="nobody sees"),
    "NUL in a tar": Case(".tar", tar(entry(b"a.txt\0../evil")), says="bytes behind its end"),
    "NUL by pax": Case(".tar", tar(pax((b"path", b"a\0b")), entry(b"a")), says="nobody sees"),
    "not UTF-8 in a tar": Case(".tar", tar(entry(b"ev\xffil")), says="not UTF-8"),
    "not UTF-8 by pax": Case(".tar", tar(pax((b"path", b"ev\xffil")), entry(b"a")), says="not UTF-8"),
    "not UTF-8 in a zip": Case(".zip", zipped(Zipped(b"ev\xffil", flags=0x800)), says="not UTF-8"),
    "empty in a zip": Case(".zip", zipped(Zipped(b""))),
    "a file that ends in a slash": Case(".tar", tar(entry(b"a"), pax((b"path", b"b/")), entry(b"b"))),
}  # fmt: skip

LINK_MODE, PIPE_MODE, DEVICE_MODE = 0o120777 << 16, 0o010644 << 16, 0o020644 << 16
_CHAIN = [b"/".join([b"d" * 200] * level) for level in range(1, 16)]

KINDS = {
    "a symbolic link": Case(".tar.gz", tgz(entry(b"a", b"", b"2", link=b"/etc/passwd")), says="symbolic link"),
    "a hard link": Case(".tar.gz", tgz(entry(b"a", b"", b"1", link=b"/etc/passwd")), says="hard link"),
    "a file through a link": Case(
        ".tar", tar(entry(b"d", b"", b"2", link=b".."), entry(b"d/evil")), says="symbolic link",
    ),
    "links longer than a path": Case(
        ".tar", tar(*(pax((b"path", path), (b"linkpath", b"/".join([b".."] * 16))) + entry(b"a", b"", b"2")
                      for path in _CHAIN), entry(b"evil")), says="linkpath",
    ),
    "a character device": Case(".tar", tar(entry(b"a", b"", b"3")), says="a device"),
    "a block device": Case(".tar", tar(entry(b"a", b"", b"4")), says="a device"),
    "a pipe": Case(".tar", tar(entry(b"a", b"", b"6")), says="a pipe"),
    "a sparse file": Case(".tar", tar(entry(b"a", b"", b"S")), says="a sparse file"),
    "a sparse file by pax": Case(".tar", tar(pax((b"GNU.sparse.name", b"evil")), entry(b"a")), says="GNU.sparse"),
    "a type of its own": Case(".tar", tar(entry(b"a", DATA, b"Z")), says="an unknown type"),
    "a folder with data": Case(".tar", tar(entry(b"a/", DATA, b"5")), says="a folder with data"),
    "a link for all members": Case(".tar", tar(pax((b"linkpath", b"x"), kind=b"g"), entry(b"a")), says="linkpath"),
    "a symbolic link in a zip": Case(".zip", zipped(Zipped(b"a", b"/etc/passwd", attributes=LINK_MODE)), says="a link"),
    "a pipe in a zip": Case(".zip", zipped(Zipped(b"a", b"", attributes=PIPE_MODE)), says="a link"),
    "a device in a zip": Case(".zip", zipped(Zipped(b"a", b"", attributes=DEVICE_MODE)), says="a link"),
    "a folder without its slash": Case(".zip", zipped(Zipped(b"a", b"", attributes=0x10)), says="a link"),
    "a folder with data in a zip": Case(".zip", zipped(Zipped(b"a/")), says="a folder with data"),
    "an encrypted member": Case(".zip", zipped(Zipped(b"a", flags=1)), says="encrypted"),
    "a strongly encrypted member": Case(".zip", zipped(Zipped(b"a", flags=0x41)), says="encrypted"),
    "a patch": Case(".zip", zipped(Zipped(b"a", flags=0x20)), says="not supported"),
    "compressed by LZMA": Case(
        ".zip", zipped(Zipped(b"a", local={"method": 14}, central={"method": 14})), says="not supported",
    ),
}  # fmt: skip

CLASHES = {
    "a file twice": (b"a.txt", b"a.txt"),
    "case": (b"Weights.bin", b"weights.BIN"),
    "sharp s": ("stra\u00dfe".encode(), b"STRASSE"),
    "composed and decomposed": ("caf\u00e9".encode(), "cafe\u0301".encode()),
    "case of a folder": (b"Data/a", b"data/b"),
    "file, then folder": (b"a", b"a/b"),
    "folder, then file": (b"a/b", b"a"),
    "file, then a folder of other case": (b"A", b"a/b"),
}
PLACES = {
    **{f"{what} in a tar.gz": Case(".tar.gz", tgz(*map(entry, names)), says="the same place as")
       for what, names in CLASHES.items()},
    **{f"{what} in a zip": Case(".zip", zipped(*(Zipped(name, flags=0x800) for name in names)), says="the same place")
       for what, names in CLASHES.items()},
}  # fmt: skip

TARS = {
    "two names": Case(".tar", tar(entry(b"l", b"b\0", b"L"), pax((b"path", b"c")), entry(b"a")), says="two names"),
    "two sizes": Case(".tar", tar(pax((b"size", b"0")), entry(b"a", entry(b"evil"))), says="two sizes"),
    "one key twice": Case(".tar", tar(pax((b"path", b"a"), (b"path", b"b")), entry(b"a")), says="twice"),
    "another character set": Case(".tar", tar(pax((b"hdrcharset", b"BINARY")), entry(b"a")), says="hdrcharset"),
    "a size for all members": Case(".tar", tar(pax((b"size", b"0"), kind=b"g"), entry(b"a")), says="for all members"),
    "a negative size": Case(".tar", tar(header(b"a", 0).replace(b"%011o\0" % 0, b"\xff" * 12, 1)), "IntegrityError"),
    "a checksum that is wrong": Case(".tar", tar(b"b" + entry(b"a")[1:]), "IntegrityError", "damaged header"),
    "a damaged pax line": Case(".tar", tar(entry(b"p", b"99 path=a\n", b"x"), entry(b"a")), "IntegrityError"),
    "a pax line of length 0": Case(".tar", tar(entry(b"p", b"0 path=a\n", b"x"), entry(b"a")), "IntegrityError"),
    "no end": Case(".tar", tar(entry(b"a"), end=b""), "IntegrityError", "cut short"),
    "cut in the data": Case(".tar", tar(entry(b"a", bytes(5000)))[:2000], "IntegrityError", "cut short"),
    "a long name without a member": Case(".tar", tar(entry(b"l", b"b\0", b"L")), "IntegrityError", "never comes"),
    "another tar behind": Case(".tar", tar(entry(b"a")) + tar(entry(b"b")), says="data after the end"),
    "a zip behind": Case(".tar", tar(entry(b"a")) + zipped(Zipped(b"b")), says="data after the end"),
    "a zip behind the gzip": Case(".tar.gz", tgz(entry(b"a")) + zipped(Zipped(b"b")), "IntegrityError"),
    "a gzip that is cut": Case(".tar.gz", tgz(entry(b"a", bytes(range(256)) * 99))[:-300], "IntegrityError"),
    "a gzip with one bit changed": Case(
        ".tar.gz", (lambda good: good[:-6] + bytes([good[-6] ^ 1]) + good[-5:])(tgz(entry(b"a"))), "IntegrityError",
    ),
    "a bzip2 with one bit changed": Case(
        ".tar.bz2", (lambda good: good[:20] + bytes([good[20] ^ 1]) + good[21:])(bz2.compress(tar(entry(b"a")))),
        "IntegrityError",
    ),
}  # fmt: skip

_PLAIN = Zipped(b"a.txt")
# The names are those of the 37 cases of uv's zip corpus (crates/uv/tests/build/extract.rs); the files are our own.
ZIPS = {
    "accept comment": Case(".zip", zipped(_PLAIN, comment=b"0123456789abcdef"), ""),
    "accept data_descriptor": Case(".zip", zipped(late(CRC, SIZE, SIZE)), ""),
    "accept data_descriptor without sign": Case(".zip", zipped(late(CRC, SIZE, SIZE, sign=b"")), ""),
    "accept data_descriptor_zip64": Case(".zip", zipped(late(CRC, SIZE, SIZE, form="I2Q")), ""),
    "accept deflate": Case(".zip", zipped(Zipped(b"a.txt", deflate=True)), ""),
    "accept normal_deflate": Case(".zip", zipped(Zipped(b"a.txt", bytes(9999), deflate=True, flags=6)), ""),
    "accept normal_deflate_zip64_extra": Case(".zip", zipped(Zipped(b"a.txt", local=IN_64)), ""),
    "accept zip64_extra beside the sizes": Case(
        ".zip", zipped(Zipped(b"a.txt", local={"extra": extra(1, SIZE, SIZE)})), "",
    ),
    "reject zip64_extra beside other sizes": Case(
        ".zip", zipped(Zipped(b"a.txt", local={"extra": extra(1, SIZE + 1, SIZE)})), says="two sizes",
    ),
    "accept store": Case(".zip", zipped(_PLAIN), ""),
    "accept subdir": Case(".zip", zipped(Zipped(b"d/", b""), Zipped(b"d/a.txt")), ""),
    "accept zip64_eocd": Case(".zip", zipped(_PLAIN, zip64={}, small=(0xFFFF, LARGE, LARGE)), ""),
    "iffy nosubdir": Case(".zip", zipped(Zipped(b"d/a.txt")), ""),
    "iffy 8bitcomment": Case(".zip", zipped(_PLAIN, comment=zipped(Zipped(b"b"))), says="before the beginning"),
    "iffy extra3byte": Case(".zip", zipped(Zipped(b"a.txt", extra=b"abc")), says="extra field"),
    "iffy non_ascii_original_name": Case(".zip", zipped(Zipped(b"caf\x82.txt")), says="not UTF-8"),
    "iffy prefix": Case(".zip", b"XX" + zipped(_PLAIN), says="expected a tar"),
    "iffy prefix with true offsets": Case(".zip", zipped(_PLAIN, prefix=b"PK\x03\x04junk"), says="leaves a hole"),
    "iffy suffix_not_comment": Case(".zip", zipped(_PLAIN) + b"more", says="after the end"),
    "iffy zip64_eocd_extensible_data": Case(
        ".zip", zipped(_PLAIN, zip64={"more": b"1234"}, small=(0xFFFF, LARGE, LARGE)), says="end of a large archive",
    ),
    "iffy zip64_extra_too_long": Case(
        ".zip", zipped(Zipped(b"a.txt", central={"size": LARGE, "extra": extra(1, SIZE, SIZE)})), says="large sizes",
    ),
    "iffy zip64_extra_too_short": Case(
        ".zip", zipped(Zipped(b"a.txt", central={"size": LARGE, "packed": LARGE, "extra": extra(1, SIZE)})),
        says="large sizes",
    ),
    "reject cd_extra_entry": Case(
        ".zip", (lambda body, one: body + one + _PLAIN.central_part(0) + end_of_zip(2, 2 * len(one), len(body)))(
            _PLAIN.local_part(), _PLAIN.central_part(0)),
    ),
    "reject cd_missing_entry": Case(".zip", zipped(_PLAIN, hidden=(Zipped(b"evil"),)), says="leaves a hole"),
    "reject data_descriptor_bad_crc": Case(".zip", zipped(late(1, SIZE, SIZE)), says="directory disagree"),
    "reject data_descriptor_bad_crc_0": Case(".zip", zipped(late(0, SIZE, SIZE)), says="directory disagree"),
    "reject data_descriptor_bad_csize": Case(".zip", zipped(late(CRC, SIZE + 1, SIZE)), says="directory disagree"),
    "reject data_descriptor_bad_usize": Case(".zip", zipped(late(CRC, SIZE, SIZE + 1)), says="directory disagree"),
    "reject data_descriptor_bad_usize_no_sig": Case(
        ".zip", zipped(late(CRC, SIZE, SIZE + 1, sign=b"")), says="directory disagree",
    ),
    "reject data_descriptor_zip64_csize": Case(
        ".zip", zipped(late(CRC, SIZE + 1, SIZE, form="I2Q")), says="directory disagree",
    ),
    "reject data_descriptor_zip64_usize": Case(
        ".zip", zipped(late(CRC, SIZE, SIZE + 1, form="I2Q")), says="directory disagree",
    ),
    "reject dupe_eocd": Case(".zip", zipped(_PLAIN) + zipped(_PLAIN)[-22:], says="before the beginning"),
    "reject shortextra": Case(
        ".zip", zipped(Zipped(b"a.txt", extra=struct.pack("<HH", 9, 9) + b"short")), says="extra field",
    ),
    "reject zip64_extra_csize": Case(
        ".zip", zipped(Zipped(b"a.txt", local=IN_64 | {"extra": extra(1, SIZE, SIZE + 1)})), says="directory disagree",
    ),
    "reject zip64_extra_usize": Case(
        ".zip", zipped(Zipped(b"a.txt", local=IN_64 | {"extra": extra(1, SIZE + 1, SIZE)})), says="directory disagree",
    ),
    "malicious second_unicode_extra": Case(
        ".zip", zipped(Zipped(b"a.txt", extra=unicode_name(b"a.txt", b"a.txt") + unicode_name(b"b", b"a.txt"))),
        says="extra field",
    ),
    "malicious short_usize": Case(
        ".zip", zipped(Zipped(b"a.txt", b"x" * 51, deflate=True, local={"size": 9}, central={"size": 9})),
        "IntegrityError", "not what the directory says",
    ),
    "malicious short_usize with its checksum": Case(
        ".zip", zipped(Zipped(b"a.txt", b"x" * 51, deflate=True, local={"size": 9, "crc": zlib.crc32(b"x" * 9)},
                              central={"size": 9, "crc": zlib.crc32(b"x" * 9)})),
        "IntegrityError", "not what the directory says",
    ),
    "malicious short_usize_zip64": Case(
        ".zip", zipped(Zipped(b"a.txt", local={"size": LARGE, "packed": LARGE, "extra": extra(1)})), says="large sizes",
    ),
    "malicious zip64_eocd_confusion": Case(
        ".zip", zipped(_PLAIN, zip64={"number": 7, "size": 99}), says="two ends that disagree",
    ),
    "malicious unicode_extra_chain": Case(
        ".zip", zipped(Zipped(b"a.txt", extra=unicode_name(b"evil", b"a.txt"))), says="two names",
    ),
    "malicious zipinzip": Case(
        ".zip", zipped(_PLAIN, comment=b"x" * 30 + zipped(Zipped(b"evil"), comment=b"y")), says="before the beginning",
    ),
    "a header in the comment": Case(".zip", zipped(_PLAIN, comment=_PLAIN.local_part()), says="after the end"),
    "two headers with two names": Case(".zip", zipped(Zipped(b"a.txt", local={"name": b"b.txt"})), says="disagree"),
    "two headers with two methods": Case(".zip", zipped(Zipped(b"a.txt", local={"method": 8})), says="disagree"),
    "two headers with two sizes": Case(".zip", zipped(Zipped(b"a.txt", local={"size": 3})), says="disagree"),
    "two headers with two checksums": Case(".zip", zipped(Zipped(b"a.txt", local={"crc": 3})), says="disagree"),
    "a member in the member": Case(
        ".zip", (lambda inner, outer: outer.local_part() + outer.central_part(0) + inner.central_part(35)
                 + end_of_zip(2, len(outer.central_part(0) + inner.central_part(35)), len(outer.local_part())))(
            Zipped(b"b"), Zipped(b"a.txt", Zipped(b"b").local_part())), says="overlaps",
    ),
    "data behind the compressed data": Case(
        ".zip", (lambda member: setattr(member, "packed", member.packed + b"evil") or zipped(member))(
            Zipped(b"a.txt", deflate=True)), says="behind the end of its compressed data",
    ),
    "accept a folder with empty compressed data": Case(
        ".zip", zipped(Zipped(b"d/", b"", deflate=True), Zipped(b"d/a.txt")), "",
    ),
    "a folder with data behind its empty data": Case(
        ".zip", (lambda member: setattr(member, "packed", member.packed + b"evil") or zipped(member))(
            Zipped(b"d/", b"", deflate=True)), says="behind the end of its compressed data",
    ),
    "a wrong checksum": Case(
        ".zip", zipped(Zipped(b"a.txt", local={"crc": 3}, central={"crc": 3})), "IntegrityError",
    ),
    "a directory of other members": Case(".zip", zipped(_PLAIN, small=(2, 51, 45)), "IntegrityError"),
    "one part of several": Case(
        ".zip", zipped(_PLAIN)[:-22] + b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 2, 51, 45, 0), says="in several",
    ),
    "cut before its end": Case(".zip", zipped(_PLAIN)[:-10], "IntegrityError", "no end of a zip"),
}  # fmt: skip

POLYGLOTS = {
    "a tar in front of a zip": Case(".zip", tar(entry(b"a")) + zipped(_PLAIN), says="its content is tar"),
    "a zip that is also a tar": Case(
        ".zip",
        zipped(Zipped(b"a" * 200), prefix=b"PK\x03\x04".ljust(512, b"\0")),
        says="leaves a hole",
    ),
    "a pickle in front of a zip": Case(".zip", b"\x80\x04N." + zipped(_PLAIN), says="expected a tar"),
    "a program in front of a zip": Case(
        ".zip", b"#!/bin/sh\nexit 0\n" + zipped(_PLAIN), says="expected a tar"
    ),
    "a PDF in front of a zip": Case(".zip", b"%PDF-1.4\n" + zipped(_PLAIN), says="expected a tar"),
    "7z": Case(".zip", b"7z\xbc\xaf\x27\x1c" + bytes(300), says="expected a tar"),
    "xz": Case(".tar.xz", b"\xfd7zXZ\x00" + bytes(300), says="expected a tar"),
    "rar": Case(".zip", b"Rar!\x1a\x07" + bytes(300), says="expected a tar"),
    "a web page": Case(".tar.gz", b"<!DOCTYPE html><html>not found</html>", says="expected a tar"),
    "nothing": Case(".tar.gz", b"", says="expected a tar"),
    "a gzip of something else": Case(".tar.gz", gzip.compress(b"hello" * 200), "IntegrityError"),
    "a zip that is called tar.gz": Case(".tar.gz", zipped(_PLAIN), says="its content is zip"),
}


def _flat_gzip(total: int, unit: bytes = bytes(2**20), start: bytes = b"") -> bytes:
    """A gzip of `start` and then `total` bytes of zeros, made by repeating one compressed block."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(unit) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + block * (total // len(unit)) + b"\x03\x00" + bytes(8)


def _flat_deflate(total: int) -> bytes:
    return _flat_gzip(total)[10:-8]


def _bomb(size: int) -> Zipped:
    member = Zipped(b"bomb", local={"size": size, "method": 8}, central={"size": size, "method": 8})
    member.packed = _flat_deflate(size)
    member.local["packed"] = member.central["packed"] = len(member.packed)
    return member


def _many_members(number: int) -> bytes:
    return tgz(*(header(b"%d" % index) for index in range(number)))


def _overlapping(number: int) -> bytes:
    """Many names for the data of one member: 42.zip without its nesting."""
    kernel = Zipped(b"0", bytes(100_000), deflate=True)
    parts = []
    for index in range(number):
        kernel.central["name"] = b"%d" % index
        parts.append(kernel.central_part(0))
    central = b"".join(parts)
    return kernel.local_part() + central + end_of_zip(number, len(central), len(kernel.local_part()))


BOMBS = {
    "10 GB of zeros in a tar.gz": Case(".tar.gz", _flat_gzip(10**10, start=header(b"a", 2**33 - 1)), says="unpack to"),
    "10 GB of zeros behind the end": Case(".tar.gz", _flat_gzip(10**10, start=header(b"a")), says="unpack to more"),
    "4 GB of zeros in a zip": Case(".zip", zipped(_bomb(4 * 2**30 - 2**20)), says="unpack to more"),
    "4 GB of zeros in a tar.bz2": Case(
        ".tar.bz2", bz2.compress(header(b"a", 8**11 - 1)) + bz2.compress(bytes(45 * 2**20)) * 90, says="unpack to more",
    ),
    "a pax header of 1 GB": Case(".tar.gz", _flat_gzip(2**30, start=header(b"p", 2**30, b"x")), says="extended header"),
    "a long name of 1 GB": Case(".tar.gz", _flat_gzip(2**30, start=header(b"p", 2**30, b"L")), says="extended header"),
    "global headers without end": Case(
        ".tar.gz", _flat_gzip(10**9, pax((b"comment", b"x" * 60_000), kind=b"g")), says="unpack to more",
    ),
    "a member of 2**60": Case(
        ".tar", tar(header(b"a", 0).replace(b"%011o\0" % 0, b"\x80" + (2**60).to_bytes(11, "big"), 1)),
        "IntegrityError",
    ),
    "a sparse file of 2**40": Case(".tar", tar(pax((b"GNU.sparse.realsize", b"%d" % 2**40)), entry(b"a")), says="GNU."),
    "11,000 members of a tar.gz": Case(".tar.gz", _many_members(11_000), says="more than 10,000 members"),
    "60,000 names of one member": Case(".zip", _overlapping(60_000), says="60,000 members"),
    "9,000 names of one member": Case(".zip", _overlapping(9_000), says="overlaps"),
    "a zip that says 2**40 members": Case(
        ".zip", zipped(_PLAIN, zip64={"number": 2**40}, small=(0xFFFF, LARGE, LARGE)), says="1,099,511,627,776 members",
    ),
    "a zip that says 2**40 bytes of directory": Case(
        ".zip", zipped(_PLAIN, zip64={"size": 2**40}, small=(0xFFFF, LARGE, LARGE)), says="before the beginning",
    ),
    "a zip member that says 2**60": Case(
        ".zip", zipped(Zipped(b"a.txt", local=IN_64 | {"extra": extra(1, 2**60, SIZE)},
                              central=IN_64 | {"extra": extra(1, 2**60, SIZE)})), says="not supported",
    ),
}  # fmt: skip

CODE = {
    f"{name} in a tar.gz": Case(".tar.gz", tgz(entry(b"module.yaml"), entry(name.encode())), says="this is code")
    for name in (
        "module.py", "setup.py", "requirements.txt", "sitecustomize.py", "hub.pth", "native.so", "deep/er/x.PYC",
        "pyproject.toml", "run.sh", "weights.pkl", "native.dll", "Makefile",
    )
}  # fmt: skip

PLAIN = {
    "./ before every name": Case(
        ".tar.gz", tgz(entry(b"./", b"", b"5"), entry(b"./d/", b"", b"5"), entry(b"./d/a")), "",
    ),
    "a folder named twice": Case(".tar", tar(entry(b"d/", b"", b"5"), entry(b"d/a"), entry(b"d/", b"", b"5")), ""),
    "setuid": Case(".tar", tar(entry(b"a")), ""),  # header() gives every member the mode 6777
    "git's global header": Case(".tar.gz", tgz(pax((b"comment", b"0123abcd"), kind=b"g"), entry(b"a")), ""),
    "an empty zip": Case(".zip", end_of_zip(0, 0, 0), ""),
    "zeros, less than a bomb": Case(".tar.gz", tgz(entry(b"a", bytes(20 * 2**20))), ""),
    "a zip in a zip": Case(".zip", zipped(Zipped(b"inner.bin", zipped(Zipped(b"../evil")))), ""),
    "any script": Case(".tar.gz", tgz(entry("数据/größe 1.txt".encode())), ""),
    "UTF-8 without its flag": Case(".zip", zipped(Zipped("größe.txt".encode())), ""),
    "a unicode name that is the name": Case(
        ".zip", zipped(Zipped(b"a.txt", extra=unicode_name(b"a.txt", b"a.txt"))), "",
    ),
}  # fmt: skip

ALL = {
    f"{table}: {name}": case
    for table, cases in {
        "names": NAMES, "kinds": KINDS, "places": PLACES, "tar": TARS, "zip": ZIPS, "polyglot": POLYGLOTS,
        "bomb": BOMBS, "code": CODE, "plain": PLAIN,
    }.items()
    for name, case in cases.items()
}  # fmt: skip
