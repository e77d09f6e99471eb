"""Image grids and caption tables of the first validation batch, as files and in W&B."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor
from torch.nn import functional as F

from xrj.modules.base import StageModule


def grid(
    rows: dict[str, Tensor], columns: int = 8, gap: int = 2
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Tile rows of images (B, C, H, W) in [-1, 1], all of one size, to one uint8 picture."""
    lines = []
    for images in rows.values():
        shown = images[:columns].float().mean(dim=1).clamp(-1, 1).add(1).mul(127.5).round()
        padded = F.pad(shown.cpu(), (0, gap, 0, gap), value=255)
        lines.append(torch.cat(list(padded), dim=1))
    return torch.cat(lines, dim=0).numpy().astype(np.uint8)


class Pictures(pl.Callback):
    """Shows what the nets do with the first validation batch.

    Args:
        folder: Where the PNGs go, one an epoch shown.
        every: Epochs between two pictures; the last epoch is always shown.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the pictures and decode the captions of the first batch."""
        stage = cast(StageModule, pl_module)
        epoch = trainer.current_epoch + 1
        due = epoch % self.every == 0 or epoch == trainer.max_epochs
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero or not due:
            return
        first = {key: value[:8] for key, value in batch.items()}
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        rows = stage.pictures(first)
        if rows:
            path = self.folder / f"epoch{epoch:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grid(rows)).save(path)
            for logger in loggers:
                logger.log_image("pictures", [str(path)], caption=[" / ".join(rows)])
        if table := stage.captions(first):
            for logger in loggers:
                logger.log_table("captions", list(table[0]), [list(row.values()) for row in table])
