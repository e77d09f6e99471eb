"""The noise that X-rays would be generated from: read off them, and brought to N(0, 1)."""

from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn

from xrj.nets.image import BASE, down, halvings, initialise_gan

DECAY = 0.99
"""A step, of the average that `NoiseMoments` keeps."""


class NoiseEncoder(nn.Module):
    """Mean and log variance of the noise that a small X-ray would be generated from.

    Args:
        noise: Width of the noise.
        width: Channels of the first layer.
        size: Side of the image.
        channels: Image channels.
    """

    def __init__(self, noise: int, width: int, size: int, channels: int) -> None:
        super().__init__()
        ladder = [channels] + [width << i for i in range(halvings(size))]
        self.layers = nn.Sequential(
            *(
                down(a, b, nn.LeakyReLU(0.2), norm=i > 0)
                for i, (a, b) in enumerate(pairwise(ladder))
            ),
            nn.Flatten(),
            nn.Linear(ladder[-1] * BASE * BASE, 2 * noise),
        )
        initialise_gan(self)
        self.register_buffer("centre", torch.zeros(noise))
        self.register_buffer("whitener", torch.eye(noise))
        self.centre: Tensor
        self.whitener: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, C, size, size) in [-1, 1] to means and log variances, (B, n) each."""
        mean, log_variance = self.layers(image).chunk(2, dim=1)
        return mean, log_variance

    def standardise(self, noise: Tensor) -> Tensor:
        """Return noise that was read, (B, n), as the exported G takes it.

        While both learn it is what was read.
        """
        return (noise - self.centre) @ self.whitener.T


class NoiseMoments(nn.Module):
    """Mean and covariance of the noise read off all X-rays, averaged over the steps of training.

    A divergence from N(0, 1) that leaves G enough to tell patients apart by leaves the noise of all
    X-rays together far from N(0, 1), and noise drawn from that prior is noise that G never met. A
    normal distribution fitted to what was read (Ghosh et al. 2020, section 4) is near to it, and
    an affine map makes N(0, 1) of that.

    Args:
        noise: Width n of the noise.
    """

    def __init__(self, noise: int) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(noise))
        self.register_buffer("square", torch.eye(noise))
        self.steps: Tensor
        self.mean: Tensor
        self.square: Tensor

    @torch.no_grad()
    def update(self, mean: Tensor, log_variance: Tensor) -> None:
        """Take in a batch of what `NoiseEncoder` read, (B, n) each."""
        weight = max(1 - DECAY, 9 / (10 + int(self.steps)))
        square = mean.T @ mean / len(mean) + torch.diag(log_variance.exp().mean(dim=0))
        self.mean.lerp_(mean.mean(dim=0), weight)
        self.square.lerp_(square, weight)
        self.steps += 1

    def factor(self) -> Tensor:
        """Return a lower triangle F, (n, n), with F F^T the covariance."""
        return torch.linalg.cholesky(self.square - torch.outer(self.mean, self.mean))

    def spread(self, noise: Tensor) -> Tensor:
        """Return noise from N(0, 1), (B, n), as if it were read."""
        return self.mean + noise @ self.factor().T

    def standardised(self, encoder: NoiseEncoder) -> NoiseEncoder:
        """Return a copy of an encoder by which what is read has mean 0 and covariance 1."""
        copy = deepcopy(encoder)
        identity = torch.eye(len(self.mean), device=self.mean.device)
        copy.centre = self.mean.clone()
        copy.whitener = torch.linalg.solve_triangular(self.factor(), identity, upper=False)
        return copy
