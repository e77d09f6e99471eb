"""A tiny chain, trained once and shared by all processes of a test run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from tests.tiny import compose_tiny
from xrj.build import build_data, build_module
from xrj.config import STAGES
from xrj.files import locked
from xrj.handover import load_export
from xrj.run import train


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Train all stages once as `chain`; return the folder of runs and cache. Read only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "trained"
    with locked(folder / "lock", wait=True):
        for stage in STAGES:
            train(compose_tiny(folder, stage, "name=chain"))
    return folder


@pytest.fixture
def tiny(chain: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose a stage on the trained chain's parents, whose run folder is the test's own."""

    def make(stage: str, *overrides: str) -> DictConfig:
        return compose_tiny(
            chain,
            stage,
            f"runs={tmp_path}/runs",
            f"parents.arae={chain}/runs/chain/arae",
            f"parents.gan1={chain}/runs/chain/gan1",
            *overrides,
        )

    return make


@pytest.fixture
def build(tiny: Callable[..., DictConfig]) -> Callable[..., Any]:
    """Build a stage's module and its first training batch as the module sees it."""

    def make(stage: str, *overrides: str) -> Any:
        cfg = tiny(stage, *overrides)
        parents = {name: load_export(Path(cfg.parents[name]), name) for name in STAGES[stage]}
        data = build_data(cfg)
        data.prepare_data()
        data.setup("fit")
        torch.manual_seed(0)
        module = build_module(cfg, data, parents)
        batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
        return module, batch

    return make


@pytest.fixture
def copy_of(chain: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a trained stage to the runs of the test as `default`; return its folder."""

    def copy(stage: str) -> Path:
        return shutil.copytree(chain / "runs/chain" / stage, tmp_path / "runs/default" / stage)

    return copy
