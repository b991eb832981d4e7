"""Read a tar archive in one way only: header by header, refusing what another program could read differently."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from hub.registry.archive_reader import CHUNK, Member, Reader

MOST_HEADER_BYTES = 64 * 1024  # of one extended header: room for any path and its attributes

_KINDS = {
    tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe", tarfile.GNUTYPE_SPARSE: "a sparse file",
}  # fmt: skip


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TarReader(Reader):
    """tarfile parses one header block at a time for us; what a header means is decided here."""

    def __init__(self, stream: Readable, path: Path, count: Callable[[int], None]) -> None:
        super().__init__(path, count)
        self._stream = stream

    def members(self) -> Iterator[Member]:
        extended: dict[str, bytes] = {}
        while (block := self._read(tarfile.BLOCKSIZE)).strip(b"\0"):
            info = self._header(block)
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
                extended = self._extended(info, extended)
                continue
            name, size = self._name_and_size(info, extended)
            extended = {}
            is_folder = info.type == tarfile.DIRTYPE
            if not is_folder and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                self.refuse(
                    f"{_KINDS.get(info.type, 'an unknown type')}: only files and folders are taken", name
                )
            if is_folder and size:
                self.refuse("a folder with data", name)
            yield Member(name.removesuffix("/") if is_folder else name, is_folder, size, self._data(size))
        if extended:
            self.damaged("ends after the header of a member that never comes")
        while rest := self._read_some(CHUNK):
            if rest.strip(b"\0"):
                self.refuse("data after the end of the archive")

    def _read_some(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except (EOFError, zlib.error) as problem:
            self.damaged(f"damaged compressed data ({problem})")
        except OSError as problem:
            if problem.errno is not None:  # the disk, not the data
                raise
            self.damaged(f"damaged compressed data ({problem})")
        self._count(len(data))
        return data

    def _read(self, size: int) -> bytes:
        data = self._read_some(size)
        if len(data) != size:
            self.damaged("cut short")
        return data

    def _data(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, CHUNK):
            yield self._read(min(CHUNK, size - start))
        self._read(-size % tarfile.BLOCKSIZE)

    def _header(self, block: bytes) -> tarfile.TarInfo:
        name = block[:100].rstrip(b"\0")
        if b"\0" in name:
            self.refuse("a name with bytes behind its end", name)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except UnicodeDecodeError:
            self.refuse("a name that is not UTF-8", name)
        except tarfile.HeaderError as problem:
            self.damaged(f"damaged header ({problem})", name)
        if info.size < 0:
            self.refuse("a negative size", name)
        return info

    def _extended(self, info: tarfile.TarInfo, before: dict[str, bytes]) -> dict[str, bytes]:
        """Read a header that says more of the next member (pax, GNU long name) or of all (pax global)."""
        if info.size > MOST_HEADER_BYTES:
            self.refuse(f"an extended header of {info.size:,} bytes", info.name)
        data = b"".join(self._data(info.size))
        if info.type == tarfile.GNUTYPE_LONGNAME:
            records = {"path": data.rstrip(b"\0")}
        else:
            records = self._pax_records(data, info.name)
        for key in records:
            if key in ("linkpath", "hdrcharset") or key.startswith("GNU."):
                self.refuse(f"an extended header with {key[:80]!a}", info.name)
        if info.type == tarfile.XGLTYPE:
            if "path" in records or "size" in records:
                self.refuse("one name or size for all members", info.name)
            return before
        if before.keys() & records.keys():
            self.refuse("a member with two names or sizes", info.name)
        return before | records

    def _pax_records(self, data: bytes, name: str) -> dict[str, bytes]:
        """Parse lines of "length key=value"; their length counts the whole line."""
        records: dict[str, bytes] = {}
        start = 0
        while start < len(data):
            digits = re.compile(rb"[0-9]{1,6} ").match(data, start)
            end = start + int(digits[0]) if digits else start
            if not digits or end > len(data) or not data[start:end].endswith(b"\n"):
                self.damaged("a damaged extended header", name)
            key, equals, value = data[digits.end() : end - 1].partition(b"=")
            text = key.decode("latin1")
            if not equals or text in records:
                self.refuse("an extended header that says one thing twice", name)
            records[text] = value
            start = end
        return records

    def _name_and_size(self, info: tarfile.TarInfo, extended: dict[str, bytes]) -> tuple[str, int]:
        try:
            name = extended["path"].decode("utf-8") if "path" in extended else info.name
        except UnicodeDecodeError:
            self.refuse("a name that is not UTF-8", extended["path"])
        if "size" not in extended:
            return name, info.size
        size = int(extended["size"]) if re.fullmatch(rb"[0-9]{1,18}", extended["size"]) else -1
        # the plain header has room for 8 GiB; below that the two are the same, or somebody is being misled
        if size < 8**11 and size != info.size:
            self.refuse("two sizes", name)
        return name, size
