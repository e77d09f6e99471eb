"""Stage `segmenter`: heart and lungs of a frontal X-ray as masks."""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from xrj import losses
from xrj.measures.masks import dice
from xrj.modules.base import Batch, Selection, StageModule, annealed, averaged, set_rate
from xrj.nets.segmenter import PARTS


class SegmenterModule(StageModule):
    """Learn which share of each pixel is heart and which is lung.

    The last epoch is kept: the rate anneals to zero, and the net is averaged over its steps.

    Args:
        segmenter: The net.
        rate: Learning rate of AdamW, annealed to zero along a cosine over the epochs.
        decay: Decoupled weight decay.
        average: Decay a step of the net's exponential average.
    """

    headline = "val/dice_heart"

    def __init__(self, *, segmenter: nn.Module, rate: float, decay: float, average: float) -> None:
        super().__init__()
        self.selections = {"best": Selection(None)}
        self.segmenter = segmenter
        self.averaged = averaged(segmenter, average)
        self.rate, self.decay = rate, decay
        self._seen: list[tuple[Tensor, Tensor]] = []

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        return {"rate", "train/loss", "val/loss", *(f"val/dice_{part}" for part in PARTS)}

    def exports(self) -> dict[str, nn.Module]:
        """Return the averaged net, in half precision: masks do not need more."""
        return {"segmenter": deepcopy(self.averaged.module).half()}

    def configure_optimizers(self) -> Optimizer:
        """AdamW."""
        return AdamW(self.segmenter.parameters(), lr=self.rate, weight_decay=self.decay)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of this epoch."""
        rate = self.rate * annealed(self.current_epoch, self.trainer.max_epochs or 1)
        set_rate(self.optimizer_list()[0], rate)
        self.log("rate", rate)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss for images (B, 1, R, R) and masks (B, 2, R, R)."""
        loss = losses.overlap_loss(self.segmenter(batch["image"]), batch["masks"])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:
        """Follow the net with its average."""
        self.averaged.update_parameters(self.segmenter)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect logits and masks; the validation set is whole on every rank."""
        self._seen.append((self.averaged(batch["image"]).float(), batch["masks"]))

    def on_validation_epoch_end(self) -> None:
        """Log loss and mean overlap of the whole validation set."""
        logits, masks = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        found, true = logits.sigmoid().cpu().numpy(), masks.cpu().numpy()
        self.log("val/loss", losses.overlap_loss(logits, masks))
        for place, part in enumerate(PARTS):
            pairs = zip(found[:, place], true[:, place], strict=True)
            self.log(f"val/dice_{part}", float(np.mean([dice(a, b) for a, b in pairs])))

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return X-rays above the masks found, heart and lungs each."""
        found = self.averaged(batch["image"]).sigmoid().float() * 2 - 1
        parts = {part: found[:, place : place + 1] for place, part in enumerate(PARTS)}
        return {"real": batch["image"], **parts}
