"""No line of the library can run what a stranger wrote, or trust a stranger's word: checked in the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hub"
FILES = sorted(ROOT.rglob("*.py"))

# (file, what is found there): why it may stay. An entry that nothing needs any more fails the test below.
ALLOWED = {
    ("__init__.py", "import by name"): "the names come from the table _LAZY beside it",
    ("modules/archs/paddlenlp_models.py", "import by name"): "parts of paddlenlp, by the names in CLASSES",
}

# Modules that turn data into objects by running it.
MODULES = {
    "pickle", "_pickle", "cPickle", "pickle5", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve",
    "runpy", "code", "codeop", "pty",
}  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "paddle.load", "torch.load", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "ssl._create_unverified_context", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load",
    "yaml.full_load_all", "shutil.unpack_archive",
}  # fmt: skip
MUST_BE_FALSE = {"allow_pickle", "shell", "trust_remote_code"}  # when the keyword is there at all
MUST_NOT_BE_FALSE = {"verify", "check_hostname"}
METHODS = {"extractall"}
YAML_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "CSafeLoader"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def safe_loaders(tree: ast.Module) -> set[str]:
    """The classes of a file that are made from a safe loader of yaml."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and YAML_LOADERS & set(map(dotted, node.bases))
    }


def imports_our_own(call: ast.Call) -> bool:
    """import_module("hub.…"): whatever the rest of the name is, the code is ours."""
    if not call.args:
        return False
    name = call.args[0]
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    return isinstance(name, ast.Constant) and str(name.value).startswith("hub.")


def found_in_call(node: ast.Call, loaders: set[str]) -> Iterator[str]:
    name = dotted(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if (
        name in {"yaml.load", "yaml.load_all"}
        and dotted(keywords.get("Loader", ast.Name("none"))) not in loaders
    ):
        yield "yaml.load without a safe loader"
    if name in {"importlib.import_module", "import_module"} and not imports_our_own(node):
        yield "import by name"
    for argument, value in keywords.items():
        is_false = isinstance(value, ast.Constant) and value.value is False
        if (argument in MUST_BE_FALSE and not is_false) or (argument in MUST_NOT_BE_FALSE and is_false):
            yield f"{argument}={ast.unparse(value)}"


def found_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything forbidden in a source text."""
    tree = ast.parse(source)
    loaders = YAML_LOADERS | OUR_LOADERS | safe_loaders(tree)
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
            found = [name for name in names if name.split(".")[0] in MODULES or name in CALLS]
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            found = [node.id]
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            owner = name.rpartition(".")[0]
            dangerous = name in CALLS or (owner in {"builtins", "__builtins__"} and node.attr in BUILTINS)
            found = [name] if dangerous else [node.attr] if node.attr in METHODS else []
        elif isinstance(node, ast.Call):
            found = list(found_in_call(node, loaders))
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and node.value.value is False
        ):
            targets = [target.attr for target in node.targets if isinstance(target, ast.Attribute)]
            found = [f"{name} = False" for name in targets if name in MUST_NOT_BE_FALSE]
        yield from ((node.lineno, name) for name in found)


OUR_LOADERS = set[str]().union(*(safe_loaders(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_forbidden(path: Path) -> None:
    file = path.relative_to(ROOT).as_posix()
    found = [
        (line, what)
        for line, what in found_in(path.read_text(encoding="utf-8"))
        if (file, what) not in ALLOWED
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    there = {
        (path.relative_to(ROOT).as_posix(), what)
        for path in FILES
        for _, what in found_in(path.read_text(encoding="utf-8"))
    }
    assert set(ALLOWED) <= there
    assert len(ALLOWED) <= 3


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import numpy, pickle as safe",
        "from pickle import loads",
        "from _pickle import Unpickler",
        "import dill, os",
        "import joblib.numpy_pickle",
        "import marshal",
        "paddle.load(path)",
        "from paddle import load",
        "load = paddle.load",
        "torch.load(path, weights_only=True)",
        "eval('1')",
        "run = exec",
        "builtins.eval('1')",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "importlib.import_module(name)",
        "import_module(f'{package}.hub')",
        "importlib.import_module('os')",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "class Mine(yaml.Loader): pass\nyaml.load(text, Loader=Mine)",
        "yaml.unsafe_load(text)",
        "yaml.full_load(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
        "requests.get(url, verify=False)",
        "session.verify = False",
        "context.check_hostname = False",
        "ssl._create_unverified_context()",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_gate_sees(line: str) -> None:
    assert list(found_in(line))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "'import pickle'",
        "from hub.modules import pdparams",
        "from .marshal import it",
        "re.compile('x')",
        "module.compile()",
        "paddle.jit.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "class Mine(yaml.SafeLoader): pass\nyaml.load(text, Loader=Mine)",
        "importlib.import_module('hub.module')",
        "importlib.import_module(f'hub.modules.archs.{name}')",
        "subprocess.run(['git', 'clone'], shell=False)",
        "requests.get(url, verify=True)",
        "requests.get(url, verify=certificates())",
    ],
)
def test_the_gate_lets_pass(line: str) -> None:
    assert list(found_in(line)) == []
