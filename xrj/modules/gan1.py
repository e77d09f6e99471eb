"""Stage `gan1`: the text-to-image GAN's first stage, small X-rays from r."""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from xrj import losses
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.images import to_tensor
from xrj.modules.adversarial import AdversarialModule
from xrj.modules.base import Batch, unique_parameters

PART = 256
"""X-rays that noise is read off at once."""

MOST = 4096
"""Training X-rays that noise is read off for its moments: a hundred dimensions need no more."""


class Gan1Module(AdversarialModule):
    """Learn G1 and D1 at the small resolution, and the noise encoder with `anchor`.

    Args:
        divergence: Weight of the divergence of the noise read off X-rays from N(0, 1), a pixel.
        leak: Weight of what the noise read off X-rays says of their label: G else draws a patient's
            old diagnosis under a caption of another; 0 in the paper.
        **adversarial: As `AdversarialModule`.
    """

    frozen: ClassVar[tuple[str, ...]] = ("encoder",)

    def __init__(self, *, divergence: float, leak: float, **adversarial: Any) -> None:
        super().__init__(**adversarial)
        self.divergence, self.leak = divergence, leak

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        measures = super().measures()
        if self.teachers is not None:
            measures |= {"train/teachers", "val/teachers"}
        if self.noise_encoder is not None:
            measures |= {"train/divergence", "train/leak"} if self.leak else {"train/divergence"}
        return measures

    def exports(self) -> dict[str, nn.Module]:
        """Return the averaged generator, and what the next stages need beside it."""
        nets = super().exports()
        if self.noise_encoder is not None:
            nets["noise_encoder"] = self.noise_encoder
        if self.teachers is not None:
            nets["teachers"] = self.teachers
        return nets

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for D and for G; with teachers AdamW, which classifiers learn with."""
        optimizers = super().configure_optimizers()
        if self.teachers is not None:
            optimizers.append(AdamW(self.teachers.parameters(), lr=self.rate))
        return optimizers

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Run one step of the teachers on real X-rays, then one of D and one of G."""
        if self.teachers is not None:
            teacher = self.optimizer_list()[2]
            with self.toggled_optimizer(teacher):
                logits = self.teachers.train()(self.roughened(batch["image"]))
                loss = losses.teaching_loss(logits, batch["label"])
                self.descend(teacher, loss)
            self.log("train/teachers", loss, on_step=False, on_epoch=True)
        super().training_step(batch, batch_index)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log also how often the teachers are right about real X-rays."""
        super().validation_step(batch, batch_index)
        if self.teachers is not None:
            right = self.teachers(batch["image"]).argmax(dim=2) == batch["label"]
            self.log("val/teachers", right.float().mean())

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Follow the noise of each label, over the batches of all ranks."""
        if self.noise_encoder is not None and self.posterior is not None:
            label = batch["label"]
            read = self.all_gather((self.posterior[0].detach(), label[len(label) // 2 :]))
            self.noise_encoder.follow(read[0].flatten(0, -2), read[1].flatten())

    def on_validation_start(self) -> None:
        """Fit what noise is drawn from to the training X-rays, cut as in validation."""
        super().on_validation_start()
        if self.noise_encoder is None:
            return
        data = cast(IUXRayDataModule, self.trainer.datamodule)  # type: ignore[attr-defined]  # Lightning sets it
        pictures, _ = data.evaluation_images("train", data.small, MOST)
        read = [
            self.noise_encoder(to_tensor(pictures[first : first + PART]).to(self.device))
            for first in range(0, len(pictures), PART)
        ]
        self.noise_encoder.fit(*(torch.cat(parts) for parts in zip(*read, strict=True)))

    def synthesise(self, generator: nn.Module, r: Tensor, batch: Batch) -> Tensor:
        """Generate small images (B, C, h, w) from r."""
        images: Tensor = generator(r)
        return images

    def generator_parameters(self) -> list[nn.Parameter]:
        """Return G's parameters and the noise encoder's."""
        nets = [self.generator, self.noise_encoder] if self.noise_encoder else [self.generator]
        return unique_parameters(*nets)

    def constraints(self, fake: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Hold generated images to those whose noise was read, and that noise to the prior."""
        terms = super().constraints(fake, batch)
        if self.noise_encoder is not None and self.posterior is not None:
            divergence = losses.divergence(*self.posterior) / fake[0].numel()
            terms["divergence"] = self.divergence * divergence
            if self.leak:
                label = batch["label"][len(fake) // 2 :]
                terms["leak"] = self.leak * self.noise_encoder.leak(self.posterior[0], label)
        return terms
