"""Classifiers that tell a generator which diagnosis its pictures show."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from xrj.nets.image import BASE, down, halvings
from xrj.nets.zoo import Classifier, resized


class Teachers(nn.Module):
    """Two classifiers of different kind: a ResNet-18 and a ladder of plain convolutions.

    A single one would teach G to draw what convinces its kind (adversarial examples) instead of
    what a diagnosis looks like.

    Args:
        labels: Number of labels L.
        width: Channels of the first layers.
        size: Side of the images that they see; others are brought to it.
        channels: Image channels.
    """

    def __init__(self, labels: int, width: int, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        ladder = [channels] + [width << i for i in range(halvings(size))]
        plain = nn.Sequential(
            *(
                down(a, b, nn.LeakyReLU(0.2), norm=i > 0)
                for i, (a, b) in enumerate(pairwise(ladder))
            ),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(ladder[-1] * BASE * BASE, labels),
        )
        self.nets = nn.ModuleList([Classifier("resnet18", labels, width, size), plain])

    def forward(self, image: Tensor) -> Tensor:
        """Return each one's logits (T, B, L) of images (B, C, H, W) in [-1, 1]; differentiable."""
        seen = resized(image, self.size)
        return torch.stack([net(seen) for net in self.nets])
