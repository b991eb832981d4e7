"""Reading text that people have saved in all sorts of encodings."""

from __future__ import annotations

import codecs
from pathlib import Path

from hub.datasets.base import Origin, Problem


def read_text(path: Path, problems: list[Problem]) -> str:
    """Give the text of a UTF-8 file without byte order mark and without empty lines at its end.

    A file in another encoding gives an empty text and a problem that names the first line that is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(Problem("bad table", Origin(str(path)), detail=error.strerror or str(error)))
        return ""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
            raise UnicodeDecodeError("utf-8", data, 0, 1, "UTF-16")
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        guess = (
            "it looks like UTF-16; "
            if error.reason == "UTF-16"
            else "it looks like GBK; "
            if _is_gbk(data)
            else ""
        )
        detail = f"expected UTF-8; {guess}save the file as UTF-8"
        problems.append(Problem("wrong encoding", Origin(str(path), line), detail=detail))
        return ""


def _is_gbk(data: bytes) -> bool:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True
