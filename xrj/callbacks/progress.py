"""One line an epoch where no terminal shows a progress bar."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytorch_lightning as pl

from xrj.modules.base import StageModule


class EpochLines(pl.Callback):
    """Prints the stage's headline measure, the time and what is left, at most every few seconds.

    Args:
        stage: Name to print.
        lacking: Returns the labels that validation lacks, the reason of a measure that is nan.
        seconds: Least time between two lines; the last epoch is always printed.
    """

    def __init__(
        self, stage: str, lacking: Callable[[], Sequence[str]] = tuple, seconds: float = 5.0
    ) -> None:
        self.stage = stage
        self.lacking = lacking
        self.seconds = seconds
        self.started = self.printed = 0.0
        self.first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = self.printed = time.monotonic()
        self.first = trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line when one is due."""
        stage = cast(StageModule, pl_module)
        now, epoch, last = time.monotonic(), trainer.current_epoch + 1, trainer.max_epochs or 0
        if not trainer.is_global_zero or (now - self.printed < self.seconds and epoch < last):
            return
        self.printed = now
        left = (now - self.started) / (epoch - self.first) * (last - epoch)
        value: Any = trainer.callback_metrics.get(stage.headline)
        measured = "not measured" if value is None else f"{float(value):.4f}"
        name = stage.headline.removeprefix("val/").replace("_", " ")
        shown = f"{name} {measured}"
        if value is not None and math.isnan(value) and (absent := self.lacking()):
            shown += f" (no '{absent[0]}' in val)"
        print(f"{self.stage}: epoch {epoch}/{last}, {shown}, {left:.0f} s left", flush=True)
