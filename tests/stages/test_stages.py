"""Every stage trains, keeps its best epoch, leaves its parents alone and hands over."""

import json
import re
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from tests.tiny import EPOCHS
from xrj.build import build_evaluation_data
from xrj.callbacks.checkpoint import StageCheckpoint
from xrj.config import STAGES
from xrj.datamodules.splits import read_split_file
from xrj.errors import ConfigError, DataError, HandoverError
from xrj.files import locked, sha256_file
from xrj.handover import load_export
from xrj.modules.base import Selection
from xrj.run import train

SELECTIONS = {
    "arae": {"best": ("val/nll", min)},
    "gan1": {"best": ("val/anchor", min)},
    "gan2": {"best": ("val/anchor", min)},
    "inverse": {
        "ours_label": ("val/balanced_accuracy", max),
        "ours_caption": ("val/cider", max),
    },
    "classifier": {"best": (None, None)},  # the last: its rate ends at zero
    "embedding_gan1": {"best": ("val/anchor", min)},
    "captioner": {"best": ("val/cider", max)},
    "segmenter": {"best": (None, None)},
}


def snapshot(folder):
    return {path: sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def metrics(folder, version=0):
    return pd.read_csv(folder / "logs" / f"version_{version}" / "metrics.csv")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_exports_what_the_next_needs(chain, stage):
    export = load_export(chain / "runs/chain" / stage, stage)
    assert set(export.info["selections"]) == set(SELECTIONS[stage])
    assert set(export.info["parents"]) == set(STAGES[stage])
    for parent, value in export.info["parents"].items():
        assert load_export(chain / "runs/chain" / parent, parent).hash == value
    for name in export.info["nets"]:
        for selection in export.info["selections"]:
            assert not export.net(name, selection).training


@pytest.mark.parametrize("stage", STAGES)
def test_the_kept_epoch_is_the_one_with_the_best_measure(chain, stage):
    folder = chain / "runs/chain" / stage
    table = metrics(folder)
    assert table["epoch"].max() == EPOCHS - 1
    info = load_export(folder, stage).info
    for name, (monitor, best) in SELECTIONS[stage].items():
        kept = info["selections"][name]
        assert kept["monitor"] == monitor
        if monitor is None:
            assert kept["epoch"] == EPOCHS
            continue
        values = table[monitor].dropna().tolist()
        assert len(values) == EPOCHS
        assert kept["metrics"][monitor] == pytest.approx(best(values), rel=1e-6)
        equals = [index for index, value in enumerate(values) if value == best(values)]
        assert kept["epoch"] == equals[-1] + 1  # of equals the later


@pytest.mark.parametrize("stage", STAGES)
def test_logs_hold_losses_measures_and_rates(chain, stage):
    columns = set(metrics(chain / "runs/chain" / stage).columns)
    expected = {
        "arae": {"train/nll", "train/wasserstein", "val/token_accuracy", "val/label_accuracy"},
        "gan1": {
            "train/loss_d",
            "train/loss_g",
            "val/distance_normal",
            "val/distance_cardiomegaly",
        },
        "gan2": {"train/loss_d", "train/loss_g", "train/consistency"},
        "inverse": {"train/diagnosis", "train/cycle_img", "train/cycle_emb", "val/auroc"},
        "classifier": {"train/loss", "train/accuracy", "val/loss", "val/auroc", "val/ece"},
        "embedding_gan1": {"train/loss_d", "train/loss_g", "val/distance_normal"},
        "captioner": {"train/nll", "train/coverage", "val/nll", "val/bleu4", "val/auroc"},
        "segmenter": {"train/loss", "val/loss", "val/dice_heart", "val/dice_lungs"},
    }
    assert columns >= expected[stage] | {"rate", "epoch"}


@pytest.mark.parametrize(
    ("stage", "rows", "size"),
    [
        *(("gan1", 2, 16), ("gan2", 3, 32), ("inverse", 2, 16), ("embedding_gan1", 2, 16)),
        ("segmenter", 3, 32),
    ],
)
def test_pictures_are_drawn(chain, stage, rows, size):
    folder = chain / "runs/chain" / stage / "pictures"
    assert [path.name for path in folder.iterdir()] == [f"epoch{EPOCHS:04d}.png"]
    with Image.open(folder / f"epoch{EPOCHS:04d}.png") as picture:
        assert picture.size == (8 * (size + 2), rows * (size + 2))
        assert picture.getextrema()[0] < 100


@pytest.mark.parametrize("stage", STAGES)
def test_checkpoints_hold_nothing_but_tensors_and_plain_values(chain, stage):
    path = chain / "runs/chain" / stage / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["epoch"] == EPOCHS - 1
    kept = next(value for key, value in checkpoint["callbacks"].items() if "StageCheckpoint" in key)
    assert set(kept["kept"]) == set(SELECTIONS[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_rerun_says_done_and_changes_nothing(tiny, copy_of, capsys, stage):
    folder = copy_of(stage)
    before = snapshot(folder)
    measures = train(tiny(stage))
    assert f"{stage}: done, {folder}/export" in capsys.readouterr().out
    assert measures == next(iter(load_export(folder, stage).info["selections"].values()))["metrics"]
    assert snapshot(folder) == before


def test_a_changed_setting_is_refused(tiny, copy_of):
    folder = copy_of("gan1")
    before = snapshot(folder)
    with pytest.raises(
        ConfigError, match=r"started with gan1\.width=4, now gan1\.width=5"
    ) as caught:
        train(tiny("gan1", "gan1.width=5"))
    assert str(folder) in str(caught.value)
    assert "choose another name=" in str(caught.value)
    with pytest.raises(ConfigError, match="and 1 more settings"):
        train(tiny("gan1", "gan1.width=5", "seed=1"))
    assert snapshot(folder) == before


def test_other_parents_are_a_changed_setting(tiny, copy_of, monkeypatch):
    copy_of("gan1")
    monkeypatch.setattr("xrj.handover.StageExport.hash", "other")
    with pytest.raises(ConfigError, match=r"parents\.arae="):
        train(tiny("gan1"))


def test_a_mistake_does_not_claim_the_folder(tiny, tmp_path):
    with pytest.raises(HandoverError, match=r"dims\.embedding=16, not 8"):
        train(tiny("gan1", "dims.embedding=8"))
    with pytest.raises(HandoverError, match="another vocabulary"):
        train(tiny("gan1", "data.captions.min_count=3"))
    assert not (tmp_path / "runs/default/gan1/run.json").exists()


def test_a_mistaken_augmentation_does_not_claim_the_folder(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"albumentations\.Nope"):
        train(tiny("gan1", "data.augmentations=[{_target_: albumentations.Nope}]"))
    assert not (tmp_path / "runs/default/gan1/run.json").exists()


def test_other_data_under_the_same_settings_are_refused(tiny, copy_of):
    folder = copy_of("gan1")
    shutil.rmtree(folder / "export")
    run = json.loads((folder / "run.json").read_text())
    run["data"]["split"] = "of other patients"
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(ConfigError, match="started on data with another split") as caught:
        train(tiny("gan1"))
    assert str(folder) in str(caught.value)


def test_a_broken_export_is_written_anew_as_the_error_says(tiny, copy_of):
    folder = copy_of("gan1")
    whole = snapshot(folder / "export")
    path = folder / "export" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(HandoverError, match=re.escape(f"remove {folder}/export and run python")):
        load_export(folder, "gan1").net("generator")
    shutil.rmtree(folder / "export")
    train(tiny("gan1"))
    assert snapshot(folder / "export") == whole


def test_the_run_folder_says_what_was_read_and_who_is_where(chain):
    folder = chain / "runs/chain/arae"
    split = read_split_file(folder / "split.json")
    assert split.hash == load_export(folder, "arae").info["split"]
    assert set(split.patients.values()) == {"train", "val", "test"}
    counts = json.loads((folder / "counts.json").read_text())
    assert counts["steps"][0][0] == "reports read"
    assert any("without findings" in line for line in counts["skipped"])


def test_a_missing_parent_leaves_nothing_behind(tiny, tmp_path):
    with pytest.raises(
        HandoverError, match=r"python train\.py stage=arae name=nobody runs=\S+ first"
    ):
        train(tiny("gan1", "name=x", f"parents.arae={tmp_path}/runs/nobody/arae"))
    assert not (tmp_path / "runs").exists()


def test_a_stage_on_other_data_than_its_siblings_is_refused(tiny, copy_of):
    """The rivals have no parents that would refuse them, but are evaluated with the chain."""
    copy_of("arae")
    with pytest.raises(HandoverError, match=r"holds 'arae' of another split .* another name="):
        train(tiny("classifier", "data.split.seed=9"))


def test_a_split_file_need_not_stay_where_it_was(tiny, chain, tmp_path):
    given = shutil.copy(chain / "runs/chain/arae/split.json", tmp_path / "given.json")
    train(tiny("classifier", f"data.split.file={given}"))
    folder = tmp_path / "runs/default/classifier"
    export = load_export(folder, "classifier")
    moved = given.rename(tmp_path / "moved.json")
    assert build_evaluation_data(export, {}, "images").split_hash == export.info["split"]
    train(tiny("classifier", f"data.split.file={moved}"))  # is done, and says so
    (folder / "split.json").unlink()
    moved.rename(given)
    assert build_evaluation_data(export, {}, "images").split_hash == export.info["split"]


def test_a_second_process_is_refused(tiny, tmp_path):
    lock = tmp_path / "runs/default/gan1/.lock"
    with locked(lock, wait=False), pytest.raises(ConfigError, match="another process trains there"):
        train(tiny("gan1"))


def test_a_stale_temporary_is_removed(tiny, copy_of):
    folder = copy_of("gan1")
    stale = folder / ".last.ckpt.123.tmp"
    stale.write_bytes(b"half")
    (folder / "export/stage.json").unlink()
    train(tiny("gan1"))
    assert not stale.exists()


@pytest.mark.parametrize("kind", ["pickle", "truncated", "empty", "text"])
def test_a_foreign_checkpoint_is_refused_in_one_line(tiny, copy_of, kind, tmp_path):
    folder = copy_of("gan1")
    (folder / "export/stage.json").unlink()
    path, evidence = folder / "last.ckpt", tmp_path / "executed"
    if kind == "pickle":
        torch.save({**torch.load(path, weights_only=True), "x": Evil(evidence)}, path)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        path.write_bytes(b"" if kind == "empty" else b"not a checkpoint")
    with pytest.raises(DataError, match=re.escape(f"{path}: ")) as caught:
        train(tiny("gan1"))
    assert "\n" not in str(caught.value)
    assert "remove it to start the stage over" in str(caught.value)
    assert not evidence.exists()


def test_a_checkpoint_of_other_nets_is_refused_in_one_line(tiny, copy_of):
    folder = copy_of("gan1")
    (folder / "export/stage.json").unlink()
    state = torch.load(folder / "last.ckpt", weights_only=True)
    del state["state_dict"]["noise_encoder.covariance"]
    torch.save(state, folder / "last.ckpt")
    with pytest.raises(DataError, match=r"another version of xrj; remove .*gan1 to") as caught:
        train(tiny("gan1"))
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("stage", STAGES)
def test_frozen_parents_do_not_change(chain, stage):
    weights = torch.load(chain / "runs/chain" / stage / "last.ckpt", weights_only=True)[
        "state_dict"
    ]
    frozen = {"gan1": ["encoder"], "gan2": ["encoder", "stage1"]}
    frozen["inverse"] = ["encoder", "decoder", "generator"]
    for part in frozen.get(stage, []):
        parent = "gan1" if part in ("stage1", "generator") else "arae"
        name = "generator" if part == "stage1" else part
        export = load_file(chain / "runs/chain" / parent / "export/best.safetensors")
        original = {key: value for key, value in export.items() if key.startswith(f"{name}.")}
        assert original
        for key, value in original.items():
            assert torch.equal(weights[key.replace(name, part, 1)], value), key


def test_the_export_is_the_average_of_the_generator(chain):
    state = torch.load(chain / "runs/chain/gan1/last.ckpt", weights_only=True)["state_dict"]
    export = load_file(chain / "runs/chain/gan1/export/best.safetensors")
    info = load_export(chain / "runs/chain/gan1", "gan1").info
    for key, value in export.items():
        net, part = key.split(".", 1)
        if net != "generator":
            continue
        if info["selections"]["best"]["epoch"] == EPOCHS:
            assert torch.equal(value, state[f"averaged.module.{part}"])
        if value.dim() > 1:
            assert not torch.equal(value, state[f"generator.{part}"])


@pytest.mark.parametrize(
    ("mode", "values", "kept"),
    [
        ("last", [3.0, 1.0, float("nan")], 3),
        ("min", [3.0, 1.0, 2.0], 2),
        ("min", [3.0, 1.0, 1.0], 3),
        ("max", [3.0, 3.0, 2.0], 2),
        ("min", [float("nan"), 2.0, float("nan")], 2),
        ("max", [float("nan"), float("nan")], 2),
    ],
)
def test_the_best_epoch_is_kept_and_of_equals_the_later(mode, values, kept):
    stage = SimpleNamespace(
        selections={"best": Selection(None) if mode == "last" else Selection("val/x", mode)},
        exports=lambda: {"net": torch.nn.Linear(1, 1)},
    )
    checkpoint = StageCheckpoint(None, None)
    for epoch, value in enumerate(values):
        trainer = SimpleNamespace(
            sanity_checking=False,
            current_epoch=epoch,
            callback_metrics={"val/x": torch.tensor(value)},
        )
        checkpoint.on_validation_end(trainer, stage)
    assert checkpoint.kept["best"]["epoch"] == kept


def test_run_json_says_what_was_run(chain):
    run = json.loads((chain / "runs/chain/inverse/run.json").read_text())
    assert run["settings"]["inverse.width"] == 4
    assert set(OmegaConf.create(run["settings"])) >= {"seed", "parents.arae", "parents.gan1"}


def test_the_counts_are_printed_once_a_chain(tiny, capsys):
    train(tiny("arae", "arae.max_epochs=1"))
    assert capsys.readouterr().out.count("2,446") == 1
    train(tiny("gan1", "gan1.max_epochs=1"))
    printed = capsys.readouterr()
    assert "2,446" not in printed.out + printed.err
    assert printed.out.startswith("gan1: epoch 1/1, anchor ")
    train(tiny("classifier", "classifier.max_epochs=1"))  # no parent, and the data of arae
    assert "2,446" not in capsys.readouterr().out
    train(tiny("classifier", "classifier.max_epochs=1", "name=another"))
    assert capsys.readouterr().out.count("2,446") == 1
