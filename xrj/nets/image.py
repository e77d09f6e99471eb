"""Generators and discriminators of the two-stage text-to-image GAN (section 3.2, appendix A).

Where the appendix's table cannot be built as printed, `docs/fidelity.md` names the reading taken.
`width` is the number of channels at the discriminators' first layer, 96 in the paper.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BASE = 4
"""Side of the coarsest feature map, in pixels."""


def halvings(size: int) -> int:
    """Return how often `size` halves down to 4 pixels.

    Raises:
        ValueError: `size` is not 4 times a power of two.
    """
    steps = (size // BASE).bit_length() - 1
    if size < 2 * BASE or BASE << steps != size:
        raise ValueError(f"image size {size} is not 4 times a power of two")
    return steps


def initialise_gan(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), batch-norm scales from N(1, 0.02); zero the biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | UpConvolution):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if isinstance(layer.bias, Tensor):
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def _same(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class UpConvolution(nn.Module):
    """Nearest-neighbour doubling and a 3x3 convolution in one transposed convolution.

    Doubling is a transposed convolution with a 2x2 kernel of ones; composed with the 3x3 kernel it
    is one with a 4x4 kernel and stride 2: the same function with 4 instead of 9 products for each
    output pixel and channel pair.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = None

    def kernel(self) -> Tensor:
        """Return the transposed convolution's kernel, (inputs, outputs, 4, 4)."""
        padded = F.pad(self.weight, (1, 1, 1, 1))
        rows = padded[:, :, 1:] + padded[:, :, :-1]
        return (rows[..., 1:] + rows[..., :-1]).transpose(0, 1).flip(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        return F.conv_transpose2d(x, self.kernel(), stride=2, padding=1)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(UpConvolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


def down(inputs: int, outputs: int, activation: nn.Module, *, norm: bool) -> nn.Sequential:
    """Halve the size: 4x4 convolution with stride 2."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=not norm)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, activation)


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to what they are given, then a ReLU.

    Args:
        channels: In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _same(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(),
            _same(channels, channels), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, channels, h, w) to ones of the same shape."""
        return F.relu(x + self.body(x))


class GeneratorStage1(nn.Module):
    """G of stage I: r to a small X-ray.

    Args:
        representation: Width of r.
        width: Channels before the output layer.
        size: Side of the image, 4 times a power of two.
        channels: Image channels.
    """

    def __init__(self, representation: int, width: int, size: int, channels: int) -> None:
        super().__init__()
        steps = halvings(size)
        self.top = width << steps
        self.start = nn.Sequential(
            nn.Linear(representation, self.top * BASE * BASE, bias=False),
            nn.BatchNorm1d(self.top * BASE * BASE),
            nn.ReLU(),
        )
        self.body = nn.Sequential(*(_up(self.top >> i, self.top >> (i + 1)) for i in range(steps)))
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        initialise_gan(self)

    def forward(self, r: Tensor) -> Tensor:
        """Generate images (B, C, size, size) in [-1, 1] from r (B, v + n)."""
        x = self.start(r).unflatten(1, (self.top, BASE, BASE))
        return torch.tanh(self.output(self.body(x)))


class GeneratorStage2(nn.Module):
    """G of stage II: r and the small X-ray to the large one.

    Args:
        representation: Width of r.
        width: Half the channels of the encoder's first layer.
        small: Side of the input image.
        size: Side of the output image.
        channels: Image channels.
        reading: "paper" halves three times and follows the table's channels to the output;
            "stackgan" halves twice, which keeps a finer bottleneck.
        skip: Add the up-sampled small image before the output's tanh, so that the large image
            refines the small one instead of redrawing it.
    """

    def __init__(
        self,
        representation: int,
        width: int,
        small: int,
        size: int,
        channels: int,
        reading: Literal["paper", "stackgan"],
        skip: bool,
    ) -> None:
        super().__init__()
        self.skip = skip
        w2, w4, w8 = 2 * width, 4 * width, 8 * width
        finest = reading == "stackgan"
        first = (
            nn.Sequential(nn.Conv2d(channels, w2, 3, padding=1), nn.ReLU())
            if finest
            else down(channels, w2, nn.ReLU(), norm=False)
        )
        self.encode = nn.Sequential(
            first, down(w2, w4, nn.ReLU(), norm=True), down(w4, w8, nn.ReLU(), norm=True)
        )
        self.join = nn.Sequential(_same(w8 + representation, w8), nn.BatchNorm2d(w8), nn.ReLU())
        self.residual = nn.Sequential(Residual(w8), Residual(w8))
        steps = halvings(size) - halvings(small) + (2 if finest else 3)
        ladder = [max(w8 >> i, 1) for i in range(steps + 1)]
        self.body = nn.Sequential(*(_up(a, b) for a, b in pairwise(ladder)))
        self.output = nn.Conv2d(ladder[-1], channels, 3, padding=1)
        initialise_gan(self)

    def forward(self, r: Tensor, small: Tensor) -> Tensor:
        """Generate images (B, C, size, size) in [-1, 1].

        Args:
            r: Representations (B, v + n).
            small: Images of stage I, (B, C, s, s) in [-1, 1].
        """
        features = self.encode(small)
        spread = r[:, :, None, None].expand(-1, -1, *features.shape[2:])
        x = self.output(self.body(self.residual(self.join(torch.cat([features, spread], dim=1)))))
        if self.skip:
            raised = F.interpolate(small, size=x.shape[2:], mode="bicubic", align_corners=False)
            x = x + torch.atanh(raised.clamp(-0.99, 0.99))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """D of either stage: is this image real, and does it go with this condition?

    Args:
        condition: Width of what it is conditioned on: the embedding, or all of r to the letter of
            the appendix.
        width: Channels of the first layer.
        size: Side of the image.
        channels: Image channels.
        lean: Leave out the widest layer of the large discriminator (52 M instead of 162 M
            parameters at width 96); no effect at 64 pixels.
    """

    def __init__(self, condition: int, width: int, size: int, channels: int, lean: bool) -> None:
        super().__init__()
        w8 = 8 * width
        ladder = [channels] + [width << i for i in range(halvings(size))]
        if lean and ladder[-1] > w8:
            ladder[-1] = w8
        layers: list[nn.Module] = [
            down(a, b, nn.LeakyReLU(0.2), norm=i > 1) for i, (a, b) in enumerate(pairwise(ladder))
        ]
        top = ladder[-1]
        while top > w8:
            layers += [_same(top, top // 2), nn.BatchNorm2d(top // 2), nn.LeakyReLU(0.2)]
            top //= 2
        self.image = nn.Sequential(*layers)
        self.joint = nn.Sequential(
            _same(top + condition, w8),
            nn.BatchNorm2d(w8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(w8, 1, BASE),
        )
        initialise_gan(self)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return a logit for each pair, (B,).

        Args:
            image: Images (B, C, size, size) in [-1, 1].
            condition: Conditions (B, c).
        """
        return self.judge(self.image(image), condition)

    def judge(self, features: Tensor, condition: Tensor) -> Tensor:
        """Return the logits (B,) from image features, which one image's pairs can share."""
        spread = condition[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.joint(torch.cat([features, spread], dim=1)).flatten()
