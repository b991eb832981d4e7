"""What the sources of one single module hand over (huggingface, git, paddlehub), and the rules that they share.

A repository may hold anything. Of what it lists, module.yaml decides: the files that it names, and the card and the
licence. Without one it may hold an encoder as others publish them: hub/registry/foreign_encoders.py says which files
that takes. All of it is judged by the listing, before a byte of it is transferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hub import settings
from hub.errors import IntegrityError, NotFoundError, OfflineError, UnsafeFileError, UsageError
from hub.files import MAX_TEXT_BYTES, read_yaml
from hub.naming import is_safe_path
from hub.registry import foreign_encoders
from hub.registry.archive import is_code
from hub.registry.manifest import FILE_NAME, Manifest, problem
from hub.registry.reference import UNSEEN, Kind, Reference
from hub.registry.workspace import check_space

MOST_BYTES = 20 * 2**30  # as much as an archive may unpack to
MOST_FILES = 1_000


@dataclass(frozen=True)
class Fetched:
    """A folder that FolderSource takes, below the working folder, and the reference that gives the same bytes again."""

    folder: Path
    origin: str


def checked(reference: Reference, kind: Kind) -> Reference:
    """Give the reference as it reads when it is parsed again, so that one made by hand can hold nothing hostile.

    Raises BadReferenceError, and OfflineError when HUB_OFFLINE forbids the network that these sources need.
    """
    again = Reference.parse(str(reference))
    if again.kind != kind:
        raise UsageError(f"expected a reference of the kind {kind}, found {again}")
    if settings.offline():
        raise OfflineError(
            f"{again}: this needs the network, and HUB_OFFLINE forbids it",
            hint=f"hub install {again} where there is a network, then copy {settings.home()} here",
        )
    return again


def collect(
    sizes: Mapping[str, int],
    get: Callable[[str], object],
    folder: Path,
    *,
    origin: str,
    unfit: Mapping[str, str] | None = None,
    most_bytes: int = MOST_BYTES,
) -> Fetched:
    """Fill a folder with the files of the module that a repository holds.

    Args:
        sizes: every plain file of the repository with its size.
        get: puts the file of that path into the folder.
        unfit: every other path with what it is, such as "a symbolic link".

    Raises NotFoundError for a repository without module.yaml that is no published encoder either, SpecError for an
    encoder that cannot be loaded, UnsafeFileError for a module that needs code, hostile names or more than
    `most_bytes`, IntegrityError when files that it needs are missing or damaged.
    """
    unfit = unfit or {}
    names = sizes.keys() | unfit.keys()
    encoder = foreign_encoders.choose(names, origin) if foreign_encoders.is_published(names) else []
    if not encoder and FILE_NAME not in names:
        raise no_module(origin, sizes)
    first = encoder[0] if encoder else FILE_NAME
    _refuse_unfit({first}, unfit, origin)
    if sizes[first] > MAX_TEXT_BYTES:
        raise UnsafeFileError(
            f"{origin}: {first}: expected at most {MAX_TEXT_BYTES:,} bytes, found {sizes[first]:,}"
        )
    folder.mkdir(parents=True)
    get(first)
    if encoder:
        foreign_encoders.check_config(folder / first, origin)
    texts = set(encoder or _texts(read_yaml(folder / FILE_NAME)))
    _refuse_unfit(texts, unfit, origin)
    chosen = _chosen(texts - {first}, sizes, origin, most_bytes)
    check_space(sum(sizes[path] for path in chosen))
    for path in chosen:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        get(path)
    return Fetched(folder, origin) if encoder else complete(folder, origin)


def complete(folder: Path, origin: str) -> Fetched:
    """Give the folder if its module.yaml can be read and the weights are those that it promises."""
    wrong = [found for file in Manifest.read(folder).weights if (found := problem(folder, file))]
    if wrong:
        raise IntegrityError(
            f"{origin}: not what its {FILE_NAME} promises: {'; '.join(wrong[:3])}",
            hint="tell its author; nothing was installed",
        )
    return Fetched(folder, origin)


def no_module(origin: str, names: Mapping[str, object]) -> NotFoundError:
    """Give the error for a place without module.yaml: what it has instead, and where a module.yaml is."""
    below = [name for name in sorted(names) if PurePosixPath(name).name == FILE_NAME]
    hint = "a module folder is what module.save() writes"
    if below and origin.startswith("git+") and "#" not in origin:
        hint = (
            f"a module is in a folder of it: #subdirectory={printable(str(PurePosixPath(below[0]).parent))}"
        )
    listed = ", ".join(printable(name) for name in sorted(names)[:8]) or "nothing"
    more = f" and {len(names) - 8:,} more files" if len(names) > 8 else ""
    return NotFoundError(f"{origin}: expected a {FILE_NAME}, found {listed}{more}", hint=hint)


def printable(text: str) -> str:
    """Give a stranger's text so that it can do a terminal no harm."""
    return UNSEEN.sub("?", text)[:120]


def _refuse_unfit(texts: set[str], unfit: Mapping[str, str], origin: str) -> None:
    """Refuse a module one of whose files is a link or a submodule, or lies behind one."""
    for path, what in unfit.items():
        if path in texts or any(text.startswith(f"{path}/") for text in texts):
            raise UnsafeFileError(f"{origin}: {printable(path)}: expected a plain file, found {what}")


def _chosen(texts: set[str], sizes: Mapping[str, int], origin: str, most_bytes: int) -> list[str]:
    """Give the paths of the files that belong to the module: those that are named, and cards."""
    named = {text for text in texts if text in sizes} - {FILE_NAME}
    if hostile := sorted(path for path in named if not is_safe_path(path)):
        raise UnsafeFileError(f"{origin}: {FILE_NAME} names {printable(hostile[0])!r}, which is no safe path")
    if code := sorted(path for path in named if is_code(PurePosixPath(path))):
        raise UnsafeFileError(
            f"{origin}: a module is data, this is code: {', '.join(code[:5])}",
            hint="install code only from people you trust, and not with hub",
        )
    chosen = sorted(named | {path for path in sizes if path.lower() in foreign_encoders.CARDS})
    total = sum(sizes[path] for path in chosen)
    if total > most_bytes or len(chosen) > MOST_FILES:
        raise UnsafeFileError(
            f"{origin}: expected at most {most_bytes:,} bytes in {MOST_FILES:,} files, "
            f"found {total:,} in {len(chosen):,}"
        )
    if len({path.casefold() for path in chosen}) < len(chosen):
        raise UnsafeFileError(f"{origin}: two of its files are one on some systems: {', '.join(chosen)}")
    return chosen


def _texts(value: object) -> Iterator[str]:
    """Give every text in a YAML value; the reader has bounded its depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
