"""Trials and loggers: what a stage leaves behind under Lightning's flags."""

import pytest
import pytorch_lightning as pl

from xrj.errors import ConfigError
from xrj.handover import load_export
from xrj.run import TRIAL, headline, train

STAGES = ("arae", "gan1", "gan2", "inverse", "classifier", "captioner", "embedding_gan1")


@pytest.fixture
def steps(monkeypatch):
    """Count training batches by epoch."""
    seen = []
    old = pl.Trainer.fit

    class Count(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen.append((trainer.current_epoch, batch_idx))

    def fit(self, *arguments, **named):
        self.callbacks.append(Count())
        return old(self, *arguments, **named)

    monkeypatch.setattr(pl.Trainer, "fit", fit)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_trial_of_one_batch_leaves_nothing_for_the_next_stage(
    stage, tiny, tmp_path, steps, capsys
):
    cfg = tiny(stage, "trainer.fast_dev_run=true")
    measures = train(cfg)
    assert steps == [(0, 0)]
    assert measures
    assert all(name.startswith("val/") for name in measures)
    folder = tmp_path / "runs" / "default" / TRIAL / stage
    assert f"{stage}: a trial, in {folder}; nothing is kept" in capsys.readouterr().out
    assert not list(folder.rglob("*.ckpt"))
    assert not (folder / "export").exists()
    assert not (tmp_path / "runs" / "default" / stage / "run.json").exists()
    assert headline(cfg) is None


def test_a_trial_is_begun_anew_and_keeps_away_from_the_run(tiny, tmp_path, steps):
    first = train(tiny("arae", "trainer.limit_train_batches=2", "arae.max_epochs=2"))
    assert steps == [(0, 0), (0, 1), (1, 0), (1, 1)]
    other = train(tiny("arae", "trainer.limit_train_batches=1", "arae.hidden=12"))
    assert first != other
    assert [epoch for epoch, _ in steps[4:]] == [0, 1, 2]
    train(tiny("arae", "arae.max_epochs=1"))
    assert (tmp_path / "runs/default/arae/export/stage.json").is_file()


def test_one_batch_is_learnt_by_heart(tiny, monkeypatch):
    losses, seen = [], []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen.append(batch["index"].tolist())

        def on_train_epoch_end(self, trainer, module):
            losses.append(float(trainer.callback_metrics["train/loss"]))

    old = pl.Trainer.fit

    def fit(self, *arguments, **named):
        self.callbacks.append(Look())
        return old(self, *arguments, **named)

    monkeypatch.setattr(pl.Trainer, "fit", fit)
    train(tiny("classifier", "trainer.overfit_batches=1", "classifier.max_epochs=25"))
    assert len(seen) == 25
    assert all(one == seen[0] for one in seen)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", ["simple", "advanced"])
def test_a_profile_lies_in_the_runs_folder(kind, tiny, tmp_path):
    train(tiny("arae", f"trainer.profiler={kind}", "trainer.limit_train_batches=2"))
    (path,) = (tmp_path / "runs/default/debug/arae").glob("*profile*")
    assert "run_training_batch" in path.read_text()


def test_a_training_that_runs_out_of_time_goes_on(tiny, tmp_path, capsys):
    assert train(tiny("arae", "trainer.max_time=00:00:00:00")) == {}
    assert "not done" in capsys.readouterr().out
    cfg = tiny("arae")
    assert train(cfg)
    (kept,) = load_export(tmp_path / "runs/default/arae", "arae").info["selections"].values()
    assert headline(cfg) == train(cfg)[kept["monitor"]]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("limit_train_batches=many", "limit_train_batches=many"),
        ("fast_dev_run=-1", "fast_dev_run=-1"),
        ("max_time=soon", "max_time=soon"),
    ],
)
def test_a_flag_that_lightning_refuses(flag, said, tiny):
    with pytest.raises(
        ConfigError, match=rf"trainer \(.*{said}\): .*; change one of these"
    ) as caught:
        train(tiny("arae", f"trainer.{flag}"))
    assert "\n" not in str(caught.value)


def test_loggers_are_chosen_and_combined(tiny, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    train(tiny("arae", "logger.tensorboard=true"))
    folder = tmp_path / "runs/default/arae"
    assert list(folder.glob("tensorboard/events*"))
    assert list(folder.glob("logs/*/metrics.csv"))
    train(tiny("arae", "logger.csv=false", "name=none"))
    assert not (tmp_path / "runs/none/arae/logs").exists()
    monkeypatch.setattr("xrj.loggers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'xrj\[tensorboard\]'"):
        train(tiny("arae", "logger.tensorboard=true", "name=third"))
