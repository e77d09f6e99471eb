"""Ends a training whose losses or weights are no longer finite."""

import math

import pytorch_lightning as pl
import torch

from xrj.errors import ConfigError


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
            ConfigError: One is not finite.
        """
        if trainer.sanity_checking:
            return
        for name, value in pl_module.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                self._stop(trainer, f"the weights of {name.split('.')[0]} are")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what was logged.

        Raises:
            ConfigError: Something is not finite.
        """
        for name, value in trainer.callback_metrics.items():
            if name.startswith(("train/", "val/")) and not math.isfinite(value):
                self._stop(trainer, f"{name} is")

    def _stop(self, trainer: pl.Trainer, what: str) -> None:
        raise ConfigError(
            f"{self.stage}: {what} not finite after epoch {trainer.current_epoch + 1}, so nothing "
            f"is exported; {self.remedy}"
        )
