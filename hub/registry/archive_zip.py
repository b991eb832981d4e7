"""Read a zip archive in one way only: its members, and what the two places that describe them agree on.

The members must lie end to end from the first byte to the central directory, and that must lie right before the
end. So no member is hidden from one of the two ways of reading a zip (from the front, from the end), and none is
there more than once.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hub.registry.archive_reader import CHUNK, Member, Reader

MOST_DIRECTORY_BYTES = 32 * 2**20  # of the central directory, which has to be held in memory

# The records of a zip, by the names of its specification (APPNOTE.TXT 6.3).
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_LARGE = 0xFFFFFFFF  # stands in four bytes for a number that needs eight, which is in the extra field
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR, _UTF8 = 0x8, 0x800
_KNOWN_FLAGS = _DESCRIPTOR | _UTF8 | 0x6  # 0x6: how hard the compressor tried
_ZIP64, _UNICODE_NAME = 0x0001, 0x7075


@dataclass(frozen=True)
class _Entry:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int


class ZipReader(Reader):
    def __init__(self, file: IO[bytes], path: Path, count: Callable[[int], None]) -> None:
        super().__init__(path, count)
        self._file = file

    def members(self, most: int) -> Iterator[Member]:
        """Yield the members as they lie in the file; more than `most` of them are refused before the first."""
        entries, end = self._directory(most)
        position = 0
        for index, entry in enumerate(entries):
            if entry.offset != position:
                self.refuse("overlaps what comes before it or leaves a hole", entry.raw_name)
            position = entries[index + 1].offset if index + 1 < len(entries) else end
            data = self._data_offset(entry)
            self._check_descriptor(entry, data + entry.packed, position)
            name, is_folder = self._name(entry)
            self._file.seek(data)
            yield Member(name.removesuffix("/"), is_folder, entry.size, self._data(entry))
        if position != end:
            self.refuse("data that belongs to no member")

    def _read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            self.damaged("cut short")
        return data

    def _directory(self, most: int) -> tuple[list[_Entry], int]:
        """Give the entries of the central directory by where they lie, and where it starts itself."""
        number, size, start = self._end()
        if number > most:
            self.refuse(f"{number:,} members, expected at most {most:,}")
        if size > MOST_DIRECTORY_BYTES:
            self.refuse(f"a directory of {size:,} bytes")
        data = self._read_at(start, size)
        entries, position = [], 0
        for _ in range(number):
            entry, position = self._entry(data, position)
            entries.append(entry)
        if position != size:
            self.refuse("a directory with more than its members")
        return sorted(entries, key=lambda entry: entry.offset), start

    def _end(self) -> tuple[int, int, int]:
        """Give the number of members, and size and offset of the central directory, from the records at the end."""
        length = self._file.seek(0, 2)
        tail_start = max(0, length - _END.size - 0xFFFF)
        tail = self._read_at(tail_start, length - tail_start)
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or found + _END.size > len(tail):
            self.damaged("no end of a zip archive")
        _, disk, first_disk, here, number, size, start, comment = _END.unpack_from(tail, found)
        if found + _END.size + comment != len(tail) or re.search(
            rb"PK[\x00-\x1f]", tail[found + _END.size :]
        ):
            self.refuse("data after the end of the archive")
        end = tail_start + found
        values: tuple[int, ...] = (disk, first_disk, here, number, size, start)
        most = (0xFFFF,) * 4 + (_LARGE,) * 2  # where a number stands that is too large for its place
        if end >= _LOCATOR64.size and self._read_at(end - _LOCATOR64.size, 4) == b"PK\x06\x07":
            large, end = self._end64(end)
            if any(small not in (value, top) for small, value, top in zip(values, large, most, strict=True)):
                self.refuse("two ends that disagree")
            values = large
        disk, first_disk, here, number, size, start = values
        if disk or first_disk or here != number:
            self.refuse("one part of an archive in several files")
        if start + size != end:
            self.refuse("data between the directory and the end, or before the beginning")
        return number, size, start

    def _end64(self, end: int) -> tuple[tuple[int, ...], int]:
        """Give the same six numbers of a large archive, and where its end record lies."""
        _, _, offset, disks = _LOCATOR64.unpack(self._read_at(end - _LOCATOR64.size, _LOCATOR64.size))
        if offset != end - _LOCATOR64.size - _END64.size or disks > 1:
            self.refuse("a damaged end of a large archive")
        magic, length, _, _, *values = _END64.unpack(self._read_at(offset, _END64.size))
        if magic != b"PK\x06\x06" or length != _END64.size - 12:
            self.refuse("a damaged end of a large archive")
        return tuple(values), offset

    def _entry(self, data: bytes, position: int) -> tuple[_Entry, int]:
        if position + _CENTRAL.size > len(data) or data[position : position + 4] != b"PK\x01\x02":
            self.damaged("a damaged directory")
        _, _, _, flags, method, _, _, crc, packed, size, *rest = _CENTRAL.unpack_from(data, position)
        name_size, extra_size, comment_size, disk, _, attributes, offset = rest
        position += _CENTRAL.size
        name = data[position : position + name_size]
        extra = data[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment_size
        if position > len(data) or disk:
            self.damaged("a damaged directory")
        fields = self._extra_fields(extra, name)
        size, packed, offset = self._wide(fields, name, size, packed, offset)
        return _Entry(name, flags, method, crc, packed, size, offset, attributes), position

    def _extra_fields(self, extra: bytes, name: bytes) -> dict[int, bytes]:
        fields: dict[int, bytes] = {}
        position = 0
        while position < len(extra):
            if position + 4 > len(extra):
                self.refuse("a damaged extra field", name)
            kind, size = struct.unpack_from("<HH", extra, position)
            position += 4 + size
            if position > len(extra) or kind in fields:
                self.refuse("a damaged extra field", name)
            fields[kind] = extra[position - size : position]
        unicode_name = struct.pack("<BI", 1, zlib.crc32(name)) + name
        if fields.get(_UNICODE_NAME, unicode_name) != unicode_name:
            self.refuse("two names", name)
        return fields

    def _wide(self, fields: dict[int, bytes], name: bytes, *numbers: int) -> list[int]:
        """Give the numbers, and those that were too large for their four bytes from the extra fields."""
        wide = [index for index, number in enumerate(numbers) if number == _LARGE]
        large = fields.get(_ZIP64, b"")
        if len(large) not in (8 * len(wide), 8 * len(numbers)):
            self.refuse("a damaged extra field for large sizes", name)
        values = struct.unpack(f"<{len(large) // 8}Q", large)
        result = list(numbers)
        # some programs write all of them there, whether they are large or not
        for index, value in zip(
            wide if len(values) == len(wide) else range(len(values)), values, strict=True
        ):
            result[index] = value
        if any(number not in (value, _LARGE) for number, value in zip(numbers, result, strict=True)):
            self.refuse("two sizes", name)
        return result

    def _data_offset(self, entry: _Entry) -> int:
        """Check the header before the data against the directory and give where the data starts."""
        fields = _LOCAL.unpack(self._read_at(entry.offset, _LOCAL.size))
        magic, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name = self._file.read(name_size)
        extra = self._file.read(extra_size)
        if magic != b"PK\x03\x04" or (flags, method, name) != (entry.flags, entry.method, entry.raw_name):
            self.refuse("its header and the directory disagree", entry.raw_name)
        size, packed = self._wide(self._extra_fields(extra, name), name, size, packed)
        later = flags & _DESCRIPTOR and (crc, packed, size) == (0, 0, 0)
        if not later and (crc, packed, size) != (entry.crc, entry.packed, entry.size):
            self.refuse("its header and the directory disagree", entry.raw_name)
        if flags & ~_KNOWN_FLAGS:
            self.refuse("encrypted or of a kind that is not supported", entry.raw_name)
        if method not in (_STORED, _DEFLATED) or (method == _STORED and entry.packed != entry.size):
            self.refuse("compressed in a way that is not supported", entry.raw_name)
        return entry.offset + _LOCAL.size + len(name) + len(extra)

    def _check_descriptor(self, entry: _Entry, end: int, following: int) -> None:
        """Check that nothing lies behind the data, or sizes and checksum once more if they were to come late."""
        if not 0 <= following - end <= 24:
            self.refuse("overlaps what comes after it or leaves a hole", entry.raw_name)
        found = self._read_at(end, following - end)
        expected = [b""]
        if entry.flags & _DESCRIPTOR:
            numbers = (entry.crc, entry.packed, entry.size)
            forms = ["<3I", "<I2Q"] if max(numbers) <= _LARGE else ["<I2Q"]
            expected = [mark + struct.pack(form, *numbers) for form in forms for mark in (b"PK\x07\x08", b"")]
        if found not in expected:
            self.refuse("its data and the directory disagree", entry.raw_name)

    def _name(self, entry: _Entry) -> tuple[str, bool]:
        try:
            name = entry.raw_name.decode("utf-8")  # `zip` writes UTF-8 without the flag that says so
        except UnicodeDecodeError:
            self.refuse("a name that is not UTF-8", entry.raw_name)
        is_folder = name.endswith("/")
        kind, dos_folder = stat.S_IFMT(entry.attributes >> 16), entry.attributes & 0x10
        if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG) or (dos_folder and not is_folder):
            self.refuse("a link or a device: only files and folders are taken", name)
        if is_folder and entry.size:
            self.refuse("a folder with data", name)
        return name, is_folder

    def _data(self, entry: _Entry) -> Iterator[bytes]:
        size = crc = 0
        for chunk in self._inflated(entry) if entry.method == _DEFLATED else self._packed(entry):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            self._count(len(chunk))
            if size > entry.size:
                break
            yield chunk
        if (size, crc) != (entry.size, entry.crc):
            self.damaged("size or checksum is not what the directory says", entry.raw_name)

    def _packed(self, entry: _Entry) -> Iterator[bytes]:
        for start in range(0, entry.packed, CHUNK):
            data = self._file.read(min(CHUNK, entry.packed - start))
            if not data:
                self.damaged("cut short", entry.raw_name)
            yield data

    def _inflated(self, entry: _Entry) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        packed = self._packed(entry)
        pending = b""
        while not inflater.eof:
            pending = inflater.unconsumed_tail or next(packed, b"")
            try:
                chunk = inflater.decompress(pending, CHUNK)
            except zlib.error as problem:
                self.damaged(f"damaged compressed data ({problem})", entry.raw_name)
            if not (pending or chunk or inflater.eof):
                self.damaged("cut short", entry.raw_name)
            yield chunk
        if inflater.unused_data or next(packed, b""):
            self.refuse("data behind the end of its compressed data", entry.raw_name)
