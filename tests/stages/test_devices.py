"""Two gloo processes on the CPU train as several GPUs would."""

import pytest
import torch
import torch.distributed as dist

import __main__
from tests.tiny import ROOT
from xrj.callbacks.checkpoint import StageCheckpoint
from xrj.handover import load_export
from xrj.run import train

TWO = ("trainer.devices=2", "trainer.accelerator=cpu")


@pytest.fixture(autouse=True)
def command(monkeypatch):
    """Let spawned ranks begin with train.py, as its own do, and so with xrj before Lightning."""
    monkeypatch.setattr(__main__, "__spec__", None)
    monkeypatch.setattr(__main__, "__file__", str(ROOT / "train.py"), raising=False)


class DumpWeights(StageCheckpoint):
    """Writes what each rank ends with beside the checkpoint."""

    def on_fit_end(self, trainer, pl_module):
        path = self.path.with_name(f"rank{trainer.global_rank}.pt")
        losses = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        assert dist.get_world_size() == 2
        torch.save({"weights": pl_module.state_dict(), "measures": losses}, path)
        super().on_fit_end(trainer, pl_module)


@pytest.mark.ddp
@pytest.mark.parametrize(
    "stage",
    [
        *("gan1", "inverse"),
        *(
            pytest.param(stage, marks=pytest.mark.slow)
            for stage in ("arae", "gan2", "classifier", "embedding_gan1", "captioner")
        ),
    ],
)
def test_both_ranks_end_with_equal_weights(tiny, tmp_path, monkeypatch, stage):
    monkeypatch.setattr("xrj.run.StageCheckpoint", DumpWeights)
    train(tiny(stage, *TWO, f"{stage}.max_epochs=2"))
    folder = tmp_path / "runs/default" / stage
    first, second = (torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["weights"].keys() == second["weights"].keys()
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key
    assert first["measures"] == second["measures"]
    export = load_export(folder, stage)
    for name in export.info["nets"]:
        export.net(name)


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_continue_exactly(tiny, tmp_path):
    train(tiny("gan1", *TWO, "name=whole"))
    whole, parts = (tmp_path / "runs" / name / "gan1" for name in ("whole", "parts"))
    stop = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/distance, "
    train(tiny("gan1", *TWO, "name=parts", f"+trainer.callbacks.x={stop}stopping_threshold: 99}}"))
    assert not (parts / "export").exists()
    train(tiny("gan1", *TWO, "name=parts"))
    names = ("best.safetensors", "stage.json")
    assert all(
        (whole / "export" / x).read_bytes() == (parts / "export" / x).read_bytes() for x in names
    )
