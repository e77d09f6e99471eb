"""Ends a training whose losses or weights are no longer finite, or far beyond all use."""

import math

import pytorch_lightning as pl
import torch

from xrj.errors import ConfigError

LOST = "not finite"
LARGEST = 1e6
"""Weight, in magnitude, from which on a net is lost, though its losses may still be numbers."""


class StopUnlessFinite(pl.Callback):
    """Stops at the first epoch without a finite loss, measure or weight, before it is kept.

    Args:
        stage: Name of the stage.
        remedy: What to change.
    """

    def __init__(self, stage: str, remedy: str) -> None:
        self.stage, self.remedy = stage, remedy

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the weights, which nothing could be measured with.

        Raises:
            ConfigError: One is not finite, or beyond `LARGEST`.
        """
        if trainer.sanity_checking:
            return
        for name, value in pl_module.state_dict().items():
            if value.is_floating_point() and not (value.abs() < LARGEST).all():
                finite = torch.isfinite(value).all()
                what = f"the weights of {name.split('.')[0]} are"
                self._stop(trainer, f"{what} beyond {LARGEST:.0e}" if finite else f"{what} {LOST}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what was logged.

        Raises:
            ConfigError: Something is not finite.
        """
        for name, value in trainer.callback_metrics.items():
            if name.startswith(("train/", "val/")) and not math.isfinite(value):
                self._stop(trainer, f"{name} is {LOST}")

    def _stop(self, trainer: pl.Trainer, what: str) -> None:
        raise ConfigError(
            f"{self.stage}: {what} after epoch {trainer.current_epoch + 1}, so nothing "
            f"is exported; {self.remedy}"
        )
