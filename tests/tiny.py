"""Trainings of seconds: a small phantom, small nets, few epochs."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from xrj.config import STAGES, register

ROOT = Path(__file__).parents[1]
EPOCHS = 3
TINY = [
    "data.phantom={reports: 70, seed: 0, size: 72, cardiomegaly: 0.45, other: 0.1}",
    "data.captions.min_count=2",
    "data.split.fractions=[0.6, 0.2, 0.2]",
    *(
        f"dims.{key}={value}"
        for key, value in {"embedding": 16, "noise": 8, "small": 16, "large": 32}.items()
    ),
    "arae.hidden=16",
    "arae.latent_noise=8",
    "gan1.width=4",
    "gan2.width=2",
    "inverse.width=4",
    "classifier.width=4",
    "captioner.width=4",
    "captioner.resolution=64",
    "classifier.resolution=32",
    "segmenter.width=2",
    "segmenter.resolution=32",
    "trainer.precision=32-true",  # the same on each machine
    *(f"{stage}.batch_size=8" for stage in STAGES),
    *(f"{stage}.max_epochs={EPOCHS}" for stage in STAGES),
]


def compose_train(*overrides: str) -> DictConfig:
    """Compose `train.py`'s configuration."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(overrides))


def places(folder: Path) -> list[str]:
    """Say that runs and caches belong into `folder`."""
    return [f"runs={folder}/runs", f"data.cache_dir={folder}/cache"]


def compose_tiny(folder: Path, stage: str, *overrides: str) -> DictConfig:
    """Compose a tiny training in `folder`, without W&B."""
    return compose_train(
        *TINY, *places(folder), f"stage={stage}", "logger.wandb=disabled", *overrides
    )
