"""The callbacks that a user adds: which go with the stages, and what they may watch."""

from collections.abc import Mapping
from typing import Any

import hydra
from hydra.errors import InstantiationException
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Checkpoint,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    ProgressBar,
    SpikeDetection,
    StochasticWeightAveraging,
    WeightAveraging,
)

from xrj.errors import ConfigError
from xrj.modules.base import StageModule

_UNFIT: Mapping[tuple[type[Callback], ...], str] = {
    (Checkpoint,): "a stage writes last.ckpt and keeps its best epochs itself",
    (ProgressBar,): "a stage shows its progress itself",
    (BatchSizeFinder, LearningRateFinder): (
        "batch size and rate are settings that make the run what it is; set {stage}.batch_size "
        "or the rate"
    ),
    (StochasticWeightAveraging, WeightAveraging): (
        "its averages would not reach the export; stages that gain by averages keep their own, "
        "as gan1.average says"
    ),
    (ModelPruning,): "the stages that read the export build whole nets",
    (BaseFinetuning,): "it thaws a backbone, and no stage has one",
}
_AUTOMATIC = (GradientAccumulationScheduler, SpikeDetection)
"""They work on the one loss that a stage with one optimiser returns."""


def build_further(
    wanted: Mapping[str, Any], stage: str, module: StageModule
) -> dict[str, Callback]:
    """Return the callbacks of `trainer.callbacks` by name.

    Raises:
        ConfigError: One cannot be built, does not go with the stage or watches what it does not
            log.
    """
    built = {}
    for name, node in wanted.items():
        key, target = f"trainer.callbacks.{name}", node["_target_"]
        try:
            callback = hydra.utils.instantiate(node, _convert_="all")
        except InstantiationException as error:
            cause = error.__cause__ or error
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            raise ConfigError(f"{key}: {target} cannot be made: {reason}") from error
        if not isinstance(callback, Callback):
            raise ConfigError(f"{key}: {target} is no callback of Lightning; leave it out")
        if why := _unfit(callback, stage, module):
            raise ConfigError(f"{key}: {target} does not go with stage '{stage}': {why}")
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in (known := module.measured()):
            raise ConfigError(
                f"{key}.monitor={monitor}: not logged by stage '{stage}'"
                f"{module.reason(monitor)}; choose one of {', '.join(sorted(known))}"
            )
        built[str(name)] = callback
    return built


def _unfit(callback: Callback, stage: str, module: StageModule) -> str:
    """Return why a callback does not go with a stage, or nothing."""
    for kinds, why in _UNFIT.items():
        if isinstance(callback, kinds):
            return f"{why.format(stage=stage)}; leave it out"
    if isinstance(callback, _AUTOMATIC) and not module.automatic_optimization:
        return "several optimisers take turns in it; leave it out"
    return ""
