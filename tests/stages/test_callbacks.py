"""What users add to a training, and what ends it: none of it passes for a finished stage."""

import re
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, Timer
from pytorch_lightning.loggers import WandbLogger

from xrj.callbacks.checkpoint import StageCheckpoint
from xrj.callbacks.failures import explained
from xrj.callbacks.finite import StopUnlessFinite
from xrj.callbacks.further import build_further
from xrj.callbacks.pictures import Pictures
from xrj.errors import ConfigError
from xrj.handover import load_export
from xrj.modules.base import StageModule
from xrj.run import train


def node(name, **arguments):
    return {"_target_": f"pytorch_lightning.callbacks.{name}", **arguments}


class Stage(StageModule):
    """A stage without pictures and captions, as the base class has none."""

    def measures(self):
        return {"rate", "train/loss", "val/loss", "val/auroc"}


def stage(*, manual=False, absent=()):
    module = Stage()
    module.automatic_optimization = not manual
    module.absent = absent
    return module


# Which callbacks go with a stage


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (node("ModelCheckpoint", monitor="val/loss"), "keeps its best epochs itself"),
        (node("OnExceptionCheckpoint", dirpath="."), "keeps its best epochs itself"),
        (node("RichProgressBar"), "shows its progress itself"),
        (node("TQDMProgressBar"), "shows its progress itself"),
        (node("BatchSizeFinder"), r"set gan1\.batch_size"),
        (node("LearningRateFinder"), "batch size and rate are settings"),
        (node("StochasticWeightAveraging", swa_lrs=0.1), r"gan1\.average"),
        (node("EMAWeightAveraging"), r"gan1\.average"),
        (node("ModelPruning", pruning_fn="l1_unstructured", amount=0.5), "build whole nets"),
        (node("BackboneFinetuning"), "no stage has one"),
        (node("EarlyStopping", monitor="val/los"), "monitor=val/los: not logged by stage 'gan1'"),
        (node("EarlyStopping", monitor="loss"), "choose one of rate, train/loss, val/auroc, val/l"),
        (node("EarlyStopping", monitor="x", strict=False), "monitor=x: not logged"),
        (node("EarlyStopping"), "cannot be made: .*monitor"),
        (node("EarlyStopping", monitor="val/loss", mode="up"), "cannot be made: .*mode"),
        (node("Timer", duration="soon"), "cannot be made: .*duration"),
        (node("Nope"), "cannot be made"),
        ({"_target_": "albumentations.Blur"}, "is no callback"),
    ],
    ids=str,
)
def test_a_callback_that_does_not_go_is_told_of_before_training(callback, said):
    with pytest.raises(ConfigError, match=said) as caught:
        build_further({"x": callback}, "gan1", stage())
    assert str(caught.value).startswith("trainer.callbacks.x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "callback", [node("GradientAccumulationScheduler", scheduling={0: 2}), node("SpikeDetection")]
)
def test_what_needs_one_optimiser_is_refused_where_several_take_turns(callback):
    assert build_further({"x": callback}, "inverse", stage())
    with pytest.raises(ConfigError, match="does not go with stage 'gan1': several optimisers"):
        build_further({"x": callback}, "gan1", stage(manual=True))


def test_what_goes_is_built():
    good = {
        "rate": node("LearningRateMonitor", logging_interval="epoch"),
        "timer": node("Timer", duration="00:12:00:00"),
        "stop": node("EarlyStopping", monitor="val/loss"),
        "sum": node("ModelSummary"),
    }
    assert list(build_further(good, "gan1", stage(manual=True))) == list(good)


def test_what_is_not_measured_for_want_of_a_label_cannot_be_watched():
    watch = {"x": node("EarlyStopping", monitor="val/auroc")}
    assert build_further(watch, "classifier", stage())
    with pytest.raises(ConfigError, match=r"no X-ray of cyst\); choose one of rate, train/loss, v"):
        build_further(watch, "classifier", stage(absent=["cyst"]))


def test_a_callback_that_does_not_go_does_not_claim_the_folder(tiny, tmp_path):
    stop = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val_loss}"
    with pytest.raises(ConfigError, match=r"choose one of rate, train/anchor, .*val/distance"):
        train(tiny("gan1", f"+trainer.callbacks.x={stop}"))
    assert not (tmp_path / "runs/default/gan1/run.json").exists()


# What a failure says


class Raises(pl.Callback):
    def fail(self):
        raise KeyError("no such thing\n")


def raised(function):
    with pytest.raises(KeyError) as caught:
        function()
    return caught.value


def test_a_callback_that_raises_is_named():
    further = {"good": Timer(), "bad": Raises()}
    told = explained(raised(further["bad"].fail), further, 0)
    assert isinstance(told, ConfigError)
    assert "trainer.callbacks.bad: Raises failed (KeyError" in str(told)
    assert "\n" not in str(told)
    own = raised(lambda: {}["a bug of ours"])
    assert explained(own, further, 0) is own


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory. Please try to raise your limit.",
        "DataLoader worker (pid(s) 9, 10) exited unexpectedly",
        "unable to write to file </torch_9_2>: No space left on device (28)",
    ],
)
def test_a_small_shared_memory_names_the_setting(text):
    told = explained(RuntimeError(text), {}, 4)
    assert isinstance(told, ConfigError)
    assert re.search(r"data\.num_workers=4: .*/dev/shm.* data\.num_workers=0", str(told))
    assert explained(error := RuntimeError(text), {}, 0) is error
    assert explained(error := RuntimeError("shapes differ"), {}, 4) is error


def test_a_spawned_ranks_mistake_stays_one_line():
    trace = "\n\n-- Process 1 terminated\nTraceback:\n  File x\nxrj.errors.ConfigError: a: b; c\n"
    error = torch.multiprocessing.ProcessRaisedException(trace, 1, 9)
    assert str(explained(error, {}, 0)) == "a: b; c"


# What ends before its last epoch


STOP = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/distance, "
STOP = f"+trainer.callbacks.x={STOP} stopping_threshold: 1000}}"
ENDS = "trainer.early_stopping_ends=true"


def exported(folder):
    return {path.name: path.read_bytes() for path in (folder / "export").iterdir()}


def test_stopped_early_is_not_done_and_the_same_command_continues(tiny, chain, tmp_path, capsys):
    folder = tmp_path / "runs/default/gan1"
    for epochs in (1, 2):
        assert train(tiny("gan1", STOP)) == {}
        said = f"gan1: stopped by a callback after {epochs} of 3 whole epochs, not done; {ENDS}"
        assert said in capsys.readouterr().out
        assert not (folder / "export").exists()
    assert train(tiny("gan1", STOP))
    assert exported(folder) == exported(chain / "runs/chain/gan1")


def test_early_stopping_ends_a_stage_where_the_user_says_so(tiny, tmp_path):
    train(tiny("gan1", STOP))
    train(tiny("gan1", STOP, ENDS))  # nothing more is trained
    folder = tmp_path / "runs/default/gan1"
    assert load_export(folder, "gan1").info["selections"]["best"]["epoch"] == 1
    train(tiny("gan1", STOP, ENDS, "name=other"))
    assert exported(tmp_path / "runs/other/gan1") == exported(folder)


class StopsWithinAnEpoch(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1:
            trainer.should_stop = True


def test_half_an_epoch_is_not_kept(tiny, chain, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("xrj.run.build_further", lambda *_: {"x": StopsWithinAnEpoch()})
        train(tiny("gan1", ENDS))  # which speaks of EarlyStopping alone
    assert "after 1 of 3 whole epochs, not done; the same command" in capsys.readouterr().out
    train(tiny("gan1"))
    assert exported(tmp_path / "runs/default/gan1") == exported(chain / "runs/chain/gan1")


@pytest.mark.parametrize("stopped", [True, False])
def test_what_stopped_a_training_counts_anew(stopped):
    timer, stop = Timer(duration="00:00:01:00"), EarlyStopping("val/loss")
    checkpoint = StageCheckpoint(None, None)
    state = {"kept": {}, "stopped": stopped}
    states = {timer.state_key: {1: 2}, stop.state_key: {1: 2}, checkpoint.state_key: state}
    trainer = SimpleNamespace(callbacks=[timer, stop, checkpoint])
    checkpoint.on_load_checkpoint(trainer, None, {"epoch": 4, "callbacks": states})
    assert checkpoint.epochs == 5
    assert timer.state_key not in states
    assert (stop.state_key in states) != stopped


# What is not finite


def test_a_rate_that_breaks_the_nets_ends_the_stage(tiny, tmp_path):
    said = r"^gan1: .* not finite after epoch 1.* lower gan1\.rate=1e\+20 and choose another name="
    with pytest.raises(ConfigError, match=said) as caught:
        train(tiny("gan1", "gan1.rate=1e20"))
    assert "\n" not in str(caught.value)
    folder = tmp_path / "runs/default/gan1"
    assert not (folder / "export").exists()
    assert not (folder / "last.ckpt").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["train/loss", "val/nll"])
def test_a_loss_or_a_measure_that_is_not_finite_ends_any_stage(name, value):
    trainer = SimpleNamespace(
        callback_metrics={"lr": torch.tensor(value), name: torch.tensor(1.0)}, current_epoch=2
    )
    callback = StopUnlessFinite("arae", "lower arae.rate=1.0")
    callback.on_train_epoch_end(trainer, None)
    trainer.callback_metrics[name] = torch.tensor(value)
    with pytest.raises(ConfigError, match=f"arae: {name} is not finite after epoch 3.*lower arae"):
        callback.on_train_epoch_end(trainer, None)


@pytest.mark.parametrize(
    ("value", "said"), [(torch.inf, "not finite"), (torch.nan, "not finite"), (-1e7, "beyond 1e")]
)
def test_weights_that_no_net_can_use_end_any_stage(value, said):
    module = torch.nn.ModuleDict({"generator": torch.nn.BatchNorm1d(2)})
    trainer = SimpleNamespace(sanity_checking=False, current_epoch=0)
    callback = StopUnlessFinite("gan1", "lower it")
    callback.on_validation_start(trainer, module)
    module["generator"].running_var[0] = value
    with pytest.raises(ConfigError, match=f"the weights of generator are {said}"):
        callback.on_validation_start(trainer, module)


# A stage without pictures and captions


class Logger(WandbLogger):
    def __init__(self):
        self.tables = []

    def log_table(self, *table):
        self.tables.append(table)


def test_a_stage_without_captions_is_logged(tmp_path):
    logger = Logger()
    trainer = SimpleNamespace(
        current_epoch=0, max_epochs=1, sanity_checking=False, is_global_zero=True, loggers=[logger]
    )
    callback = Pictures(tmp_path, every=1)
    callback.on_validation_batch_end(trainer, stage(), None, {"x": torch.zeros(9)}, 0)
    assert logger.tables == []
    module = stage()
    module.captions = lambda batch: [{"real": "a", "decoded": "b"}]
    callback.on_validation_batch_end(trainer, module, None, {"x": torch.zeros(9)}, 0)
    assert logger.tables == [("captions", ["real", "decoded"], [["a", "b"]])]
