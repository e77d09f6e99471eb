"""The rooms of the house: who may import whom, and what nobody may do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room knows only those before it.
ORDER = (
    "_environment",
    "_torchvision",
    "errors",
    "files",
    "seeding",
    "programs",
    "flags",
    "settings",
    "finished",
    "datamodules",
    "nets",
    "losses",
    "measures",
    "modules",
    "handover",
    "packed",
    "card",
    "launch",
    "compute",
    "infer_config",
    "config",
    "checks",
    "build",
    "estimate",
    "justify",
    "portable",
    "library",
    "archive",
    "evaluate",
    "web",
    "study",
    "reproduction",
    "tasks",
    "callbacks",
    "command",
    "offline",
    "loggers",
    "run",
    "cli",
)
FRAMEWORKS = {"pytorch_lightning", "hydra", "omegaconf", "wandb"}
WITHOUT_FRAMEWORKS = {"nets", "losses", "measures"}
# In `justify`, the trained chain and the maps of its classifier; all else knows the protocol alone.
WITH_NETS = {"model", "saliency"}

PACKAGE = sorted((ROOT / "xrj").rglob("*.py"))
SOURCES = [*PACKAGE, *(path for path in (ROOT / "train.py", ROOT / "infer.py") if path.exists())]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "xrj").parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield every imported module in full, with the names taken from it, at any depth."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_before_it(path):
    room = room_of(path)
    if room == "__init__":
        tree = parse(path)
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]  # TYPE_CHECKING
        own = {name for name in imports(path, tree) if name.startswith("xrj")}
        assert own <= {
            "xrj._environment.mend_environment",
            "xrj._torchvision.declare_missing_operators",
        }
        return
    assert room in ORDER, f"give the room {room!r} its place in ORDER"
    for name in imports(path, parse(path)):
        parts = name.split(".")
        if parts[0] == "xrj" and len(parts) > 1 and parts[1] in ORDER and parts[1] != room:
            assert ORDER.index(parts[1]) < ORDER.index(room), f"{room} may not know {name}"


def test_the_readers_of_data_do_not_import_in_circles():
    room = "xrj.datamodules."
    readers = ("collect", "kaggle", "manifest", "openi", "paths", "r2gen", "sources", "table",
               "tabular", "text", "views")  # fmt: skip
    graph = {}
    for name in readers:
        path = ROOT / "xrj" / "datamodules" / f"{name}.py"
        found = {name.removeprefix(room).split(".")[0] for name in imports(path, parse(path))}
        graph[name] = found & {*readers}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def modules_behind(name: str) -> set[str]:
    """Return all that importing one of the package's modules may import, at any depth."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE
    }
    found, due = set(), [name]
    while due:
        one = due.pop()
        if one in found:
            continue
        found.add(one)
        if path := files.get(one):
            named = set(imports(path, parse(path)))
            due += named | {name.rpartition(".")[0] for name in named}  # modules, or out of them
    return found


def test_an_evaluation_needs_no_web_server():
    behind = modules_behind("xrj.reproduction.run")
    assert "xrj.study.folder" in behind
    servers = ("xrj.web", "xrj.study.server", "fastapi", "starlette", "uvicorn")
    assert not [name for name in behind if name.startswith(servers)]
    assert "uvicorn" in modules_behind("xrj.study.steps")


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_mathematics_knows_no_framework(path):
    if room_of(path) in WITHOUT_FRAMEWORKS:
        roots = {name.split(".")[0] for name in imports(path, parse(path))}
        assert not roots & FRAMEWORKS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unsafe(path):
    tree = parse(path)
    # torch.load refuses with pickle's error.
    roots = {name.split(".")[0] for name in imports(path, tree) if name != "pickle.UnpicklingError"}
    assert not roots & {"lightning", "pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve"}
    for name, call in calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"line {call.lineno}: {name}"
        if name.endswith("load_from_checkpoint"):
            assert keywords.get("weights_only") == "True", f"line {call.lineno}: {name}"
        if name in {"np.load", "numpy.load", "pandas.read_pickle", "pd.read_pickle"}:
            assert "pickle" not in name, f"line {call.lineno}: {name}"
            assert keywords.get("allow_pickle", "False") == "False", f"line {call.lineno}: {name}"
        if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
            assert "Safe" in keywords.get("Loader", ""), f"line {call.lineno}: {name}"
        assert name not in {"eval", "exec", "os.system"}, f"line {call.lineno}: {name}"


def test_what_justifies_loads_no_net_and_no_framework():
    """Nor does what it imports, and so on."""
    modules = [f"xrj.justify.{path.stem}" for path in PACKAGE if path.parent.name == "justify"]
    names = [name for name in modules if name.split(".")[-1] not in {*WITH_NETS, "__init__"}]
    assert "xrj.justify.justification" in names
    code = f"import sys, {', '.join(names)}; print(*sys.modules, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "xrj.justify.justification" in loaded
    assert not loaded & (FRAMEWORKS | {"lightning", "xrj.nets", "xrj.build", "xrj.handover"})
