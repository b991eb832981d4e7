"""Every error that hub raises on purpose, and the help it gives.

    HubError
    ├── UsageError          an argument or command that cannot be meant (exit code 2)
    ├── BadReferenceError   text that names no module: bad syntax, a hostile path
    ├── NotFoundError       a well-formed name that no source knows
    ├── IndexFormatError    a registry index that is damaged, hostile or too new
    ├── IntegrityError      bytes that are not the bytes that were promised
    ├── StorageError        disk full, no permission, a lock that stays taken
    ├── TransferError       the network failed, and so did every retry
    │   └── OfflineError    the network is needed and was switched off
    ├── UnsafeFileError     a file that could run code or leave its folder
    ├── SpecError           a module.yaml that does not say what it must
    ├── WeightsError        weights that do not belong to this architecture
    ├── MissingDependencyError  an optional package is not installed
    ├── DeviceError         the device that was asked for is not available
    ├── DataError           a dataset with problems, all of them listed
    ├── InputError          one input of predict that cannot be read
    └── TrainingError       a run that cannot go on: NaN, nothing to train

Each says what was expected, what was found, where, and what to do next. The CLI prints them in one place;
anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class HubError(Exception):
    """The root of the tree: `message` says what is wrong, `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(HubError):
    exit_code = 2


class BadReferenceError(HubError):
    exit_code = 2


class NotFoundError(HubError):
    pass


class IndexFormatError(HubError):
    pass


class IntegrityError(HubError):
    pass


class StorageError(HubError):
    pass


class TransferError(HubError):
    pass


class OfflineError(TransferError):
    pass


class UnsafeFileError(HubError):
    pass


class SpecError(HubError):
    pass


class WeightsError(HubError):
    pass


class MissingDependencyError(HubError):
    pass


class DeviceError(HubError):
    pass


class DataError(HubError):
    pass


class InputError(HubError):
    pass


class TrainingError(HubError):
    pass


def cut(text: str, most: int) -> str:
    """Give the first `most` characters of a text, and … behind them where there are more."""
    return text if len(text) <= most else text[:most] + "…"


def if_url(path: object) -> str:
    """Give what to add to "no such file" where the path is a URL, else nothing; to pathlib it has a slash less."""
    is_url = str(path).lower().startswith(("http:/", "https:/"))
    return "; a URL is not fetched: download it first" if is_url else ""


def did_you_mean(name: str, known: Iterable[str], *, most: int = 3, before: str = "") -> str:
    """Give "did you mean 'a' or 'b'?" for a name that is close to a known one, else an empty string.

    `before` is written before each, such as the folder that they are in.

    >>> did_you_mean("resnet5", ["resnet50", "vgg16"])
    "did you mean 'resnet50'?"
    """
    import difflib  # 4 ms that only a wrong name pays

    plain = {each.lower(): each for each in sorted(known, reverse=True)}
    close = [
        plain[match] for match in difflib.get_close_matches(name.lower(), sorted(plain), n=most, cutoff=0.6)
    ]
    return f"did you mean {' or '.join(repr(f'{before}{match}') for match in close)}?" if close else ""


def to_install(*packages: str) -> str:
    """Give the line that installs packages, in the versions that our own metadata asks for where it knows them.

    Never our own name: an index of packages may have another project under it.
    """
    import shlex  # only who lacks something pays for these
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires("hubtune") or []]
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        wanted = []
    versions = {each.name: f"{each.name}{each.specifier}" for each in wanted}
    return f"pip install {' '.join(shlex.quote(versions.get(name, name)) for name in packages)}"


def no_paddle() -> MissingDependencyError:
    """Give the error for a machine without paddle: the one dependency that pip is not told to bring."""
    hint = f"{to_install('paddlepaddle')}, or paddlepaddle-gpu for a GPU"
    return MissingDependencyError("paddle is not installed", hint=hint)


def one_of(what: str, name: object, known: Iterable[str]) -> UsageError:
    """Give the error for a name that is none of the known ones: what was given, what is allowed, the nearest."""
    allowed = sorted(known)
    text = f"{what}: expected one of {', '.join(allowed)}, found {name!r}"
    return UsageError(text, hint=did_you_mean(str(name), allowed))
