"""Lightning's arguments: each is passed, a setting of ours, or refused with what does the same."""

import inspect
import json
import subprocess
import sys
from dataclasses import fields

import pytest
import pytorch_lightning as pl

from tests.tiny import ROOT, TINY, compose_train
from xrj.checks import check
from xrj.config import TrainerConfig, plain
from xrj.errors import ConfigError
from xrj.flags import PASSED, REFUSED, SETTINGS, TRIALS, is_trial, passed

OURS = {"compile", "early_stopping_ends"}
"""Settings in the node `trainer` that Lightning's Trainer lacks."""


def test_every_argument_of_the_trainer_is_passed_set_or_refused():
    theirs = list(inspect.signature(pl.Trainer.__init__).parameters)[1:]
    ours = [*SETTINGS, *TRIALS, *PASSED, *REFUSED]
    assert sorted(ours) == sorted(theirs)
    assert {field.name for field in fields(TrainerConfig)} == {*SETTINGS, *TRIALS, *PASSED} | OURS


def test_without_a_flag_nothing_is_a_trial():
    trainer = plain(compose_train().trainer)
    assert not is_trial(trainer)
    assert {key: trainer[key] for key in TRIALS} == TRIALS
    assert set(passed(trainer)) == {*TRIALS, *PASSED}


@pytest.mark.parametrize(
    "flag", ["fast_dev_run=true", "fast_dev_run=3", "limit_train_batches=2", "overfit_batches=0.1"]
)
def test_what_makes_a_trial(flag):
    assert is_trial(plain(compose_train(f"trainer.{flag}").trainer))


@pytest.mark.parametrize(("debug", "keys"), [
    ("one_batch", {"fast_dev_run"}), ("overfit", {"overfit_batches"}),
    ("profile", {"limit_train_batches", "limit_val_batches"}),
])  # fmt: skip
def test_debug_modes_are_trials(debug, keys):
    cfg = compose_train(f"debug={debug}")
    check(cfg)
    trainer = plain(cfg.trainer)
    assert {key for key in TRIALS if trainer[key] != TRIALS[key]} == keys


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_with_what_does_the_same(name):
    cfg = compose_train(f"+trainer.{name}=1")
    with pytest.raises(ConfigError) as caught:
        check(cfg)
    assert str(caught.value) == f"trainer.{name}: not taken; {REFUSED[name]}"
    said = ("set ", "leave it out", "set these", "infer.py", "may stop it")
    assert any(words in REFUSED[name] for words in said)


def call(folder, *arguments):
    code = "from xrj.cli import train; train()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_the_command_line_says_so_in_one_line(tmp_path):
    done = call(tmp_path, "stage=gan1", "trainer.max_epochs=3")
    assert done.returncode == 2
    assert done.stderr == (
        "error: trainer.max_epochs: not taken; set that of the stage, such as gan1.max_epochs; "
        "see --help\n"
    )


def test_a_sweeper_gets_the_measure_by_which_epochs_are_chosen(tmp_path):
    (tmp_path / "sweep.py").write_text(
        "import json\n"
        "from pathlib import Path\n"
        "from hydra._internal.hydra import Hydra\n"
        "old = Hydra.multirun\n"
        "def multirun(self, *arguments, **named):\n"
        "    batches = old(self, *arguments, **named)\n"
        "    values = [job.return_value for batch in batches for job in batch]\n"
        "    Path('values.json').write_text(json.dumps(values))\n"
        "Hydra.multirun = multirun\n"
        "from xrj.cli import train\n"
        "if __name__ == '__main__':\n    train()\n"
    )
    done = subprocess.run(
        [sys.executable, "sweep.py", "-m", "stage=arae", "arae.rate=1e-3,2e-3",
         "name='x${arae.rate}'", *TINY, "logger=csv"],
        cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "values.json").read_text())
    assert len(values) == 2
    assert all(value > 0 for value in values)
