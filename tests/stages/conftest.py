"""A tiny chain, trained once and shared by all processes of a test run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.tiny import compose_tiny
from xrj.config import STAGES
from xrj.files import locked
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
def copy_of(chain: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a trained stage to the runs of the test as `default`; return its folder."""

    def copy(stage: str) -> Path:
        return shutil.copytree(chain / "runs/chain" / stage, tmp_path / "runs/default" / stage)

    return copy
