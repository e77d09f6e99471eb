"""Commands work in whatever environment they are started from."""

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import ROOT
from xrj import _environment
from xrj._environment import mend_environment

LIBRARIES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path):
    """Start without the variables, and with a temporary folder of the test's own."""
    for name in LIBRARIES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "scratch"
    monkeypatch.setattr(_environment, "_scratch", lambda: folder)
    return folder


def nobody(*_):
    raise KeyError("no entry")


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/x", "/proc/nobody"])
def test_a_home_that_cannot_be_written_is_left_alone(monkeypatch, scratch, home):
    monkeypatch.setenv("HOME", home)
    mend_environment()
    assert os.environ["HOME"] == home
    for name in LIBRARIES:
        assert Path(os.environ[name]).is_relative_to(scratch)


def test_a_users_own_folders_are_kept(monkeypatch, tmp_path, scratch):
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    mend_environment()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "mine")
    assert Path(os.environ["XDG_DATA_HOME"]).is_relative_to(scratch)
    assert not (tmp_path / "mine").exists()


def test_a_home_that_can_be_written_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    mend_environment()
    assert not set(LIBRARIES) & os.environ.keys()


def test_a_user_without_entry_gets_a_name_and_a_home(monkeypatch, scratch):
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    scratch.mkdir()
    mend_environment()
    assert getpass.getuser() == str(os.getuid())
    assert Path.home() == scratch


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "foo", "", "QtAgg"]
)
def test_figures_need_no_backend_of_a_notebook(monkeypatch, backend):
    monkeypatch.setenv("MPLBACKEND", backend)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    mend_environment()
    assert os.environ["MPLBACKEND"] == "agg"


def test_a_notebook_that_imports_xrj_keeps_its_backend(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    mend_environment()
    assert os.environ["MPLBACKEND"].startswith("module://")


def test_every_library_is_imported_in_a_poor_environment(tmp_path):
    """No home, a notebook's backend, a launcher's leftovers: what the commands import comes up."""
    script = (
        "from xrj.launch import alone; alone(); import xrj.run, xrj.tasks, xrj.evaluate.plots\n"
        "import matplotlib.pyplot; print(matplotlib.get_backend())"
    )
    poor = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": "/dev/null",
        "MPLBACKEND": "module://no_such.backend",
        "RANK": "many",
        "SLURM_PROCID": "",
        "TMPDIR": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, "-c", script], env=poor, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "agg\n"), result.stderr
    assert "Traceback" not in result.stderr
    left = [path.name for path in tmp_path.iterdir()]  # the temporary folder is gone, too
    assert [name for name in left if not name.startswith("torchinductor_")] == []
