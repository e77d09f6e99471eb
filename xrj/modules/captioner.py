"""Stage `captioner`: captions from X-rays without any detour (table 4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer, RMSprop

from xrj import losses
from xrj.datamodules.vocabulary import Vocabulary
from xrj.measures.captions import score_captions
from xrj.modules.base import (
    DIAGNOSIS,
    Batch,
    Selection,
    StageModule,
    description,
    diagnosis_measures,
)
from xrj.nets.captioner import ConvolutionalCaptioner, Seen


class CaptionerModule(StageModule):
    """Learn to caption X-rays after Aneja et al. 2018: cross-entropy and coverage.

    It shares nothing with the chain but data and split. Kept is the epoch of the best validation
    CIDEr, the label word left out, as for `ours_caption`.

    Args:
        captioner: The net.
        vocabulary: Of the data.
        rate: Learning rate of RMSprop.
        vision_rate: That of VGG.
        vision_from: Epochs, from 0, before which VGG stays as it is.
        milestones: Epochs at which the rates drop to a tenth.
        caption_length: Tokens decoded for a caption.
        references: Captions of each row of the data's table, as text.
    """

    headline = "val/cider"

    def __init__(
        self,
        *,
        captioner: ConvolutionalCaptioner,
        vocabulary: Vocabulary,
        rate: float,
        vision_rate: float,
        vision_from: int,
        milestones: list[int],
        caption_length: int,
        references: Sequence[Sequence[str]],
    ) -> None:
        super().__init__()
        self.selections = {"best": Selection("val/cider")}
        self.adversarial = vision_from > 0
        self.captioner, self.vocabulary = captioner, vocabulary
        self.rates, self.vision_from, self.milestones = (vision_rate, rate), vision_from, milestones
        self.caption_length, self.references = caption_length, references
        self.register_buffer("label_ids", torch.tensor(vocabulary.label_ids), persistent=False)
        self.label_ids: Tensor
        self._seen: list[dict[str, Any]] = []

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        train = {"train/loss", "train/nll", "train/coverage"}
        val = ("nll", *DIAGNOSIS, "bleu4", "cider")
        return {"rate", *train, *(f"val/{name}" for name in val)}

    def exports(self) -> dict[str, torch.nn.Module]:
        """Return the captioner."""
        return {"captioner": self.captioner}

    def configure_optimizers(self) -> Optimizer:
        """RMSprop, with VGG in a group of its own."""
        vision = set(self.captioner.vision.parameters())
        text = [weight for weight in self.captioner.parameters() if weight not in vision]
        groups = zip((self.captioner.vision.parameters(), text), self.rates, strict=True)
        return RMSprop([{"params": params, "lr": rate} for params, rate in groups])

    def on_train_epoch_start(self) -> None:
        """Set the learning rates of this epoch, and whether VGG learns in it."""
        self.captioner.vision.train(self._vision_learns)
        drop = 0.1 ** sum(self.current_epoch >= milestone for milestone in self.milestones)
        for group, rate in zip(self.optimizer_list()[0].param_groups, self.rates, strict=True):
            group["lr"] = rate * drop
        self.log("rate", self.rates[1] * drop)

    @property
    def _vision_learns(self) -> bool:
        return self.current_epoch >= self.vision_from

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss for images (B, 1, H, W) and captions (B, T)."""
        tokens = batch["tokens"]
        with torch.set_grad_enabled(self._vision_learns):
            seen: Seen = self.captioner.see(batch["image"])
        logits, attention = self.captioner(seen, tokens)
        nll, coverage = losses.caption_nll(logits, tokens), losses.coverage(attention, tokens)
        loss = nll + coverage
        self.log_dict(
            {"train/loss": loss, "train/nll": nll, "train/coverage": coverage},
            on_step=False,
            on_epoch=True,
        )
        return loss

    def _decode(self, seen: Seen) -> Tensor:
        return self.captioner.decode(seen, self.caption_length, self.label_ids)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Diagnose and caption; the validation set is whole on every rank."""
        tokens = batch["tokens"]
        seen = self.captioner.see(batch["image"])
        nll = losses.caption_nll(self.captioner(seen, tokens)[0], tokens)
        self.log("val/nll", nll, batch_size=int((tokens != 0).sum()))
        logits = self.captioner.first_logits(seen)[:, self.label_ids]
        self._seen.append(
            {
                "probabilities": logits.float().softmax(dim=1).cpu().numpy(),
                "label": batch["label"].cpu().numpy(),
                "captions": [
                    " ".join(self.vocabulary.decode(row)[1]) for row in self._decode(seen).tolist()
                ],
                "references": [list(self.references[row]) for row in batch["index"].tolist()],
            }
        )

    def on_validation_epoch_end(self) -> None:
        """Log the diagnosis and caption measures of the whole validation set."""
        scores = diagnosis_measures(
            np.concatenate([seen["probabilities"] for seen in self._seen]),
            np.concatenate([seen["label"] for seen in self._seen]),
            DIAGNOSIS,
        )
        captions = score_captions(
            [caption for seen in self._seen for caption in seen["captions"]],
            [several for seen in self._seen for several in seen["references"]],
        )
        self._seen.clear()
        self.log_dict(scores)
        self.log("val/bleu4", captions.bleu4)
        self.log("val/cider", captions.cider, prog_bar=True)

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return a real caption beside the decoded one."""
        decoded = self._decode(self.captioner.see(batch["image"]))
        return [
            {
                "real": description(self.vocabulary, real),
                "decoded": description(self.vocabulary, row),
            }
            for real, row in zip(batch["tokens"], decoded, strict=True)
        ]
