"""Faults at the command line: hostile names, Ctrl-C, closed pipes, wrong clocks, huge indexes, doctor's eyes."""

from __future__ import annotations

import email.utils
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultserver import SMALL_BUFFER, WITH_SMALL_BUFFERS, FaultServer, Reply
from folders import large_index, module_folder, tree

from hub import settings
from hub.cli.index import check_index
from hub.cli.main import COMMANDS, main
from hub.errors import NotFoundError, StorageError
from hub.registry import cache, client, housekeeping
from hub.registry.manifest import Manifest

HERE = Path(__file__).parent
BUNDLED = HERE.parent / "hub" / "modules" / "bundled" / "files" / "glyphs_cnn" / "1.0.0"
MOST_LINES = 12
Watched = tuple[int, list[str], list[str]]  # lines that ended as they should, what did not, files left behind
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")


def run_child(code: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True, text=True, **more,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with nets 1.0.0."""
    client.publish(
        module_folder(tmp_path / "made", name="nets", weights=bytes(3_000_000)), tmp_path / "index"
    )
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


# ---- F29: names that want to be something else ----


def hostile_names() -> list[str]:
    """Give texts that are no module, each of which some program took for a path, an option, a command, another name."""
    # fmt: off
    up = [
        "../x", "../../x", "x/../../y", "..\\x", "x\\..\\..\\y", "....//x", "..%2fx", "%2e%2e/x", "..;/x",
        "x/..", "/..", ".../x", "..%00/x", "..%c0%afx", "~/../../x", "x/./../../../y",
        "./../../../../../../etc/passwd",
    ]
    roots = [
        "/etc/passwd", "//host/share", "\\\\host\\share", "\\\\?\\C:\\x", "C:\\x", "C:x", "c:/x",
        "/dev/null", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc/self/environ", "~root/",
        "~nobody_here/", "~/", "\\x", "/",
    ]
    devices = ("con", "CON", "prn", "AUX", "nul", "NUL", "com1", "COM9", "lpt1", "conin$")
    unseen = [
        *range(32), *range(127, 160), 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A),
        0xD800, 0xDFFF, 0xFEFF,
    ]
    alike = [
        "nеts", "ｎｅｔｓ", "nets\u0301", "ñets", "néts", "ɴets", "NETS", "Nets", "nets．", "𝐧ets", "nets²",
    ]
    commands = [
        "$(id)", "`id`", "nets;id", "nets|id", "nets&id", "nets>x", "${HOME}", "$HOME", "%PATH%", "!id",
        "nets\\", "'", "\"", "nets'", "*", "?", "[a-z]", "{a,b}", "#", "nets #", "<x", "nets<x", "(nets)",
        "a=b",
    ]
    options = [
        "-rf", "--rf", "-", "-1", "-C/x", "--to", "--json=x", "--to=/x", "-c", "--upload-pack=id",
        "--config=x", "-n.tar.gz", "-/",
    ]
    urls = [
        "file:///etc/passwd", "ftp://h/x", "javascript:1", "data:,x", "gopher://h", "http://",
        "https:///x", "http://u:p@h/x", "https://h/x#y", "https://h:x/", "ssh://h/x", "git+ssh://h/x",
        "git+file:///x", "git+https://h/x@--upload-pack=id", "git+https://h/x#subdirectory=../y",
        "git+https://h/x@../y", "hf://../x", "hf://a/b/c", "hf://a/b@../c", "hf://-a/b",
        "paddlehub://../x", "paddlehub://", "HTTP://h/x", "http:\\\\h\\x", "//h/x", "https://h/x y",
        "s3://b/x",
    ]
    long = [
        "n" * 65, "n" * 300, "n" * 5000, "a/" * 200, "../" * 200, "./" + "n" * 300, "/" + "n" * 5000,
        "n" * 300 + ".zip",
    ]
    forms = [
        "%s%n", "nets,nets", "nets=nets", "nets:latest", "@", "@1.0.0", "nets@@", "nets ./x",
        "{0.__class__}", "{{7*7}}", "<b>", "' OR 1=1 --", "../\u202ezip.x", "nets,", "nets.", ".nets",
        "_nets", "nets nets", "", " ", "\t", "\n", ".", "..", "none.zip", "none/", "./none", "__import__",
        "nets.zip/../x",
    ]
    versions = [
        "../x", "", "1/2", "1.0.0/../..", "..", "/", "$(id)", "-1", "1.0.0+a", "x" * 99, "1\u202e",
        "1\x00", "*", "v", "1.0.0;id", "latest", "1e9", "٣", "1..0", "~1", "1.0.0.", "%2e", "CON", "\\",
        "0x1",
    ]
    ranges = [
        ">=", "==../x", "===../x", "<1;id", "==1.*.*", "~=1", "=1", "!1", ">=x", "===$(id)", "@1@2",
        "@>=1", ">=1,,<", "== ==", "<" * 50,
    ]
    # fmt: on
    names = [*up, *roots, *alike, *commands, *options, *urls, *long, *forms]
    names += [device + end for device in devices for end in ("", ".txt", ".tar.gz", ":")]
    names += [f"ne{chr(code)}ts" for code in unseen]
    names += [f"nets@{version}" for version in versions] + [f"nets{versions}" for versions in ranges]
    return list(dict.fromkeys(names))


# Every command, with the place of the name. What is asked for must be refused before it is looked at.
LINES = {
    "search": ["search", "{}"], "list": ["list", "--task", "{}"], "show": ["show", "{}"], "install": ["install", "{}"],
    "uninstall": ["uninstall", "{}"], "verify": ["verify", "{}"], "run": ["run", "{}", "a.png"],
    "finetune": ["finetune", "{}", "nowhere"], "evaluate": ["evaluate", "{}", "nowhere"],
    "range-test": ["range-test", "{}", "nowhere"],
    "publish": ["publish", "{}", "--to", "new_index"], "export": ["export", "{}", "--to", "out.tar.gz"],
    "cache rm": ["cache", "rm", "{}"], "cache verify": ["cache", "verify", "{}"], "index": ["index", "check", "{}"],
}  # fmt: skip
WITHOUT_A_NAME = {"doctor", "version", "cache", "datasets"}

WATCHED = """
import contextlib, io, json, os, sys, traceback
from pathlib import Path
lines, names = json.load(sys.stdin)
import hub, hub.module, hub.cli.main
from hub.cli.main import main
from hub.errors import HubError
from hub.registry import client, listing
allowed = (os.environ["HUB_HOME"] + "/", os.getcwd() + "/", "/dev/null/")
ACTS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo", "os.fork")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate",
           "shutil.")
events, wrong, done = [], [], 0

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes)) and (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            if not (os.path.abspath(os.fsdecode(path)) + "/").startswith(allowed):
                events.append(f"open {path!r}")
    elif event.startswith(ACTS):
        events.append(f"{event} {arguments!r}"[:200])
    elif event.startswith(CHANGES):
        paths = [os.path.abspath(os.fsdecode(a)) for a in arguments if isinstance(a, (str, bytes))]
        if any(not f"{path}/".startswith(allowed) for path in paths):
            events.append(f"{event} {arguments!r}"[:200])

sys.addaudithook(watch)

def note(what, name, text):
    wrong.append(f"{what} {name[:60]!a}: {text[-300:]!a}")

for what, line in lines.items():
    for name in names:
        ways = [[word.replace("{}", name) for word in line]]
        if name.startswith("-") and len(line) == 2:
            ways.append([line[0], "--", name])
        for words in ways:
            events.clear()
            out, err = io.StringIO(), io.StringIO()
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = main(words)
            except BaseException:
                note(what, name, traceback.format_exc())
                continue
            done += 1
            said = err.getvalue()
            if events: note(what, name, str(events))
            if code not in (0, 1, 2): note(what, name, f"exit code {code}")
            if code == 0 and what not in ("search", "list"): note(what, name, "was accepted")
            if code and "error: " not in said and what not in ("verify", "index"): note(what, name, said)
            if len(said.splitlines()) > 12: note(what, name, "too many lines")
            shown = said + out.getvalue()
            if not shown.replace("\\n", "").isprintable(): note(what, name, f"unprintable: {shown!r}")

for what in ("locate", "install", "show", "uninstall", "Module"):
    act = hub.module.Module if what == "Module" else getattr(listing if what == "show" else client, what)
    for name in names:
        events.clear()
        try:
            act(name)
            note(what, name, "was accepted")
        except HubError as error:
            done += 1
            if len(str(error).splitlines()) > 12: note(what, name, "too many lines")
        except BaseException:
            note(what, name, traceback.format_exc())
        if events: note(what, name, str(events))
json.dump([done, wrong], sys.stdout)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Say every hostile name to every command and every verb, in one process that is watched."""
    base = tmp_path_factory.mktemp("hostile")
    for folder in ("home", "work", "victims"):
        (base / folder).mkdir()
    (base / "victims" / "x").write_text("untouched", encoding="utf-8")
    (base / "x").write_text("untouched", encoding="utf-8")
    client.publish(module_folder(base / "made", name="nets"), base / "index")
    before = {
        path: content for path, content in tree(base).items() if not path.startswith(("home/", "work/"))
    }
    environment = {
        **os.environ, "HOME": str(base / "home"), "HUB_HOME": str(base / "home/hub"), "HUB_INDEX": str(base / "index"),
        "HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    given = json.dumps([LINES, hostile_names()])
    done = run_child(WATCHED, env=environment, cwd=base / "work", input=given)
    assert done.returncode == 0, done.stderr[-2000:]
    count, wrong = json.loads(done.stdout[done.stdout.rindex("[" + str(json.loads(done.stdout)[0])) :])
    after = {path: content for path, content in tree(base).items() if not path.startswith(("home/", "work/"))}
    if after != before:
        wrong.append("files outside of the home and the working folder have changed")
    return count, wrong, sorted(tree(base / "work"))


def test_F29_every_command_is_tried_with_every_name() -> None:
    assert {line[0] for line in LINES.values()} | WITHOUT_A_NAME == set(COMMANDS)
    assert len(hostile_names()) >= 300


@linux
def test_F29_hostile_names_are_refused_everywhere_and_nothing_outside_is_written(watched: Watched) -> None:
    count, wrong, left = watched
    found = [each for each in wrong if not each.startswith("index ")]
    assert found == [], f"{len(found)} of {count}\n" + "\n".join(found[:40])
    assert count >= (len(LINES) + 5) * len(hostile_names()) - len(wrong)
    assert left == []


@linux
def test_F29_hub_index_check_refuses_them_too(watched: Watched) -> None:
    wrong = [each for each in watched[1] if each.startswith("index ")]
    assert wrong == [], "\n".join(wrong)


# ---- F63: Ctrl-C at any moment ----

MOMENTS = 50
INTERRUPTED = """
import json, os, signal, sys
base, moments, needs_paddle, *words = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
import filelock, secrets, socket
import hub.cli.list, hub.cli.install, hub.cli.uninstall, hub.cli.publish, hub.cli.cache, hub.cli.export
from hub.cli.main import main
from hub.registry import client, install, publish, archive, export, housekeeping
if int(needs_paddle):
    import hub.module

def run(moment, at):
    place = f"{base}/{moment}"
    os.environ["HUB_HOME"] = f"{place}/home"
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    seen = 0
    def count(event, arguments):
        nonlocal seen
        seen += 1
        if seen == at:
            signal.raise_signal(signal.SIGINT)
    sys.addaudithook(count)
    code = main([word.replace("{}", place) for word in words])
    sys.stdout.flush()
    total = seen
    with open(f"{place}/seen", "w") as file:
        file.write(str(total))
    os._exit(code)

def wait(moment, at):
    child = os.fork()
    if child == 0:
        try:
            run(moment, at)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert wait(0, 0) == 0, open(f"{base}/0/err").read()
total = int(open(f"{base}/0/seen").read())
codes = [wait(n, max(1, total * n // (int(moments) + 1))) for n in range(1, int(moments) + 1)]
json.dump([total, codes], sys.stdout)
"""
LINES_TO_INTERRUPT = {
    "install": ["install", "nets"],
    "uninstall": ["uninstall", "nets"],
    "publish": ["publish", str(BUNDLED), "--to", "{}/index"],
    "cache rm": ["cache", "rm", "nets"],
    "export": ["export", "nets", "--to", "{}/out.tar.gz"],
    "list": ["list"],
}


@linux
@pytest.mark.parametrize("verb", LINES_TO_INTERRUPT)
def test_F63_ctrl_c_at_any_moment_gives_130_and_the_old_or_the_new_state(
    verb: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "moments"
    if verb not in ("install", "publish"):
        monkeypatch.setenv("HUB_HOME", str(tmp_path / "template"))
        client.install("nets")
    for moment in range(MOMENTS + 1):
        (base / str(moment)).mkdir(parents=True)
        if (tmp_path / "template").exists():
            shutil.copytree(tmp_path / "template", base / str(moment) / "home")
        if verb == "publish":
            shutil.copytree(index, base / str(moment) / "index")
    needs_paddle = str(int(verb == "publish"))
    line = LINES_TO_INTERRUPT[verb]
    done = run_child(
        INTERRUPTED, str(base), str(MOMENTS), needs_paddle, *line, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    total, codes = json.loads(done.stdout)
    assert total > MOMENTS
    for moment, code in enumerate(codes, start=1):
        place = base / str(moment)
        said = (place / "err").read_text(encoding="utf-8")
        assert "Traceback" not in said, f"{moment} of {total}: {said}"
        assert (code, said.splitlines()[-1:]) == (130, ["interrupted"]), f"{moment}: {code} {said}"
        monkeypatch.setenv("HUB_HOME", str(place / "home"))
        check_state(verb, place)
    assert codes == [130] * MOMENTS


def check_state(verb: str, place: Path) -> None:
    """Check that what is visible is whole, that nothing is left, and that the next try comes to its end."""
    if verb == "publish":
        extra = [finding for finding in check_index(place / "index") if "extra" not in finding.problem]
        assert [finding for finding in extra if "search.json" not in finding.path] == []
        client.publish(BUNDLED, place / "index")
        assert check_index(place / "index") == []
        return
    assert housekeeping.verify().findings == []
    installed = [record.name for record in cache.installed()]
    assert installed == ["nets"] if verb in ("list", "export") else installed in ([], ["nets"])
    if verb == "export":
        made = {path.name for path in place.iterdir()} - {"home", "out", "err", "seen"}
        # Interrupted once more while it tidies up, it leaves its own hidden folder of links.
        assert {name for name in made if not name.startswith(".out.tar.gz.")} <= {"out.tar.gz"}
        assert "out.tar.gz" not in made or client.install(place / "out.tar.gz").name == "nets"
    client.install("nets")
    client.uninstall("nets")
    assert [path for path in tree(place / "home") if path.startswith("tmp/")] == []


COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from hub.cli.main import main
sys.exit(main())
"""


@linux
@pytest.mark.parametrize("offset", [1, 65_536, 1_000_000, 2_999_999])
def test_F63_ctrl_c_during_a_download_keeps_what_has_arrived(
    offset: int, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/hub/files/nets/1.0.0/weights.safetensors"
    files = {f"/hub/{name}": content for name, content in tree(index).items()}
    with FaultServer(files, send_buffer=SMALL_BUFFER) as server:
        monkeypatch.setenv("HUB_INDEX", f"{server.url}/hub")
        child = subprocess.Popen(
            [sys.executable, "-c", WITH_SMALL_BUFFERS + COMMAND, "install", "nets"],
            stderr=subprocess.PIPE,
            text=True,
        )
        server.script(path, Reply(at=(offset, lambda: child.send_signal(signal.SIGINT)), stall=offset))
        said = child.communicate(timeout=30)[1]
        assert (child.returncode, said) == (130, "interrupted\n")
        assert not (settings.home() / "modules").exists()
        client.install("nets")
        assert server.sent(path) <= 3_000_000 + 2**20
    assert housekeeping.verify().findings == []


@linux
def test_F63_ctrl_c_while_a_server_is_silent_about_small_files_ends_the_process(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"/hub/{name}": content for name, content in tree(index).items()}
    with FaultServer(files) as server:
        monkeypatch.setenv("HUB_INDEX", f"{server.url}/hub")
        child = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "install", "nets"], stderr=subprocess.PIPE, text=True
        )
        last = threading.Barrier(4, action=lambda: child.send_signal(signal.SIGINT))  # all four have begun
        for name in ("README.md", "labels.txt", "golden/input.npz", "module.yaml"):
            server.script(f"/hub/files/nets/1.0.0/{name}", Reply(at=(1, last.wait), stall=1))
        said = child.communicate(timeout=15)[1]  # by itself a request waits for 30 s, five times
        assert (child.returncode, said) == (130, "interrupted\n")
        client.install("nets")
    assert [path for path in tree(settings.home()) if path.startswith("tmp/")] == []


# ---- F64, F66: many rows ----


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_index(tmp_path_factory.mktemp("large") / "index", modules=100_000)


@pytest.mark.parametrize("line", ["list", "list --json", "search photos", "search photos --json"])
def test_F64_a_reader_that_leaves_after_the_first_line_is_no_error(
    line: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", str(large))
    command = [sys.executable, "-m", "hub", *line.split()]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert (child.wait(60), child.stderr.read()) == (0, "")
    child.stderr.close()


# A small process of its own: getrusage tells of a child at least the memory that its parent had when it was made.
MEASURE = """
import json, resource, subprocess, sys
with open("out", "w") as out:
    done = subprocess.run([sys.executable, "-m", "hub", *sys.argv[1:]], stdout=out, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump([done.returncode, done.stderr, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], sys.stdout)
"""


@linux
@pytest.mark.parametrize(
    ("line", "rows", "most_s"),
    [
        ("list", 100_000, 3),
        ("search net09999", 10, 1),
        ("search nothing_at_all", 0, 1),
        ("show net099999_photos", 5, 1),
    ],
)
def test_F66_a_command_over_100_000_modules_takes_less_than_200_mb(
    line: str, rows: int, most_s: float, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of three, in processor time, start of Python included: other work on the machine must not count.

    A terminal shows a page of a search, and 100,000 rows to nobody: that may take as long as printing them takes.
    """
    monkeypatch.setenv("HUB_INDEX", str(large))
    for _ in range(3):
        done = run_child(MEASURE, *line.split(), cwd=tmp_path)
        code, said, seconds, mib = json.loads(done.stdout)
        print(f"hub {line}: {seconds:.2f} s, {mib:.0f} MiB")
        assert code == 0, said
        assert mib < 200
        if seconds < most_s:
            break
    assert seconds < most_s
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) >= rows


# ---- F65: a clock that is two years off ----

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { const char *text = getenv("CLOCK_OFF"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t id, struct timespec *ts) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, ts);
    if (id == CLOCK_REALTIME && code == 0) ts->tv_sec += off();
    return code;
}
time_t time(time_t *to) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (to) *to = ts.tv_sec;
    return ts.tv_sec;
}
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec; tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
"""
TWO_YEARS_S = 2 * 365 * 86_400


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables under which a process sees another date, and a certificate that is valid for a month from now."""
    compiler, openssl = shutil.which("cc"), shutil.which("openssl")
    if sys.platform != "linux" or compiler is None or openssl is None:
        pytest.skip("needs Linux, a C compiler and the openssl command")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK, encoding="utf-8")
    made = [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    made = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out pem -days 30"
    made = [*made.split(), "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    variables = {"LD_PRELOAD": str(folder / "clock.so"), "REQUESTS_CA_BUNDLE": str(folder / "pem")}
    seen = run_child(
        "import time; print(time.time())", env={**os.environ, **variables, "CLOCK_OFF": str(TWO_YEARS_S)}
    )
    if float(seen.stdout) < time.time() + TWO_YEARS_S / 2:
        pytest.skip("this system does not let a process see another date")
    return variables


@pytest.mark.parametrize(
    ("off", "says"),
    [(0, ""), (TWO_YEARS_S, "has expired"), (-TWO_YEARS_S, "is not valid yet")],
    ids=["right", "fast", "slow"],
)
def test_F65_a_clock_two_years_off_is_named(off: int, says: str, clock: dict[str, str], index: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = Path(clock["REQUESTS_CA_BUNDLE"]).parent
    context.load_cert_chain(folder / "pem", folder / "key")
    with FaultServer(
        {f"/hub/{name}": content for name, content in tree(index).items()}, tls=context
    ) as server:
        environment = {**os.environ, **clock, "CLOCK_OFF": str(off), "HUB_INDEX": f"{server.url}/hub"}
        command = [sys.executable, "-m", "hub", "install", "nets"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == (1 if off else 0), done.stderr
    if off:
        assert says in done.stderr
        assert "clock" in done.stderr
        assert len(done.stderr.splitlines()) <= MOST_LINES
        assert not (settings.home() / "modules").exists()


@pytest.mark.parametrize("off", [TWO_YEARS_S, -TWO_YEARS_S], ids=["fast", "slow"])
def test_F65_doctor_finds_a_clock_two_years_off(off: int, clock: dict[str, str], index: Path) -> None:
    with FaultServer({f"/hub/{name}": content for name, content in tree(index).items()}) as server:
        server.headers["Date"] = email.utils.formatdate(usegmt=True)
        environment = {**os.environ, **clock, "CLOCK_OFF": str(off), "HUB_INDEX": f"{server.url}/hub"}
        command = [sys.executable, "-m", "hub", "doctor", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    [found] = [check for check in json.loads(done.stdout) if check["name"] == "clock"]
    assert found["status"] == "warn"
    assert "set the clock" in found["hint"]


# ---- F69: what doctor sees ----

FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty record": ("cache", lambda home: write(next(home.glob("modules/*/*/.hub.json")), b"")),
    "garbage for a record": ("cache", lambda home: write(next(home.glob("modules/*/*/.hub.json")), b"\xff{")),
    "record of a newer hub": (
        "cache",
        lambda home: write(next(home.glob("modules/*/*/.hub.json")), b'{"schema": 2}'),
    ),
    "a file for a home": ("home", lambda home: (shutil.rmtree(home), home.write_bytes(b""))),
    "weights cut": ("cache", lambda home: write(next(home.glob("modules/*/*/weights*")), b"")),
    "weights gone": ("cache", lambda home: next(home.glob("modules/*/*/weights*")).unlink()),
}
NOT_SEEN: set[str] = set()


def write(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason="doctor looks at records only", strict=True))
        if name in NOT_SEEN
        else name
        for name in FAULTS
    ],
)
def test_F69_doctor_finds_the_fault_and_says_what_to_do(
    name: str, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.install("nets")
    assert main(["doctor", "--json"]) == 0
    capsys.readouterr()
    check, damage = FAULTS[name]
    damage(settings.home())
    assert main(["doctor", "--json"]) == 1
    [found] = [each for each in json.loads(capsys.readouterr().out) if each["name"] == check]
    assert found["status"] == "fail"
    assert str(settings.home()) in found["found"] + found["hint"]
    assert found["hint"]


@linux
def test_F69_doctor_finds_a_cache_that_cannot_be_written(index: Path, tmp_path: Path) -> None:
    """As another user, where the tests run as root, since root may write anywhere."""
    client.install("nets")
    code = """
        import dataclasses, json, os, tempfile
        from hub.cli import doctor
        home = os.environ["HUB_HOME"]
        os.chmod(home, 0o555)
        if os.getuid() == 0:
            os.seteuid(65534)
        print(json.dumps([dataclasses.asdict(check) for check in doctor._home()]))
    """
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        shutil.copytree(settings.home(), Path(base, "hub"))
        done = run_child(code, env={**os.environ, "HUB_HOME": f"{base}/hub"})
    assert done.returncode == 0, done.stderr
    [found] = [each for each in json.loads(done.stdout) if each["name"] == "home"]
    assert found["status"] == "fail"
    assert f"{base}/hub" in found["found"]
    assert "HUB_HOME" in found["hint"]


# ---- what cannot be looked into ----


def loop(path: Path) -> None:
    """Make what nobody can look into, root included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path)


@linux
@pytest.mark.parametrize(
    "line",
    [
        "list",
        "search nets",
        "show nets",
        "install nets",
        "uninstall nets",
        "cache ls",
        "cache verify",
        "cache rm nets",
    ],
)
@pytest.mark.parametrize("home", ["modules", "long"])
def test_a_cache_that_cannot_be_looked_into_is_an_error_and_no_traceback(
    line: str, home: str, index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if home == "modules":
        loop(settings.home() / "modules")
    else:
        monkeypatch.setenv("HUB_HOME", f"/tmp/{'a' * 300}")
    assert main(line.split()) == 1
    shown = capsys.readouterr().err
    assert f"error: {settings.home()}" in shown
    assert "hint: " in shown


@linux
def test_a_first_use_that_cannot_be_read_is_an_error_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop(settings.home() / "catalog")
    assert main(["show", "resnet18_imagenet"]) == 1
    assert (
        f"error: {settings.home()}/catalog/resnet18_imagenet.json: cannot be read" in capsys.readouterr().err
    )
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "file"))
    assert main(["show", "resnet18_imagenet"]) == 0


@linux
def test_a_folder_that_may_be_entered_and_not_listed_holds_no_module_of_another_name() -> None:
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as drop:
        Path(drop).chmod(0o311)
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(NotFoundError, match="which is no folder"):
                Manifest.read(Path(drop, "x"))
        finally:
            if root:
                os.seteuid(0)
            Path(drop).chmod(0o700)


@linux
def test_a_module_folder_that_nobody_may_look_into_is_an_error(tmp_path: Path) -> None:
    folder = module_folder(tmp_path / "made")
    folder.chmod(0o600)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match=r"module\.yaml: cannot be read: Permission denied"):
            Manifest.read(folder)
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
