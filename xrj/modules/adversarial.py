"""What both stages of the text-to-image GAN share (section 3.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xrj import losses
from xrj.datamodules.vocabulary import Vocabulary
from xrj.measures.images import slices, slices_distance
from xrj.modules.base import (
    Batch,
    Selection,
    StageModule,
    adam,
    averaged,
    description,
    halved,
    set_rate,
    unique_parameters,
)
from xrj.nets.augment import augment
from xrj.nets.noise import NoiseEncoder
from xrj.nets.representation import Representation
from xrj.seeding import torch_generator

TAUGHT, GRAIN = 0.4, 0.05
"""What teachers see of generated pictures: strength of `augment`, and the deviation of noise."""


class AdversarialModule(StageModule):
    """One generator against one discriminator, conditioned on the embeddings of captions.

    With `anchor` noise is not drawn from the prior but read off real X-rays by the noise encoder,
    and G must give half of each batch back: a conditional VAE-GAN (Larsen et al. 2016, Bao et al.
    2017). The noise then holds the visual structure, as section 3.1 wants it, real X-rays have a
    representation that I can find, and G learns in far fewer steps.

    The kept epoch is the one whose averaged generator gives the validation X-rays back best,
    `val/anchor`, the mean square error. Without `anchor` it is the one of lowest `val/distance`,
    the mean over labels of the sliced Wasserstein distance between the real images and those
    generated from the captions of that label; on sets of tens of images that hardly tells sharp
    from blurred.

    Args:
        encoder: E, frozen.
        generator: G of this stage.
        discriminator: D of this stage.
        representation: How r is put together.
        vocabulary: Of the data.
        rate: Learning rate of both.
        milestones: Epochs at which it is halved.
        noise_encoder: Reads the noise off small X-rays; None without `anchor`.
        anchor: Weight of the mean square error of the X-rays given back; 0 in the paper.
        locality: With `anchor`, weight of what the caption of another X-ray changes in a picture of
            the same noise, `losses.change`; 0 in the paper.
        code_noise: Standard deviation of the noise on the right captions' codes, as the decoder has
            it in stage `arae`: G is smooth between them, where M goes; 0 in the paper.
        augment: Strength of the changes to the pictures that D sees, `nets.augment`; 0 in the
            paper.
        teachers: Classifiers of small X-rays, or None.
        teaching: With teachers, weight of their cross-entropy between what they see in generated
            pictures and the label of the caption; 0 in the paper.
        average: Decay a step of the generator's exponential average.
        condition_on_noise: Show D the noise part of r, too (the letter of appendix A).
        seed: Seed of the validation noise.
    """

    adversarial = True

    def __init__(
        self,
        *,
        encoder: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        representation: Representation,
        vocabulary: Vocabulary,
        rate: float,
        milestones: list[int],
        noise_encoder: NoiseEncoder | None,
        anchor: float,
        locality: float,
        code_noise: float,
        augment: float,
        teachers: nn.Module | None,
        teaching: float,
        average: float,
        condition_on_noise: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.headline = "val/distance" if noise_encoder is None else "val/anchor"
        self.selections = {"best": Selection(self.headline, "min")}
        self.encoder, self.generator, self.discriminator = encoder, generator, discriminator
        self.representation, self.vocabulary = representation, vocabulary
        self.rate, self.milestones = rate, milestones
        self.noise_encoder, self.anchor, self.locality = noise_encoder, anchor, locality
        self.code_noise = code_noise
        self.augment, self.teachers, self.teaching = augment, teachers, teaching
        self.condition_on_noise, self.seed = condition_on_noise, seed
        self.posterior: tuple[Tensor, Tensor] | None = None
        self.averaged = averaged(generator, average)
        self._real: list[list[Tensor]] = []
        self._fake: list[list[Tensor]] = []
        self._label: list[Tensor] = []

    def synthesise(self, generator: nn.Module, r: Tensor, batch: Batch) -> Tensor:
        """Generate this stage's images from r."""
        raise NotImplementedError

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the codes (B, v) of descriptions (B, T)."""
        with torch.no_grad():
            code: Tensor = self.encoder(tokens)
        return code

    def sample_noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw noise (count, n), like that of X-rays where it is read off them."""
        noise = self.representation.sample_noise(count, self.device, generator)
        return noise if self.noise_encoder is None else self.noise_encoder.spread(noise)

    def draw_noise(self, small: Tensor) -> Tensor:
        """Return the noise of a training batch.

        With a noise encoder the second half is read off the batch's small X-rays. The first half
        was read off the X-rays of the second, so that D also judges a patient under another
        patient's caption, which is what M will show.
        """
        noise = self.representation.sample_noise(len(small), self.device)
        if self.noise_encoder is None:
            return noise
        half = len(small) // 2
        mean, log_variance = self.posterior = self.noise_encoder(small[half:])
        read = mean + (0.5 * log_variance).exp() * noise[half:]
        return torch.cat([read[:half], read])

    def constraints(self, fake: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the named terms that the generator's loss has beside the adversarial one."""
        terms: dict[str, Tensor] = {}
        if self.teachers is not None:
            logits = self.teachers.eval()(self.roughened(fake))
            terms["teaching"] = self.teaching * losses.teaching_loss(logits, batch["label"])
        if self.noise_encoder is None:
            return terms
        image = batch["image"]
        half = len(image) // 2
        terms["anchor"] = self.anchor * losses.mean_square(fake[half:], image[half:])
        if self.locality:
            told_otherwise, same = fake[:half], fake[half : 2 * half]
            terms["locality"] = self.locality * losses.change(told_otherwise, same.detach())
        return terms

    def roughened(self, images: Tensor) -> Tensor:
        """Return pictures as teachers see them: what a small change undoes convinces nobody."""
        return augment(images, TAUGHT) + GRAIN * torch.randn_like(images)

    def generator_parameters(self) -> list[nn.Parameter]:
        """Return what the generator's optimiser moves."""
        return unique_parameters(self.generator)

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        train = {f"train/{name}" for name in ("loss_d", "loss_g", "d_real", "d_fake", "d_wrong")}
        distances = {f"val/distance_{name}" for name in self.vocabulary.labels}
        always = {"rate", "val/distance"} | train | distances
        if self.teachers is not None:
            always |= {"train/teaching"}
        if self.noise_encoder is None:
            return always
        anchored = {"train/anchor", "val/anchor"}
        return always | anchored | ({"train/locality"} if self.locality else set())

    def unmeasured(self) -> set[str]:
        """Return the distances of labels that are absent from validation."""
        return {f"val/distance_{name}" for name in self.absent}

    def exports(self) -> dict[str, nn.Module]:
        """Return the averaged generator."""
        return {"generator": self.averaged.module}

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the discriminator, then for the generator."""
        return [
            adam(self.discriminator.parameters(), self.rate),
            adam(self.generator_parameters(), self.rate),
        ]

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of this epoch."""
        rate = halved(self.rate, self.current_epoch, self.milestones)
        for optimizer in self.optimizer_list():
            set_rate(optimizer, rate)
        self.log("rate", rate)

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Run one step of D and one of G on images (B, C, H, W), captions and wrong captions."""
        image = batch["image"]
        code, wrong = self.embed(batch["tokens"]), self.embed(batch["wrong_tokens"])
        if self.code_noise:
            code = code + self.code_noise * torch.randn_like(code)
        noise = self.draw_noise(batch.get("small", image))
        r = self.representation.join(code, noise)
        right_condition = self._condition(code, noise)
        other = self.sample_noise(len(image)) if self.condition_on_noise else noise
        wrong_condition = self._condition(wrong, other)
        discriminator, generator = self.optimizer_list()[:2]
        judge: Any = self.discriminator

        fake = self.synthesise(self.generator, r, batch)
        with self.toggled_optimizer(discriminator):
            seen = judge.look(augment(image, self.augment))
            real_logit = judge.judge(seen, right_condition)
            fake_logit = judge(augment(fake.detach(), self.augment), right_condition)
            wrong_logit = judge.judge(seen, wrong_condition)
            loss_d = losses.discriminator_loss(real_logit, fake_logit, wrong_logit)
            self.descend(discriminator, loss_d, shared=code.requires_grad)
        with self.toggled_optimizer(generator):
            loss_g = losses.generator_loss(
                judge(augment(fake, self.augment), right_condition.detach())
            )
            terms = self.constraints(fake, batch)
            self.descend(generator, loss_g + sum(terms.values()))
        self.averaged.update_parameters(self.generator)
        self.log_dict(
            {
                "train/loss_d": loss_d,
                "train/loss_g": loss_g,
                "train/d_real": real_logit.sigmoid().mean(),
                "train/d_fake": fake_logit.sigmoid().mean(),
                "train/d_wrong": wrong_logit.sigmoid().mean(),
                **{f"train/{name}": term for name, term in terms.items()},
            },
            on_step=False,
            on_epoch=True,
        )

    def _condition(self, code: Tensor, noise: Tensor) -> Tensor:
        r = self.representation.join(code, noise.detach())
        return r if self.condition_on_noise else r[:, : self.representation.embedding]

    def imagine(self, batch: Batch, key: int) -> Tensor:
        """Generate with the averaged generator from a batch's captions and noise fixed by `key`."""
        generator = torch_generator(self.seed, "validation", key)
        noise = self.sample_noise(len(batch["tokens"]), generator)
        r = self.representation.join(self.embed(batch["tokens"]), noise)
        return self.synthesise(self.averaged.module.eval(), r, batch)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect slices of real and generated images, and give the real ones back."""
        if self.noise_encoder is not None:
            mean, _ = self.noise_encoder(batch.get("small", batch["image"]))
            r = self.representation.join(self.embed(batch["tokens"]), mean)
            back = self.synthesise(self.averaged.module.eval(), r, batch)
            self.log("val/anchor", losses.mean_square(back, batch["image"]), prog_bar=True)
        fake = self.imagine(batch, batch_index)
        for kept, images in ((self._real, batch["image"]), (self._fake, fake)):
            kept.append([scale.cpu() for scale in slices(images, seed=self.seed)])
        self._label.append(batch["label"].cpu())

    def on_validation_epoch_end(self) -> None:
        """Log the distance between real and generated images, over all and label by label."""
        real, fake = (
            [torch.cat(scale) for scale in zip(*kept, strict=True)]
            for kept in (self._real, self._fake)
        )
        label = torch.cat(self._label)
        distances = []
        for index, name in enumerate(self.vocabulary.labels):
            of_label = label == index
            if of_label.any():
                distance = slices_distance(*([x[of_label] for x in y] for y in (real, fake)))
                distances.append(distance)
                self.log(f"val/distance_{name}", distance)
        self.log("val/distance", sum(distances) / len(distances), prog_bar=True)
        for kept in (self._real, self._fake, self._label):
            kept.clear()

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return real X-rays above those generated from their captions."""
        return {"real": batch["image"], "generated": self.imagine(batch, 0)}

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return the captions that the pictures were generated from."""
        return [{"caption": description(self.vocabulary, row)} for row in batch["tokens"]]
