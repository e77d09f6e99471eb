"""The noise that X-rays would be generated from: read off them, or drawn like it."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from xrj.nets.image import BASE, down, halvings, initialise_gan

DECAY = 0.99
"""Decay a step of the means that `NoiseEncoder.follow` keeps."""


class NoiseEncoder(nn.Module):
    """Mean and log variance of the noise that a small X-ray would be generated from.

    A divergence from N(0, 1) that leaves G enough to tell patients apart by leaves the noise of all
    X-rays together far from N(0, 1), and noise drawn from that prior is noise that G never met. So
    a normal distribution is fitted to what is read off the training X-rays (Ghosh et al. 2020,
    section 4) and drawn from.

    Args:
        noise: Width n of the noise.
        width: Channels of the first layer.
        size: Side of the image.
        channels: Image channels.
        labels: Number of labels L.
    """

    def __init__(self, noise: int, width: int, size: int, channels: int, labels: int) -> None:
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
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(noise))
        self.register_buffer("covariance", torch.eye(noise))
        self.register_buffer("label_means", torch.zeros(labels, noise))
        self.steps: Tensor
        self.mean: Tensor
        self.covariance: Tensor
        self.label_means: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, C, size, size) in [-1, 1] to means and log variances, (B, n) each."""
        mean, log_variance = self.layers(image).to(self.mean).chunk(2, dim=1)
        return mean, log_variance

    @torch.no_grad()
    def fit(self, mean: Tensor, log_variance: Tensor) -> None:
        """Take the moments of all noise from what was read off many X-rays, (N, n) each."""
        within = log_variance.float().exp().mean(dim=0).diag()
        self.mean.copy_(mean.float().mean(dim=0))
        self.covariance.copy_(torch.cov(mean.float().T, correction=0) + within)

    @torch.no_grad()
    def follow(self, mean: Tensor, label: Tensor) -> None:
        """Take a batch of what was read into the means of the labels' noise.

        Args:
            mean: That was read, (B, n).
            label: Of the X-rays, (B,).
        """
        weight = max(1 - DECAY, 9 / (10 + int(self.steps)))
        for one in label.unique():
            centre = mean[label == one].mean(dim=0)
            self.label_means[one].lerp_(centre.to(self.label_means), weight)
        self.steps += 1

    def leak(self, mean: Tensor, label: Tensor) -> Tensor:
        """Return how far the noise of each label has its mean from that of all, a mean square.

        Its gradient goes along that of the mean square of the labels' means about their own mean,
        which are followed over steps, since those of a batch would be mostly chance.

        Args:
            mean: That was read, (B, n).
            label: Of the X-rays, (B,).
        """
        apart = self.label_means - self.label_means.mean(dim=0)
        return (mean * apart[label]).mean()

    def spread(self, noise: Tensor) -> Tensor:
        """Return noise from N(0, 1), (B, n), as noise with the moments of what was read."""
        factor = torch.linalg.cholesky_ex(self.covariance.float()).L
        return self.mean + noise @ factor.to(noise).T
