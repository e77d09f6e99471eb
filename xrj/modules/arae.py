"""Stage `arae`: the adversarially regularised text autoencoder (section 3.1)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xrj import losses
from xrj.datamodules.vocabulary import OOV, Vocabulary
from xrj.modules.base import (
    Batch,
    Selection,
    StageModule,
    adam,
    annealed,
    description,
    set_rate,
    unique_parameters,
)
from xrj.seeding import torch_generator


class AraeModule(StageModule):
    """Learn a smooth space of descriptions.

    Per batch, after Zhao et al. 2018: a reconstruction step of E and D with noise on the code;
    `critic_steps` steps of the critic; one step of the encoder against the critic; one step of the
    generator.

    Args:
        encoder: E.
        decoder: D.
        generator: Latent generator: noise to codes.
        critic: Latent critic.
        vocabulary: Of the data.
        rate: Learning rate of E and D.
        adversarial_rate: Learning rate of generator and critic.
        against_rate: Learning rate of the encoder against the critic.
        cosine: Anneal all rates to zero along a cosine over the epochs.
        noise: Standard deviation of the noise on the code.
        noise_decay: Factor on `noise` for every 100 batches seen.
        critic_steps: Critic steps a batch.
        penalty: Weight of the gradient penalty.
        clip: Bound on the gradient norm of E and D.
        word_dropout: Share of the decoder's input words replaced by out-of-vocabulary.
        substitution: Share of the words that are exchanged for others of the batch, in every other
            description that E and D reconstruct: they learn to copy rather than to recall.
        latent_noise: Width of the latent generator's noise.
        seed: Seed of the validation noise.
    """

    headline = "val/token_accuracy"
    adversarial = True

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        generator: nn.Module,
        critic: nn.Module,
        vocabulary: Vocabulary,
        rate: float,
        adversarial_rate: float,
        against_rate: float,
        cosine: bool,
        noise: float,
        noise_decay: float,
        critic_steps: int,
        penalty: float,
        clip: float,
        word_dropout: float,
        substitution: float,
        latent_noise: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.selections = {"best": Selection("val/nll", "min")}
        self.encoder, self.decoder = encoder, decoder
        self.generator, self.critic = generator, critic
        self.vocabulary = vocabulary
        self.rates = (rate, adversarial_rate, against_rate, adversarial_rate)
        self.cosine = cosine
        self.noise, self.noise_decay = noise, noise_decay
        self.critic_steps, self.penalty = critic_steps, penalty
        self.clip, self.word_dropout, self.substitution = clip, word_dropout, substitution
        self.latent_noise, self.seed = latent_noise, seed
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.batches: Tensor

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        train = {"train/nll", "train/wasserstein", "train/penalty", "train/loss_g"}
        return train | {"rate", "val/nll", "val/token_accuracy", "val/label_accuracy", "val/exact"}

    def exports(self) -> dict[str, nn.Module]:
        """Return E and D, and the latent generator that samples new descriptions."""
        return {"encoder": self.encoder, "decoder": self.decoder, "generator": self.generator}

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the autoencoder, the critic, the encoder against the critic, the generator."""
        players = (
            unique_parameters(self.encoder, self.decoder),
            self.critic.parameters(),
            self.encoder.parameters(),
            self.generator.parameters(),
        )
        return [adam(*player) for player in zip(players, self.rates, strict=True)]

    def on_train_epoch_start(self) -> None:
        """Set the learning rates of this epoch."""
        epochs = self.trainer.max_epochs or 1
        factor = annealed(self.current_epoch, epochs) if self.cosine else 1.0
        for optimizer, rate in zip(self.optimizer_list(), self.rates, strict=True):
            set_rate(optimizer, rate * factor)
        self.log("rate", self.rates[0] * factor)

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Run one round of all four players on tokens (B, T)."""
        tokens = batch["tokens"]
        autoencoder, critic, against, generator = self.optimizer_list()
        log: dict[str, Any] = {}

        with self.toggled_optimizer(autoencoder):
            text = self._substitute_words(tokens)
            code = self.encoder(text)
            sigma = self.noise * self.noise_decay ** (float(self.batches) / 100)
            logits = self.decoder(code + sigma * torch.randn_like(code), self._drop_words(text))
            log["train/nll"] = losses.caption_nll(logits, text)
            self.descend(autoencoder, log["train/nll"], self.clip)

        code = self.encoder(tokens)  # of E as it is until it moves against the critic
        real = code.detach()
        with self.toggled_optimizer(critic):
            for _ in range(self.critic_steps):
                with torch.no_grad():
                    fake = self._imagine(len(real))
                mix = torch.rand(len(real), device=self.device)
                scores = self.critic(torch.cat([real, fake])).chunk(2)
                wasserstein = losses.critic_loss(*scores)
                penalty = losses.gradient_penalty(self.critic, real, fake, mix)
                self.descend(critic, wasserstein + self.penalty * penalty)
        log["train/wasserstein"] = -wasserstein
        log["train/penalty"] = penalty

        with self.toggled_optimizer(against):
            score = self.critic(code).mean()
            self.descend(against, score, self.clip)
        with self.toggled_optimizer(generator):
            log["train/loss_g"] = -self.critic(self._imagine(len(real))).mean()
            self.descend(generator, log["train/loss_g"])
        self.batches += 1
        self.log_dict(log, on_step=False, on_epoch=True)

    def _substitute_words(self, tokens: Tensor) -> Tensor:
        is_word = self._are_words(tokens)
        words = tokens[is_word]
        if self.substitution == 0 or not len(words):
            return tokens
        others = words[torch.randint(len(words), tokens.shape, device=self.device)]
        chosen = torch.rand(tokens.shape, device=self.device) < self.substitution
        chosen[::2] = False
        return torch.where(chosen & is_word, others, tokens)

    def _drop_words(self, tokens: Tensor) -> Tensor:
        if self.word_dropout == 0:
            return tokens
        drop = torch.rand(tokens.shape, device=self.device) < self.word_dropout
        return tokens.masked_fill(drop & self._are_words(tokens), OOV)

    def _are_words(self, tokens: Tensor) -> Tensor:
        return tokens > self.vocabulary.label_ids[-1]

    def _imagine(self, count: int) -> Tensor:
        codes: Tensor = self.generator(torch.randn(count, self.latent_noise, device=self.device))
        return codes

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Measure the reconstruction without noise on the code.

        Logs the teacher-forced negative log likelihood a token, and of the free-running greedy
        decoding: the share of tokens (label, words, EOS) that are right in their place, of
        labels, and of whole descriptions.
        """
        tokens = batch["tokens"]
        code = self.encoder(tokens)
        known = tokens != 0
        count = int(known.sum())
        nll = losses.caption_nll(self.decoder(code, tokens), tokens)
        right = self.decoder.decode(code, tokens.shape[1]) == tokens  # type: ignore[operator]  # a TextDecoder
        log: Callable[..., None] = self.log
        log("val/nll", nll, batch_size=count)
        log("val/token_accuracy", (right & known).sum() / count, batch_size=count, prog_bar=True)
        log("val/label_accuracy", right[:, 0].float().mean(), batch_size=len(tokens))
        log("val/exact", (right | ~known).all(dim=1).float().mean(), batch_size=len(tokens))

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return originals with their reconstructions, and descriptions imagined from noise."""
        tokens = batch["tokens"]
        noise = torch.randn(
            len(tokens), self.latent_noise, generator=torch_generator(self.seed, "imagine")
        )
        decode: Callable[..., Tensor] = self.decoder.decode  # type: ignore[assignment]
        imagined = nn.functional.normalize(self.generator(noise.to(self.device)), dim=1)
        columns = {
            "original": tokens,
            "reconstruction": decode(self.encoder(tokens), tokens.shape[1]),
            "imagined": decode(imagined, tokens.shape[1]),
        }
        return [
            {name: description(self.vocabulary, ids[row]) for name, ids in columns.items()}
            for row in range(len(tokens))
        ]
