"""What a training logs and says, and how its nets lie in memory."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from xrj.build import build_data
from xrj.config import STAGES
from xrj.datamodules.splits import read_split_file
from xrj.modules.base import DIAGNOSIS, diagnosis_measures
from xrj.run import train


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_says_what_it_logs(build, chain, stage):
    module, _ = build(stage)
    log = chain / "runs/chain" / stage / "logs/version_0/metrics.csv"
    assert module.measures() == set(pd.read_csv(log).columns) - {"epoch", "step"}
    assert module.measured() == module.measures()


@pytest.mark.parametrize(
    ("stage", "overrides"),
    [
        ("gan1", ["gan1.anchor=0"]),
        ("gan1", ["gan1.leak=0", "gan1.locality=20"]),
        ("gan2", ["gan2.consistency=0"]),
        ("inverse", ["inverse.noise_weight=0", "inverse.caption_weight=0"]),
    ],
)
def test_each_term_that_is_left_out_is_not_among_them(build, stage, overrides):
    module, batch = build(stage, *overrides)
    logged = {"rate"}
    module.log = lambda name, *_, **__: logged.add(name)
    module.log_dict = lambda values, **_: logged.update(values)
    module.descend = lambda *_, **__: None
    module.optimizer_list = lambda: module.configure_optimizers()
    module.toggled_optimizer = lambda _: torch.enable_grad()
    type(module).current_epoch = property(lambda _: 0)
    try:
        module.training_step(batch, 0)
    finally:
        del type(module).current_epoch
    assert logged == {name for name in module.measures() if not name.startswith("val/")}


def test_what_an_absent_label_leaves_undefined_is_left_out():
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    names = (*DIAGNOSIS, "auprc", "ece")
    assert len(diagnosis_measures(sure, np.array([0, 1]), names)) == len(names)
    assert set(diagnosis_measures(sure, np.array([0, 0]), names)) == {"val/accuracy", "val/ece"}
    broken = diagnosis_measures(sure * np.nan, np.array([0, 1]), names)
    assert len(broken) == len(names)
    assert all(map(math.isnan, broken.values()))


@pytest.mark.parametrize("stage", ["classifier", "inverse", "gan1"])
def test_absent_labels_are_unmeasured_for_a_reason(build, stage):
    module, _ = build(stage)
    module.absent = ["cardiomegaly"]
    gone = module.unmeasured()
    assert gone == module.measures() - module.measured()
    assert gone >= {"val/distance_cardiomegaly" if stage == "gan1" else "val/auroc"}
    for measure in gone:
        assert module.reason(measure) == " (validation has no X-ray of cardiomegaly)"
    assert module.reason("val/distance") == ""


def test_no_measure_is_nan_without_its_reason(chain, tiny, tmp_path, capsys):
    frame = build_data(tiny("classifier")).table.images
    everybody = set(read_split_file(chain / "runs/chain/arae/split.json").patients)
    well = set(frame["patient_id"][frame["label"] == "normal"])
    sick = set(frame["patient_id"][frame["label"] == "cardiomegaly"])
    val, test = sorted(well - sick)[:6], sorted(well - sick)[6:8] + sorted(sick)[:2]
    patients = {"train": sorted(everybody - {*val, *test}), "val": val, "test": test}
    (tmp_path / "split.json").write_text(json.dumps({"patients": patients}))
    train(tiny("classifier", f"data.split.file={tmp_path}/split.json", "classifier.max_epochs=1"))
    said = capsys.readouterr().out
    assert (
        "classifier: not measured: val/auprc, val/auroc, val/balanced_accuracy (validation has no "
        "X-ray of cardiomegaly); add data or change data.split\n"
    ) in said
    assert "classifier: epoch 1/1, balanced accuracy not measured" in said
    assert "nan" not in said
    log = pd.read_csv(tmp_path / "runs/default/classifier/logs/version_0/metrics.csv")
    assert not {"val/auroc", "val/balanced_accuracy"} & set(log.columns)
    assert "val/accuracy" in log.columns


def test_nets_are_laid_out(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr("xrj.run._fit", lambda _, __, module, *___, **____: seen.append(module))
    train(tiny("gan1"))
    layers = [x for x in seen[0].parameters() if x.dim() == 4 and min(x.shape) > 1]
    assert len(layers) > 5
    for weight in layers:
        assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("stage", ["inverse", "classifier"])
def test_label_weights_go_to_the_device_with_the_nets(build, stage):
    module, _ = build(stage)
    assert module.label_weights is dict(module.named_buffers())["label_weights"]
    assert "label_weights" not in module.state_dict()
