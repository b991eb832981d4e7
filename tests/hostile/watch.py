"""Open files in a process of its own, and tell what it did: `python watch.py ACTION FILE...` prints one JSON list.

Every element has the file's name, the error's type and text (null when there was none), the seconds it took, and
every event by which a process acts on the world: commands, sockets, imports, code, files opened to write, folders
made, renamed, removed. The last element has the peak of the memory in MiB. The first file is not watched: it is a
harmless one, for what is imported or compiled on first use. No file can be written beyond MOST_WRITTEN. Actions:

    pdparams    hub.modules.pdparams.read_nested
    header      hub.modules.safetensors_header.read_header
    archive     hub.registry.archive.unpack, into FILE.out
    pickle      pickle.load, as paddle.load does: to see what the files would have done
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

ACTS = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "subprocess.Popen", "socket.",
    "ctypes.", "import", "exec", "compile", "marshal.", "pty.", "webbrowser.", "urllib.", "ftplib.", "smtplib.",
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.putenv", "shutil.", "tempfile.",
)  # fmt: skip
MOST_WRITTEN = 50 * 2**20
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(action: str, files: list[Path], *, cwd: Path) -> tuple[dict[str, dict], float]:
    """Give what happened to each file by name, and the peak of the process's memory in MiB."""
    command = [sys.executable, __file__, action, *map(str, files)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"the process died ({done.returncode}):\n{done.stderr[-2000:]}"
    *reports, last = json.loads(done.stdout.splitlines()[-1])
    return {report["file"]: report for report in reports}, last["peak_mib"]


def _action(name: str):
    if name == "pdparams":
        from hub.modules.pdparams import read_nested

        return read_nested
    if name == "header":
        from hub.modules.safetensors_header import read_header

        return read_header
    if name == "archive":
        from hub.registry.archive import unpack

        return lambda path: unpack(path, path.with_name(path.name + ".out"))
    import pickle

    def load(path: Path) -> object:
        with path.open("rb") as file:
            return pickle.load(file, encoding="latin1")  # noqa: S301 - the tests see what would have happened

    return load


def _peak_mib() -> float:
    """The most memory that this process has had. On Linux, getrusage counts what the parent had, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


def _user_seconds() -> float:
    """The time that our own code took: neither other processes nor the disk are on trial here."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _main(action: str, files: list[Path]) -> None:
    resource.setrlimit(
        resource.RLIMIT_AS, (8 << 30, 8 << 30)
    )  # a bomb that gets through must not take the machine
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    run = _action(action)
    events: list[str] = []
    armed = False

    def hook(event: str, arguments: tuple) -> None:
        if not armed:
            return
        if event == "open":
            path, mode, flags = arguments
            if set(mode or "") & set("wax+") or flags & _WRITES:
                events.append(f"open {path}")
        elif event.startswith(ACTS):
            events.append(f"{event} {' '.join(map(str, arguments))[:300]}")

    sys.addaudithook(hook)
    reports: list[dict] = []
    for number, path in enumerate(files):
        events.clear()
        start, error = _user_seconds(), None
        armed = number > 0
        try:
            run(path)
        except BaseException as problem:  # SystemExit too: pip.main would
            error = problem
        armed = False
        reports.append({
            "file": path.name,
            "error": error and type(error).__name__,
            "message": error and str(error),
            "seconds": _user_seconds() - start,
            "events": list(events),
        })  # fmt: skip
    reports.append({"peak_mib": _peak_mib()})
    print(json.dumps(reports))


if __name__ == "__main__":
    _main(sys.argv[1], [Path(name) for name in sys.argv[2:]])
