"""What W&B is asked, told and left with, offline and before anything is claimed."""

import os
import re
import signal

import pytest

from tests.test_command import read_records
from tests.tiny import compose_tiny
from xrj.callbacks.checkpoint import StageCheckpoint
from xrj.errors import ConfigError
from xrj.loggers import check_loggers, wandb_mode
from xrj.offline import read_rows, until
from xrj.run import train


@pytest.fixture
def cfg(tmp_path):
    """Give a training's configuration; W&B's own is what the test says."""
    return compose_tiny(tmp_path, "arae")


@pytest.mark.parametrize(
    ("variable", "setting", "mode"),
    [
        (None, "offline", "offline"),
        ("", "online", "online"),
        (" ", "offline", "offline"),
        ("offline", "online", "offline"),
        ("OFFLINE", "online", "offline"),
        ("dryrun", "online", "offline"),
        ("run", "offline", "online"),
        ("disabled", "online", "disabled"),
        ("online", "disabled", "disabled"),
        (None, "disabled", "disabled"),
    ],
)
def test_the_variable_wins_but_for_disabled(cfg, monkeypatch, variable, setting, mode):
    cfg.logger.wandb = setting
    monkeypatch.delenv("WANDB_MODE")
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert wandb_mode(cfg) == mode


def test_empty_variables_are_unset(cfg, monkeypatch):
    cfg.logger.wandb = "offline"
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_ENTITY"):
        monkeypatch.setenv(name, "")
    check_loggers(cfg)
    assert os.environ["WANDB_MODE"] == "offline"
    assert "WANDB_ENTITY" not in os.environ


@pytest.mark.parametrize(
    ("variables", "settings", "words"),
    [
        ({}, {"wandb": "online"}, "logger.wandb=online: there is no key"),
        ({"WANDB_MODE": "online"}, {"wandb": "offline"}, "there is no key"),
        ({"WANDB_API_KEY": ""}, {"wandb": "online"}, "there is no key"),
        ({"WANDB_API_KEY": "short"}, {"wandb": "online"}, "API key must have 40+ characters"),
        ({"WANDB_MODE": "sometimes"}, {"wandb": "offline"}, "WANDB_MODE=sometimes: choose"),
        *(
            ({}, {"wandb": "offline", "project": name}, "refused by W&B")
            for name in ("a/b", "a\\b", "a#b", "a?b", "a%b", "a:b", "x" * 129)
        ),
    ],
    ids=str,
)
def test_what_wandb_refuses_is_one_line_before_anything(
    cfg, tmp_path, monkeypatch, variables, settings, words
):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_MODE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cfg.logger.update(settings)
    before = list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        train(cfg)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == before


def test_a_disabled_logger_asks_nothing(cfg, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    cfg.logger.project = "a/b"
    check_loggers(cfg)


def test_rows_end_with_the_epoch_that_the_checkpoint_holds():
    rows = [
        {"pictures": 0},
        {"epoch": 0, "val/x": 1},
        {"epoch": 0, "train/x": 2},
        {"pictures": 1},
        {"epoch": 1, "val/x": 3},
        {"pictures": 2},
    ]
    assert list(until(rows, 0)) == rows[:3]
    assert list(until(rows, 1)) == rows[:5]
    assert list(until(rows, -1)) == []


@pytest.fixture
def interruptible():
    """Give Ctrl-C back its effect, which Lightning takes when it was pressed."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_run_that_was_stopped_offline_is_uploaded_whole(tmp_path, monkeypatch, interruptible):
    """Once stopped, once killed while the parts were joined: one folder, each epoch once.

    The home cannot be written meanwhile: tables and pictures need none.
    """
    monkeypatch.setenv("HOME", "/dev/null")
    for name in ("WANDB_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings = ("logger.wandb=offline", "logger.pictures_every=1", "arae.max_epochs=4")
    cfg = compose_tiny(tmp_path, "arae", *settings)
    folder = tmp_path / "runs/default/arae"
    original = StageCheckpoint.on_train_epoch_end

    def killed(self, trainer, pl_module):
        original(self, trainer, pl_module)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StageCheckpoint, "on_train_epoch_end", killed)
        with pytest.raises(KeyboardInterrupt):
            train(cfg)
    (first,) = folder.glob("wandb/offline-run-*")
    (record,) = first.glob("*.wandb")
    # A start in between was killed as it logged this again: rows twice, no files, a broken end.
    half = folder / "wandb/offline-run-3"
    half.mkdir()
    (half / record.name).write_bytes(record.read_bytes()[:-2000])
    train(cfg)
    (whole,) = [path for path in (folder / "wandb").iterdir() if "offline-run-" in path.name]
    assert whole.name != first.name
    rows = list(read_rows(whole))
    assert [row["epoch"] for row in rows if "val/nll" in row] == [0, 1, 2, 3]
    epochs = [row["epoch"] for row in rows if "train/nll" in row]
    assert epochs in ([0, 1, 2, 3], [0, 2, 3])  # the kill came before epoch 1's were logged
    tables = [row["captions"]["path"] for row in rows if "captions" in row]
    assert len({*tables}) == 4
    for path in tables:
        assert (whole / "files" / path).is_file()
    (record,) = whole.glob("*.wandb")
    assert read_records(record)["exit"].exit_code == 0
