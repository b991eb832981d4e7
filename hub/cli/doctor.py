"""`hub doctor`: what this machine has, what it lacks and what to do about it, in under five seconds."""

from __future__ import annotations

import argparse
import contextlib
import email.utils
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hub import settings
from hub.cli.output import human_size, table, write, write_json
from hub.cli.version import paddle_builds
from hub.errors import HubError, OfflineError, to_install
from hub.registry import cache, survey
from hub.registry.credentials import redact
from hub.registry.index import MAX_MODULE_BYTES, check_config
from hub.registry.sources.static import StaticSource
from hub.registry.transport import FileTransport, Response, SchemeTransport
from hub.registry.transport_http import HttpTransport

DISTRIBUTION = "hubtune"
OTHER_EXTRAS = {
    "all",
    "cpu",
    "test",
    "docs",
    "check",
}  # cpu has a check of its own, the rest are for developers
PROGRAM_TIMEOUT_S = 2.0
NETWORK_TIMEOUT_S = 2.0
LITTLE_SPACE_BYTES, NO_SPACE_BYTES = 1_000_000_000, 100_000_000
CLOCK_TOLERANCE_S = 300
DAY_S = 86_400

DEEP_TIMEOUT_S = 60
DEEP_CHECK = """
import paddle
ones = paddle.ones([8, 8])
assert float((ones @ ones).sum()) == 512.0, "8 x 8 ones times ones do not sum to 512"
print(f"paddle {paddle.__version__} computes on {paddle.device.get_device()}")
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. status: ok, warn (it may matter) or fail (something will not work)."""

    status: str
    name: str
    found: str
    hint: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deep", action="store_true", help="also import paddle and compute something with it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each check; 1 when one of them failed."""
    checks = [*_packages(), *_name(), *_settings(), *_home(), _cache(), *_indexes()]
    if arguments.deep:
        checks.append(_deep())
    if arguments.json:
        write_json([asdict(check) for check in checks])
    else:
        rows = [(check.status, check.name, check.found) for check in checks]
        heading, *lines = table(rows, ("STATUS", "CHECK", "FOUND")).splitlines()
        for check, line in zip(checks, lines, strict=True):
            heading += f"\n{line}" + (f"\n        hint: {check.hint}" if check.hint else "")
        write(heading)
    return int(any(check.status == "fail" for check in checks))


def _packages() -> Iterator[Check]:
    """Check hub, Python and every package that our own metadata asks for."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        hint = "in a checkout: pip install -e '.[cpu]'"
        yield Check("fail", "hub", f"the distribution {DISTRIBUTION} is not installed", hint)
        return
    yield Check("ok", "hub", f"{distribution.version} in {Path(__file__).parents[1]}")
    wanted = distribution.metadata["Requires-Python"]
    fits = platform.python_version() in SpecifierSet(wanted)
    hint = "" if fits else f"hub is made for Python {wanted}"
    yield Check("ok" if fits else "warn", "python", f"{platform.python_version()} in {sys.prefix}", hint)
    requirements = [Requirement(text) for text in distribution.requires or []]
    for requirement in requirements:
        if requirement.marker is None:
            yield _package(requirement)
    yield from _paddle([r for r in requirements if r.name == "paddlepaddle"])
    for extra in distribution.metadata.get_all("Provides-Extra", []):
        if extra not in OTHER_EXTRAS:
            yield _extra(extra, [r for r in requirements if r.marker and r.marker.evaluate({"extra": extra})])


def _package(requirement: Requirement) -> Check:
    version = _installed(requirement.name)
    hint = f"pip install '{requirement.name}{requirement.specifier}'"
    if version is None:
        return Check("fail", requirement.name, "not installed", hint)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check("warn", requirement.name, f"{version}, expected {requirement.specifier}", hint)
    return Check("ok", requirement.name, version)


def _extra(extra: str, requirements: list[Requirement]) -> Check:
    """Check an optional set of packages: to lack it is fine, to have another version of it is not."""
    checks = [_package(requirement) for requirement in requirements]
    wrong = [f"{check.name} {check.found}" for check in checks if check.status == "warn"]
    missing = [check.name for check in checks if check.status == "fail"]
    how = to_install(*(check.name for check in checks if check.status != "ok"))
    if wrong:
        return Check("warn", f"extra {extra}", "; ".join(wrong), how)
    found = f"lacks {', '.join(missing)} ({how})" if missing else "complete"
    return Check("ok", f"extra {extra}", found)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _paddle(requirements: list[Requirement]) -> Iterator[Check]:
    """Check that there is one build of paddle, of a version that was tried, and that it suits the device."""
    builds = paddle_builds()
    gpus = _gpus()
    yield Check("ok", "nvidia", gpus or "no GPU: nvidia-smi is missing or finds none")
    if not builds:
        hint = f"{to_install('paddlepaddle')}, or paddlepaddle-gpu as paddlepaddle.org.cn/install says"
        yield Check("fail", "paddle", "neither paddlepaddle nor paddlepaddle-gpu is installed", hint)
        return
    if len(builds) > 1:
        hint = "pip uninstall both, then install the one that you want"
        yield Check("fail", "paddle", "paddlepaddle and paddlepaddle-gpu overwrite each other's files", hint)
        return
    ((name, version),) = builds.items()
    found, hint = f"{name} {version}", ""
    wanted = next(
        (r.specifier for r in requirements if not r.specifier.contains(version, prereleases=True)), None
    )
    if wanted is not None:
        found, hint = f"{found}, expected {wanted}", f"pip install '{name}{wanted}'"
    elif gpus and name == "paddlepaddle":
        found, hint = f"{found}, the build without GPU support", "paddlepaddle-gpu would use the GPU"
    elif not gpus and name == "paddlepaddle-gpu":
        found, hint = (
            f"{found}, but there is no GPU",
            "it computes on the CPU; check the driver with nvidia-smi",
        )
    yield Check("warn" if hint else "ok", "paddle", found, hint)


def _gpus() -> str:
    """Give the names of the GPUs that the driver sees, "" when there are none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(answer.stdout.split("\n")).strip("; ")


def _name() -> Iterator[Check]:
    """Check that `import hub` and the command `hub` mean this project."""
    other = _installed("hub")
    if other is not None:
        hint = "pip uninstall hub, then in a checkout of this one: pip install --force-reinstall --no-deps ."
        yield Check("fail", "name", f"PyPI's hub {other}, another project, has the same import name", hint)
    # A checkout has an egg-info of its own beside what pip installed: look at both.
    files = [file for each in metadata.distributions(name=DISTRIBUTION) for file in each.files or []]
    scripts = [file for file in files if file.stem == "hub" and file.parent.name in ("bin", "Scripts")]
    ours = [Path(str(script.locate())).resolve() for script in scripts]
    command = shutil.which("hub")
    if ours and (command is None or Path(command).resolve() not in ours):
        found = f"`hub` on PATH is {command}, not this installation's" if command else "`hub` is not on PATH"
        yield Check("warn", "command", found, f"put {ours[0].parent} first on PATH, or use python -m hub")
    else:
        yield Check("ok", "command", command or "python -m hub")


def _settings() -> Iterator[Check]:
    for name, (default, meaning) in settings.VARIABLES.items():
        value = _tokens() if name == "HUB_TOKEN_<HOST>" else os.environ.get(name)
        yield Check("ok", name, _shown(value) if value else f"not set: {default} ({meaning})")
    try:
        settings.offline()
    except HubError as error:
        yield Check("fail", "HUB_OFFLINE", error.message, "unset it, or set it to 0 or 1")
    for name in sorted(os.environ):
        if name.startswith("HUB_") and name not in settings.VARIABLES and not name.startswith("HUB_TOKEN_"):
            hint = f"the variables are {', '.join(settings.VARIABLES)}"
            yield Check("warn", name, "is set, but hub knows no such variable", hint)


def _tokens() -> str:
    """Give the variables that hold a token, never what is in them."""
    return ", ".join(sorted(name for name in os.environ if name.startswith("HUB_TOKEN_")))


def _shown(text: str) -> str:
    """Give a setting as it may be printed: without the passwords in its URLs."""
    return re.sub(r"[^\s,]+://[^\s,]+", lambda url: redact(url[0]), text)


def _home() -> Iterator[Check]:
    """Check that there is a place for modules, that it takes files, and how full it is."""
    home = settings.home()
    place = next(folder for folder in (home, *home.parents) if os.access(folder, os.F_OK))
    hint = "set HUB_HOME to a folder that you may write to"
    if not place.is_dir():
        yield Check("fail", "home", f"{home}: {place} is a file", hint)
        return
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"hub")
    except OSError as error:
        yield Check("fail", "home", f"{home}: nothing can be written in {place}: {error.strerror}", hint)
    else:
        yield Check("ok", "home", str(home) if home.exists() else f"{home} (made at the first install)")
    free = shutil.disk_usage(place).free
    status = "fail" if free < NO_SPACE_BYTES else "warn" if free < LITTLE_SPACE_BYTES else "ok"
    hint = "" if status == "ok" else "free some space, or set HUB_HOME to a folder on another disk"
    yield Check(status, "disk", f"{human_size(free)} free", hint)


def _cache() -> Check:
    """Check that every installed module has a record that can be read, and say how much all of it takes."""
    home = settings.home()
    sizes: dict[tuple[int, int], int] = {}  # by inode: a module's files are links to the blobs
    for folder, _, names in os.walk(home):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process is at work
                found = Path(folder, name).lstat()
                sizes[found.st_dev, found.st_ino] = found.st_size
    try:
        modules = home / "modules"
        read = [
            cache.read(name, each)
            for name in cache.listing(modules)
            for each in cache.listing(modules / name)
        ]
    except HubError as error:
        return Check(
            "fail", "cache", error.message, error.hint or "set HUB_HOME to a folder that you may read"
        )
    records = [record for record in read if record]
    for record in records:
        for file in record.files:  # sizes only: `hub cache verify` reads every byte
            path = record.folder / file.path
            if not path.is_file() or path.stat().st_size != file.size:
                what = "has another size than it had" if path.exists() else "is missing"
                return Check("fail", "cache", f"{path} {what}", f"hub install {record.name}@{record.version}")
    sets = len(survey.data_sets())
    kept = f"{len(records)} modules" + (f", {sets} data set{'' if sets == 1 else 's'}" if sets else "")
    return Check("ok", "cache", f"{kept}; {human_size(sum(sizes.values()))} in {len(sizes)} files")


def _indexes() -> Iterator[Check]:
    """Check that every index answers, and by the way what their clocks say."""
    names = settings.indexes()
    answers = _ask(names)
    for name in names:
        yield _index(_shown(name), answers.get(name))
    dates = (answer.headers.get("date") for answer in answers.values() if isinstance(answer, Response))
    yield _clock([date for date in dates if date])


def _ask(indexes: Sequence[str]) -> dict[str, Response | HubError]:
    """Ask every index for its config.json at once; one that is missing from the result did not answer in time."""
    answers: dict[str, Response | HubError] = {}
    http = HttpTransport(connect_timeout_s=NETWORK_TIMEOUT_S, read_timeout_s=NETWORK_TIMEOUT_S)
    transport = SchemeTransport({"http": http, "https": http, "file": FileTransport()})

    def ask(index: str) -> None:
        try:
            source = StaticSource(index)
            with transport.open(source.address("config.json")) as answer:
                if answer.status == 200:
                    check_config(_body(answer), source=f"{source.name}/config.json")
                answers[index] = answer
        except HubError as error:
            answers[index] = error

    # Daemons, because looking up a host name knows no timeout and must not keep the process alive.
    threads = [threading.Thread(target=ask, args=(index,), daemon=True) for index in indexes]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 1.5 * NETWORK_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _body(answer: Response) -> bytes:
    """Give a document, or as much of it as shows that it is too long."""
    body = b""
    for chunk in answer.chunks:
        body += chunk
        if len(body) > MAX_MODULE_BYTES:
            break
    return body


def _index(shown: str, answer: Response | HubError | None) -> Check:
    hint = "check HUB_INDEX, the network and HTTPS_PROXY; HUB_OFFLINE=1 works with what is installed"
    if answer is None:
        return Check("fail", "index", f"{shown}: no answer in {1.5 * NETWORK_TIMEOUT_S:g} s", hint)
    if isinstance(answer, OfflineError):
        return Check("ok", "index", f"{shown}: not asked, HUB_OFFLINE is set")
    if isinstance(answer, HubError):
        return Check("fail", "index", answer.message, answer.hint or hint)
    if answer.status == 404:
        hint = "correct HUB_INDEX; `hub publish` makes an index"
        return Check("fail", "index", f"{shown}: there is no index, no config.json", hint)
    if answer.status != 200:
        return Check("fail", "index", f"{shown}: answers {answer.status}", hint)
    return Check("ok", "index", f"{shown}: answers")


def _clock(dates: Sequence[str]) -> Check:
    """Check that the clock is not before this installation and agrees with the indexes: certificates need it."""
    now, hint = time.time(), "set the clock: connections with certificates fail otherwise"
    installed = Path(__file__).stat().st_mtime
    if now < installed - DAY_S:
        return Check("warn", "clock", f"{_day(now)} is before hub was installed, {_day(installed)}", hint)
    for date in dates:
        theirs = email.utils.parsedate_tz(date)  # None when it is no date
        if theirs and abs(email.utils.mktime_tz(theirs) - now) > CLOCK_TOLERANCE_S:
            return Check("warn", "clock", f"{_day(now)} here, {date} at an index", hint)
    return Check("ok", "clock", _day(now))


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _deep() -> Check:
    """Check that paddle imports and computes, in a process of its own: a broken build may kill the interpreter."""
    again = f"uninstall paddle, then {to_install('paddlepaddle')}, or paddlepaddle-gpu for a GPU"
    try:
        done = subprocess.run(
            [sys.executable, "-c", DEEP_CHECK], capture_output=True, text=True, timeout=DEEP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Check("fail", "deep", f"paddle did not compute 8 x 8 numbers in {DEEP_TIMEOUT_S} s", again)
    if done.returncode:
        last = (done.stderr.strip() or f"killed by signal {-done.returncode}").splitlines()[-1]
        return Check("fail", "deep", last, again)
    return Check("ok", "deep", done.stdout.strip().splitlines()[-1])
