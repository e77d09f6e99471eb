"""The net that finds heart and lungs in a frontal X-ray: a U-Net (Ronneberger et al. 2015)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PARTS = ("heart", "lungs")
"""What the channels of the output are."""


class Segmenter(nn.Module):
    """A U-Net from a grey X-ray to the shares of its pixels that heart and lungs fill.

    Each picture is standardised first, so that brightness and contrast do not matter.

    Args:
        width: Channels at full size; they double with each of the four halvings.
        resolution: Pixels a side that it is trained at and expects, a multiple of 16.
    """

    def __init__(self, width: int, resolution: int) -> None:
        super().__init__()
        self.resolution: Tensor
        self.register_buffer("resolution", torch.tensor(resolution))  # weights tell their size
        ladder = [width << level for level in range(5)]
        self.down = nn.ModuleList(_double(a, b) for a, b in pairwise([1, *ladder]))
        self.up = nn.ModuleList(
            _double(deep + shallow, shallow) for shallow, deep in pairwise(ladder)
        )
        self.head = nn.Conv2d(width, len(PARTS), 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs

    @property
    def size(self) -> int:
        """Pixels a side that it expects."""
        return int(self.resolution)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, 2, R, R), in the order of `PARTS`, of images (B, 1, R, R)."""
        mean = image.mean(dim=(2, 3), keepdim=True)
        x = (image - mean) / (image.std(dim=(2, 3), keepdim=True) + 1e-3)
        x = x.contiguous(memory_format=torch.channels_last)
        passed = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            passed.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[level](torch.cat([x, passed[level]], dim=1))
        return self.head(x).float()


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
    return nn.Sequential(*layers)
