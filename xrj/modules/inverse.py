"""Stage `inverse`: the inverse mapping I from an X-ray to r (section 3.3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xrj import losses
from xrj.datamodules.vocabulary import Vocabulary
from xrj.measures.captions import score_captions
from xrj.modules.base import (
    DIAGNOSIS,
    Batch,
    Selection,
    StageModule,
    adam,
    averaged,
    description,
    diagnosis_measures,
    halved,
    set_rate,
)
from xrj.nets.noise import NoiseEncoder
from xrj.nets.representation import Representation


class InverseModule(StageModule):
    """Learn I against the frozen encoder, decoder and stage I generator (eq. 1).

    Two epochs are kept: the one with the best validation accuracy of the diagnosis
    (`ours_label`) and the one with the best CIDEr of the captions (`ours_caption`), the label word
    left out. Measured and kept is the average of I over its steps.

    Args:
        inverse: I.
        encoder: E, frozen.
        decoder: D, frozen.
        generator: G1, frozen.
        familiarity: Fitted to the training X-rays; handed over beside I.
        representation: How r is put together.
        vocabulary: Of the data.
        rate: Learning rate.
        milestones: Epochs at which it is halved.
        label_weights: Weight of each label in L_diagnosis, or None.
        noise_encoder: Of stage I, frozen; it reads the noise off X-rays. Or None.
        image_weight: Weight of L_cycle_img, a mean over pixels; 1 in the paper.
        embedding_weight: Weight of L_cycle_emb; 1 in the paper, and 0, as all but L_diagnosis, for
            the label loss alone (figure 2).
        noise_weight: Weight of the error of the noise part, on generated images and, with a noise
            encoder, on real ones; 0 in the paper.
        caption_weight: Weight of the captions' negative log likelihood given I(x), next to
            L_diagnosis and with its log10 weight; 0 in the paper.
        caption_length: Tokens decoded for a caption.
        label_measure: "accuracy" (the paper), "balanced_accuracy" or "auroc", by which
            `ours_label` is kept, or "last": validation chooses by chance where it has a handful of
            patients of the rarer label.
        average: Decay a step of I's exponential average; 0, I itself, in the paper.
        references: Captions of each row of the data's table, as text.
    """

    frozen = ("encoder", "decoder", "generator", "noise_encoder")
    headline = "val/balanced_accuracy"

    def __init__(
        self,
        *,
        inverse: nn.Module,
        familiarity: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        generator: nn.Module,
        representation: Representation,
        vocabulary: Vocabulary,
        rate: float,
        milestones: list[int],
        label_weights: list[float] | None,
        noise_encoder: NoiseEncoder | None,
        image_weight: float,
        embedding_weight: float,
        noise_weight: float,
        caption_weight: float,
        caption_length: int,
        label_measure: str,
        average: float,
        references: Sequence[Sequence[str]],
    ) -> None:
        super().__init__()
        self.averaged, self.familiarity = averaged(inverse, average), familiarity
        self.inverse, self.encoder, self.decoder, self.generator = (
            inverse,
            encoder,
            decoder,
            generator,
        )
        self.representation, self.vocabulary = representation, vocabulary
        self.rate, self.milestones = rate, milestones
        self.noise_encoder, self.image_weight = noise_encoder, image_weight
        self.embedding_weight = embedding_weight
        self.noise_weight, self.caption_weight = noise_weight, caption_weight
        self.caption_length, self.references = caption_length, references
        self.selections = {
            "ours_label": Selection(None if label_measure == "last" else f"val/{label_measure}"),
            "ours_caption": Selection("val/cider"),
        }
        weights = None if label_weights is None else torch.tensor(label_weights)
        self.register_buffer("label_weights", weights, persistent=False)
        self.label_weights: Tensor | None
        self.register_buffer("label_ids", torch.tensor(vocabulary.label_ids), persistent=False)
        self.label_ids: Tensor
        self._seen: list[dict[str, Any]] = []

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        terms = {"loss", "diagnosis", "cycle_img", "cycle_emb"}
        terms |= {"noise"} if self.noise_weight else set()
        terms |= {"caption"} if self.caption_weight else set()
        val = ("diagnosis", "cycle_img", *DIAGNOSIS, "bleu4", "cider")
        return {"rate", *(f"train/{name}" for name in terms), *(f"val/{name}" for name in val)}

    def exports(self) -> dict[str, nn.Module]:
        """Return the averaged I, and what tells which X-rays it knows nothing of."""
        return {"inverse": self.averaged.module, "familiarity": self.familiarity}

    def configure_optimizers(self) -> Optimizer:
        """Adam with the paper's betas."""
        return adam(self.inverse.parameters(), self.rate)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of this epoch."""
        rate = halved(self.rate, self.current_epoch, self.milestones)
        set_rate(self.optimizer_list()[0], rate)
        self.log("rate", rate)

    def label_logits(self, r: Tensor) -> Tensor:
        """Return the decoder's logits of the label tokens, (B, L)."""
        decoder: Any = self.decoder
        first: Tensor = decoder.first_logits(self.representation.code(r))
        return first[:, self.label_ids]

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return L_I (eq. 1) for images (B, C, H, W), captions and labels."""
        image, tokens = batch["image"], batch["tokens"]
        with torch.no_grad():
            code = self.encoder(tokens)
            noise = self.representation.sample_noise(len(image), self.device)
            target = self.representation.join(code, noise)
            generated = self.generator(target)
        r, r_generated = self.inverse(torch.cat([image, generated])).chunk(2)

        embedding = self.representation.embedding
        supervised = losses.diagnosis_weight(self.current_epoch + 1)
        terms = {
            "diagnosis": losses.diagnosis_loss(
                self.label_logits(r), batch["label"], self.label_weights
            ),
            "cycle_img": losses.mean_square(self.generator(r), image),
            "cycle_emb": losses.mean_square(r_generated[:, :embedding], target[:, :embedding]),
        }
        loss = supervised * terms["diagnosis"] + self.image_weight * terms["cycle_img"]
        loss = loss + self.embedding_weight * terms["cycle_emb"]
        if self.noise_weight:
            terms["noise"] = losses.mean_square(r_generated[:, embedding:], noise)
            if self.noise_encoder is not None:
                with torch.no_grad():
                    mean, _ = self.noise_encoder(image)
                terms["noise"] = terms["noise"] + losses.mean_square(r[:, embedding:], mean)
            loss = loss + self.noise_weight * terms["noise"]
        if self.caption_weight:
            logits = self.decoder(self.representation.code(r), tokens)
            terms["caption"] = losses.caption_nll(logits, tokens)
            loss = loss + supervised * self.caption_weight * terms["caption"]
        self.log_dict(
            {"train/loss": loss, **{f"train/{name}": term for name, term in terms.items()}},
            on_step=False,
            on_epoch=True,
        )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Follow I with its average."""
        self.averaged.update_parameters(self.inverse)

    def _decode(self, r: Tensor) -> Tensor:
        decoder: Any = self.decoder
        tokens: Tensor = decoder.decode(
            self.representation.code(r), self.caption_length, self.label_ids
        )
        return tokens

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Diagnose, caption and reconstruct; the validation set is whole on every rank."""
        r = self.averaged(batch["image"])
        logits = self.label_logits(r)
        self.log("val/diagnosis", losses.diagnosis_loss(logits, batch["label"], None))
        self.log("val/cycle_img", losses.mean_square(self.generator(r), batch["image"]))
        self._seen.append(
            {
                "probabilities": logits.float().softmax(dim=1).cpu(),
                "label": batch["label"].cpu(),
                "captions": [
                    " ".join(self.vocabulary.decode(row)[1]) for row in self._decode(r).tolist()
                ],
                "references": [self.references[row] for row in batch["index"].tolist()],
            }
        )

    def on_validation_epoch_end(self) -> None:
        """Log the diagnosis and caption measures of the whole validation set."""
        scores = diagnosis_measures(
            np.concatenate([seen["probabilities"].numpy() for seen in self._seen]),
            np.concatenate([seen["label"].numpy() for seen in self._seen]),
            DIAGNOSIS,
        )
        captions = score_captions(
            [caption for seen in self._seen for caption in seen["captions"]],
            [list(several) for seen in self._seen for several in seen["references"]],
        )
        self._seen.clear()
        for name, value in scores.items():
            self.log(name, value, prog_bar=name == self.headline)
        self.log("val/bleu4", captions.bleu4)
        self.log("val/cider", captions.cider, prog_bar=True)

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return real X-rays above their reconstructions G(I(x))."""
        return {
            "real": batch["image"],
            "reconstruction": self.generator(self.averaged(batch["image"])),
        }

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return a real caption beside the decoded one."""
        decoded = self._decode(self.averaged(batch["image"]))
        return [
            {
                "real": description(self.vocabulary, real),
                "decoded": description(self.vocabulary, row),
            }
            for real, row in zip(batch["tokens"], decoded, strict=True)
        ]
