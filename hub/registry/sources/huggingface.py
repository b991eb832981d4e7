"""Modules and encoders on the Hugging Face Hub, through the package huggingface_hub: its tokens, endpoint and retries.

The revision becomes a commit before anything else, the Hub's listing of that commit says which files there are, and
every file that arrives is compared with the digest that the listing promises. Large files lie in a store of the Hub's
behind an address that the library asks for; these are downloaded as everything else is, so that a killed download goes
on where it stopped, several connections share the work, and a progress bar is shown.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hub import settings
from hub._version import __version__
from hub.errors import (
    BadReferenceError,
    HubError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    OfflineError,
    TransferError,
    to_install,
)
from hub.files import sha256_of
from hub.naming import encoder_name, is_digest, is_size
from hub.registry.credentials import origin as origin_of
from hub.registry.index import File
from hub.registry.reference import Reference
from hub.registry.sources.fetched import MOST_BYTES, Fetched, checked, collect, printable
from hub.registry.sources.progress import progress_bar, steps

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

API_TIMEOUT_S = 30.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(reference: Reference, work: Path, *, most_bytes: int = MOST_BYTES) -> Fetched:
    """Put the module of hf://org/name@revision into a folder below `work`.

    Raises BadReferenceError, OfflineError, MissingDependencyError without huggingface_hub, NotFoundError for a
    repository or revision that is not there (or that this user may not see), TransferError when the Hub cannot be
    reached, and what `collect` raises.
    """
    reference = checked(reference, "hf")
    api = _api()
    with _translated(reference), _quiet():
        commit, files = _listing(api, reference)
    origin = str(Reference("hf", name=reference.name, revision=commit))
    folder = work / "module" / encoder_name(reference.name.rpartition("/")[2])

    def get(path: str) -> None:
        large = _large(files[path])
        with _translated(reference), _quiet():
            address = _stored_at(api, reference.name, path, commit) if large else None
        if large and address:
            arrived = work / "large"
            _download(address, large, arrived, title=f"{reference.name} {path}")
        else:
            with _translated(reference), _quiet():
                # A plain copy, in a folder of its own: the library keeps notes beside it.
                arrived = Path(
                    api.hf_hub_download(reference.name, path, revision=commit, local_dir=work / "huggingface")
                )
        _check(arrived, files[path], origin)
        os.replace(arrived, folder / path)

    sizes = {path: file.size or 0 for path, file in files.items() if is_size(file.size)}
    return collect(sizes, get, folder, origin=origin, most_bytes=most_bytes)


def _api() -> HfApi:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it is read once, by the import
    try:
        from huggingface_hub import HfApi
    except ImportError as problem:
        raise MissingDependencyError(
            f"hf:// needs the package huggingface_hub, which cannot be imported: {problem}",
            hint=to_install("huggingface_hub"),
        ) from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip(
        "/"
    )  # the library reads it once, we when it is needed
    return HfApi(endpoint=endpoint or None, library_name="hubtune", library_version=__version__)


def _listing(api: HfApi, reference: Reference) -> tuple[str, dict[str, RepoSibling]]:
    """Give the commit that the revision is now, and its files."""
    from huggingface_hub.utils import HFValidationError

    try:
        info = api.model_info(
            reference.name, revision=reference.revision or None, files_metadata=True, timeout=API_TIMEOUT_S
        )
        commit, files = info.sha, {str(file.rfilename): file for file in info.siblings or ()}
    except HFValidationError as problem:
        raise BadReferenceError(f"{reference}: {printable(str(problem))}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TransferError(
            f"{reference}: {api.endpoint} does not answer as the Hugging Face Hub does",
            hint="a login page or a proxy may have answered; HF_ENDPOINT names another server",
        ) from None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise IntegrityError(f"{reference}: expected a commit of 40 hex digits, found {commit!r}")
    return commit, files


def _large(file: RepoSibling) -> File | None:
    """Give what the listing promises of a large file, None for one that git itself keeps."""
    if file.lfs and is_digest(file.lfs.sha256) and is_size(file.size):
        return File(file.rfilename, file.lfs.sha256, file.size or 0)
    return None


def _stored_at(api: HfApi, name: str, path: str, commit: str) -> str | None:
    """Give the address of a large file in the Hub's store, None when the Hub (a mirror, say) keeps it itself.

    The Hub has asked for the token when it gives this address, so that nothing need be sent along to the store.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(name, path, revision=commit, endpoint=api.endpoint)
    address = api.get_hf_file_metadata(url=url, token=api.token, timeout=API_TIMEOUT_S).location
    return None if origin_of(address) == origin_of(url) else address


def _download(address: str, promised: File, to: Path, *, title: str) -> None:
    from hub.registry import download

    with progress_bar(title, promised.size) as advance:
        download.fetch(
            [address],
            to=to,
            partials=settings.home() / "tmp",
            sha256=promised.sha256,
            size=promised.size,
            progress=steps(advance),
            durable=False,
        )


def _check(path: Path, promised: RepoSibling, origin: str) -> None:
    """Compare a file with the listing: large files have a sha256 there, small ones git's id of their bytes."""
    where = f"{origin}: {promised.rfilename}"
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{where}: expected a plain file, found something else")
    if path.stat().st_size != promised.size:
        raise IntegrityError(f"{where}: expected {promised.size:,} bytes, found {path.stat().st_size:,}")
    if promised.lfs:
        kind, expected, found = "sha256", promised.lfs.sha256, sha256_of(path)
    else:
        kind, expected, found = "git id", promised.blob_id or "", _git_id(path)
    if found != expected:
        raise IntegrityError(f"{where}: expected {kind} {expected}, found {found}", hint="try again")


def _git_id(path: Path) -> str:
    """Give git's id of a file's bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars away, unless the user has decided about them."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled() or "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _translated(reference: Reference) -> Iterator[None]:
    """Turn what the library raises into our errors. Its messages quote URLs, so only their kind is taken over."""
    from huggingface_hub.utils import HfHubHTTPError, LocalEntryNotFoundError

    # Failed connections: the library has used requests, httpx and httpx2, and these bases follow it. RuntimeError is
    # what its compiled downloaders (hf_xet, hf_transfer) raise.
    bases = HfHubHTTPError.__bases__
    network: tuple[type[BaseException], ...] = (LocalEntryNotFoundError, *bases, OSError, RuntimeError)
    try:
        yield
    except HfHubHTTPError as problem:
        raise _refusal(reference, problem) from None
    except network as problem:
        causes = [problem, problem.__cause__]
        full = next((cause for cause in causes if isinstance(cause, OSError) and _of_disk(cause)), None)
        if full is not None:
            raise full from None  # the caller says which disk
        raise _unreachable(reference, [cause for cause in causes if cause is not None]) from None


def _of_disk(problem: OSError) -> bool:
    return problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)


def _refusal(reference: Reference, problem: BaseException) -> HubError:
    from huggingface_hub import utils as errors

    status = getattr(getattr(problem, "response", None), "status_code", None)
    login = "if you have access, set HF_TOKEN or run `hf auth login`"
    where = f"hf://{reference.name}"
    if isinstance(problem, errors.GatedRepoError):
        return NotFoundError(
            f"{where}: a gated repository, which is open only to those who accepted its conditions",
            hint=f"accept them on its page on the Hub, then {login.removeprefix('if you have access, ')}",
        )
    if isinstance(problem, errors.RevisionNotFoundError):
        return NotFoundError(
            f"{where}: no branch, tag or commit {reference.revision!r}", hint="leave it out for the newest"
        )
    if isinstance(problem, errors.RepositoryNotFoundError):
        return NotFoundError(
            f"{where}: no such model repository, or a private one", hint=f"check the name; {login}"
        )
    if isinstance(problem, errors.EntryNotFoundError):
        return IntegrityError(f"{where}: the Hub lists a file that it does not have", hint="try again")
    if status in (401, 403):
        return TransferError(f"{where}: the Hub refuses the token (status {status})", hint="check HF_TOKEN")
    if status == 429:
        return TransferError(f"{where}: the Hub has had too many requests from here", hint="wait a while")
    return TransferError(f"{where}: the Hub answered with status {status}", hint="try again later")


def _unreachable(reference: Reference, causes: list[BaseException]) -> HubError:
    from huggingface_hub.utils import OfflineModeIsEnabled

    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return OfflineError(
            f"{reference}: this needs the network, and HF_HUB_OFFLINE forbids it", hint="unset HF_HUB_OFFLINE"
        )
    refused = next((each for each in causes if getattr(each, "response", None) is not None), None)
    if refused is not None:
        return _refusal(reference, refused)
    kind = type(causes[-1]).__name__
    return TransferError(
        f"{reference}: the transfer from the Hugging Face Hub failed ({kind})",
        hint="try again; HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror",
    )
