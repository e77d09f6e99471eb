"""The package as `pip install` gives it: a wheel that holds all it needs and works anywhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import TINY

ROOT = Path(__file__).parents[1]
KINDS = ("*.py", "*/py.typed", "*/resources/*", "*/templates/*.j2", "conf/*.yaml")
"""What the repository has of a package's files."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, which holds settings of a user's own, too."""
    source = tmp_path_factory.mktemp("source")
    for name in ("xrj", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "conf" / "local").mkdir(exist_ok=True)
    (source / "conf" / "local" / "default.yaml").write_text("seed: 7\n")
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    built = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=source, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "Warning" not in built.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_its_configuration_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entries,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        entry_points = archive.read(entries).decode()
    files = [
        path.relative_to(ROOT).as_posix()
        for path in [*(ROOT / "xrj").rglob("*"), *(ROOT / "conf").rglob("*")]
        if path.is_file() and "conf/local" not in path.as_posix()
    ]
    held = [name for name in files if any(fnmatch(name, kind) for kind in KINDS)]
    assert names == {f"xrj/{name}" if name.startswith("conf/") else name for name in held}
    assert not [name for name in files if name not in held and "__pycache__" not in name]
    assert "xrj/py.typed" in names
    assert "xrj-train = xrj.cli:train" in entry_points
    assert "xrj-infer = xrj.cli:infer" in entry_points
    assert "xrj-export = xrj.cli:export" in entry_points
    assert "xrj/resources/starter/model.safetensors" in names


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install it beside the packages of the tests' environment; return the commands' caller."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
         "--quiet", "--disable-pip-version-check", wheel],
        check=True,
    )  # fmt: skip
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    # After its own: this environment's xrj, where it is installed, comes second.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def call(program, *arguments, cwd):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [python.with_name(program), *arguments],
            cwd=cwd, env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_installed_commands_work_from_an_empty_folder(installed, tmp_path):
    place = installed("python", "-c", "import xrj; print(xrj.__file__)", cwd=tmp_path)
    assert "/installed" in place.stdout
    for program in ("xrj-train", "xrj-infer"):
        told = installed(program, "--help", cwd=tmp_path)
        assert (told.returncode, told.stderr) == (0, "")
        assert f"\n  {program} " in told.stdout
        assert ".py" not in told.stdout.partition("Configuration")[0]
        shown = installed(program, "--cfg", "job", cwd=tmp_path)
        assert shown.returncode == 0
        assert "seed: 0" in shown.stdout
    missing = installed("xrj-infer", "image=none.png", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == (
        "error: none.png: no such file, folder or match; choose another image=\n"
    )
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    untrained = installed("xrj-infer", "image=x.png", "name=mine", cwd=tmp_path)
    assert untrained.returncode == 2
    assert "run xrj-train stage=arae name=mine first" in untrained.stderr
    assert installed("xrj-train", "task=report", cwd=tmp_path).stderr == (
        "error: task: no such setting; it is one of xrj-infer; see --help\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.slow
def test_an_installed_command_takes_a_users_own_configuration(installed, tmp_path):
    own = tmp_path / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nname: mine\n")
    shown = installed(
        "xrj-train", "--config-dir", "conf", "experiment=mine", "--cfg", "job", cwd=tmp_path
    )
    assert "name: mine" in shown.stdout
    several = installed(
        "xrj-train", "-m", "stage=arae,gan1", "data=manifest", "data.csv=x.csv", cwd=tmp_path
    )
    assert several.returncode == 2
    assert several.stderr.count("\n") == 1
    assert several.stderr.startswith("error: data.csv=x.csv: there is no such file")
    offered = installed("xrj-train", "-sc", "install=bash", cwd=tmp_path)
    assert "complete -o nospace -o default -F hydra_bash_completion xrj-train" in offered.stdout


@pytest.mark.slow
def test_a_stranger_justifies_an_xray_with_the_model_that_comes_with_it(installed, tmp_path):
    Image.effect_noise((90, 80), 60).save(tmp_path / "x.png")
    done = installed("xrj-infer", "image=x.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("no name= given: by starter, the model that comes with xrj")
    assert (tmp_path / "justifications" / "x" / "justification.html").is_file()
    assert "NOT to be relied on" in done.stdout


@pytest.mark.slow
def test_what_installed_commands_train_python_loads_and_justifies(installed, tmp_path):
    trained = installed(
        "xrj-train", "-m", "stage=arae,gan1,gan2,inverse", "name=mine",
        *TINY, "logger.wandb=disabled", cwd=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    (xray, *_) = tmp_path.glob("cache/phantom-*/NLMCXR_png/*.png")
    code = f"import xrj; print(xrj.load('mine').justify({str(xray)!r}).save('mine'))"
    justified = installed("python", "-c", code, cwd=tmp_path)
    assert (justified.stdout, justified.stderr) == ("mine/justification.html\n", "")
    again = installed("xrj-infer", f"image={xray}", "name=mine", "out=out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    ours, (theirs,) = tmp_path / "mine", (tmp_path / "out").iterdir()
    assert sorted(path.name for path in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    handed = installed(
        "xrj-export", "name=mine", "out=given", "card.licence=MIT", "card.learned_from=phantoms",
        cwd=tmp_path,
    )  # fmt: skip
    assert handed.returncode == 0, handed.stderr
    shutil.rmtree(tmp_path / "runs" / "mine" / "arae")  # what was handed on needs no run
    code = f"import xrj; print(xrj.load('given').diagnose({str(xray)!r}).diagnosis)"
    told = installed("python", "-c", code, cwd=tmp_path)
    assert told.stdout.strip() in ("normal", "cardiomegaly"), told.stderr
    unknown = installed("python", "-c", "import xrj; xrj.load('min')", cwd=tmp_path)
    assert "did you mean mine? there are: mine" in unknown.stderr
    unfinished = installed("xrj-train", "stage=gan1", "name=new", cwd=tmp_path)
    assert "run xrj-train stage=arae name=new first" in unfinished.stderr
