"""How a command ends before its time, what it leaves behind, and how the next one goes on."""

import os
import runpy
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import call_infer
from tests.tiny import ROOT, TINY, places
from xrj.errors import ConfigError
from xrj.run import _claimed


def interrupted(cfg):
    raise KeyboardInterrupt


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
def test_ctrl_c_ends_the_chain_and_says_how_to_continue(monkeypatch, capsys, tmp_path, multirun):
    began = []
    monkeypatch.setattr("xrj.run.train", lambda cfg: interrupted(began.append(cfg.stage)))
    monkeypatch.chdir(ROOT)
    stages = "arae,gan1" if multirun else "arae"
    monkeypatch.setattr(sys, "argv", ["train.py", *multirun, f"stage={stages}", f"runs={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path("train.py", run_name="__main__")
    assert caught.value.code == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C; the same command continues\n"
    assert began == ["arae"]


@pytest.mark.parametrize("program", ["train.py", "infer.py"])
def test_ctrl_c_while_imports_run_is_quiet(tmp_path, program):
    (tmp_path / "hydra.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", encoding="utf-8"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    # A runner of tests may ignore the signal, which processes inherit.
    restore = "import runpy, signal; signal.signal(2, signal.default_int_handler); "
    code = f"{restore}runpy.run_path({str(ROOT / program)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(("task", "words"), [("justify", "begins anew"), ("evaluate", "continues")])
def test_ctrl_c_while_justifying(monkeypatch, capsys, tmp_path, task, words):
    monkeypatch.setattr("xrj.tasks.run_task", interrupted)
    monkeypatch.setattr("xrj.checks.check_inputs", lambda cfg: None)
    given = [f"task={task}", "name=demo"]
    status, _, said = call_infer(monkeypatch, capsys, tmp_path, given)
    assert (status, said) == (130, [f"stopped by Ctrl-C; the same command {words}"])


def start(folder, error, *files):
    with _claimed(folder):
        for name in files:
            (folder / name).touch()
        raise error


@pytest.mark.parametrize(
    ("error", "files"),
    [
        (ConfigError, ()),
        (KeyboardInterrupt, ()),
        (OSError, ()),
        (ConfigError, ("run.json", "logs")),
    ],
)
def test_a_start_that_fails_leaves_no_folder(tmp_path, error, files):
    with pytest.raises(error):
        start(tmp_path / "runs/a/b/arae", error, *files)
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "runs/a/gan1").mkdir(parents=True)
    with pytest.raises(ConfigError):
        start(tmp_path / "runs/a/arae", ConfigError)
    assert [path.name for path in (tmp_path / "runs/a").iterdir()] == ["gan1"]
    with pytest.raises(ConfigError):
        start(tmp_path / "runs/a/gan1", ConfigError)
    assert (tmp_path / "runs/a/gan1").is_dir()


@pytest.mark.parametrize(
    ("error", "files"),
    [(KeyboardInterrupt, ("run.json",)), (ConfigError, ("run.json", "last.ckpt"))],
)
def test_a_training_that_has_begun_stays(tmp_path, error, files):
    with pytest.raises(error):
        start(tmp_path / "runs/a/arae", error, *files)
    assert (tmp_path / "runs/a/arae/run.json").exists()


def test_sigterm_is_no_success_and_the_next_start_continues(tmp_path):
    command = [sys.executable, ROOT / "train.py", "stage=arae", *places(tmp_path), *TINY]
    command += ["arae.max_epochs=40", "logger.wandb=disabled"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "runs/default/arae/last.ckpt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command continues" in said
    assert "Traceback" not in said
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
