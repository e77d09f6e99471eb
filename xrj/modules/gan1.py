"""Stage `gan1`: the text-to-image GAN's first stage, small X-rays from r."""

from typing import Any

import torch
from torch import Tensor, nn

from xrj import losses
from xrj.modules.adversarial import AdversarialModule
from xrj.modules.base import Batch, unique_parameters


class Gan1Module(AdversarialModule):
    """Learn G1 and D1 at the small resolution.

    With `anchor` the noise of half of each batch is not drawn from the prior but read off the real
    X-ray by a noise encoder, and G must give that X-ray back: a conditional VAE-GAN (Larsen et al.
    2016, Bao et al. 2017). The noise then holds the visual structure, as section 3.1 wants it, real
    X-rays have a representation that I can find, and G learns in far fewer steps.

    Args:
        noise_encoder: X-ray to mean and log variance of its noise, or None without `anchor`.
        anchor: Weight of the mean square error of the X-rays given back; 0 in the paper.
        divergence: Weight of the divergence of the read noise from N(0, 1), a pixel.
        **adversarial: As `AdversarialModule`.
    """

    frozen = ("encoder",)

    def __init__(
        self,
        *,
        noise_encoder: nn.Module | None,
        anchor: float,
        divergence: float,
        **adversarial: Any,
    ) -> None:
        super().__init__(**adversarial)
        self.noise_encoder = noise_encoder
        self.anchor, self.divergence = anchor, divergence
        self._read: tuple[Tensor, Tensor] | None = None

    def synthesise(self, generator: nn.Module, r: Tensor, batch: Batch) -> Tensor:
        """Generate small images (B, C, h, w) from r."""
        images: Tensor = generator(r)
        return images

    def generator_parameters(self) -> list[nn.Parameter]:
        """Return G's parameters and the noise encoder's."""
        nets = [self.generator, self.noise_encoder] if self.noise_encoder else [self.generator]
        return unique_parameters(*nets)

    def draw_noise(self, image: Tensor) -> Tensor:
        """Draw noise; with `anchor`, read that of the second half of the batch off its images."""
        noise = super().draw_noise(image)
        if self.noise_encoder is None:
            return noise
        half = len(image) // 2
        mean, log_variance = self.noise_encoder(image[half:]).chunk(2, dim=1)
        self._read = mean, log_variance
        return torch.cat([noise[:half], mean + (0.5 * log_variance).exp() * noise[half:]])

    def constraint(self, fake: Tensor, image: Tensor) -> dict[str, Tensor]:
        """Hold the generated images to those whose noise was read."""
        if self._read is None:
            return {}
        half, (mean, log_variance) = len(image) // 2, self._read
        divergence = losses.divergence(mean, log_variance) / image[0].numel()
        return {
            "anchor": self.anchor * losses.mean_square(fake[half:], image[half:]),
            "divergence": self.divergence * divergence,
        }
