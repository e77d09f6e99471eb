"""Stage `classifier`: an independent image classifier (table 3)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from xrj.datamodules.vocabulary import Vocabulary
from xrj.modules.base import (
    DIAGNOSIS,
    Batch,
    Selection,
    StageModule,
    annealed,
    diagnosis_measures,
    set_rate,
)


class ClassifierModule(StageModule):
    """Learn a diagnosis from X-rays alone.

    It shares nothing with the chain but data and split, so that its vote on a generated X-ray is
    one from outside. The last epoch is kept: the rate anneals to zero, and the few validation
    X-rays of a rare label would choose another by chance.

    Args:
        classifier: The net.
        vocabulary: Of the data, for the labels.
        rate: Learning rate of AdamW, annealed to zero along a cosine over the epochs.
        decay: Decoupled weight decay.
        label_weights: Weight of each label in the loss, or None.
    """

    headline = "val/balanced_accuracy"

    def __init__(
        self,
        *,
        classifier: nn.Module,
        vocabulary: Vocabulary,
        rate: float,
        decay: float,
        label_weights: list[float] | None,
    ) -> None:
        super().__init__()
        self.selections = {"best": Selection(None)}
        self.classifier, self.vocabulary = classifier, vocabulary
        self.rate, self.decay = rate, decay
        weights = None if label_weights is None else torch.tensor(label_weights)
        self.register_buffer("label_weights", weights, persistent=False)
        self.label_weights: Tensor | None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        val = {f"val/{name}" for name in ("loss", *DIAGNOSIS, "auprc", "ece")}
        return {"rate", "train/loss", "train/accuracy"} | val

    def exports(self) -> dict[str, nn.Module]:
        """Return the classifier."""
        return {"classifier": self.classifier}

    def configure_optimizers(self) -> Optimizer:
        """AdamW."""
        return AdamW(self.classifier.parameters(), lr=self.rate, weight_decay=self.decay)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of this epoch."""
        rate = self.rate * annealed(self.current_epoch, self.trainer.max_epochs or 1)
        set_rate(self.optimizer_list()[0], rate)
        self.log("rate", rate)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the cross-entropy for images (B, 1, H, W) and labels (B,)."""
        logits = self.classifier(batch["image"])
        loss = F.cross_entropy(logits, batch["label"], self.label_weights)
        right = (logits.argmax(dim=1) == batch["label"]).float().mean()
        self.log_dict({"train/loss": loss, "train/accuracy": right}, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect logits; the validation set is whole on every rank."""
        self._seen.append((self.classifier(batch["image"]).float(), batch["label"]))

    def on_validation_epoch_end(self) -> None:
        """Log loss and measures of the whole validation set."""
        logits, label = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        scores = diagnosis_measures(
            logits.float().softmax(dim=1).cpu().numpy(),
            label.cpu().numpy().astype(np.int64),
            (*DIAGNOSIS, "auprc", "ece"),
        )
        self.log_dict({"val/loss": F.cross_entropy(logits, label, self.label_weights), **scores})

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return the true diagnosis beside the one found, with its certainty."""
        certainty, found = self.classifier(batch["image"]).float().softmax(dim=1).max(dim=1)
        names = self.vocabulary.labels
        return [
            {"real": names[true], "found": f"{names[label]} ({share:.0%})"}
            for true, label, share in zip(
                batch["label"].tolist(), found.tolist(), certainty.tolist(), strict=True
            )
        ]
