"""Generators and discriminators of the two-stage text-to-image GAN (section 3.2, appendix A).

Where the appendix's table cannot be built as printed, `docs/fidelity.md` names the reading taken.
`width` is the number of channels at the discriminators' first layer, 96 in the paper.
"""

from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj.nets.convolution import JoinConvolution, UpConvolution

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
        elif isinstance(layer, JoinConvolution):
            nn.init.normal_(layer.taps, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def _same(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _precisely(output: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the output layer's result in 32 bits, also within mixed precision.

    Losses look at differences between pictures that are finer than the steps of bfloat16.
    """
    if x.dtype == output.weight.dtype:
        return cast(Tensor, output(x))
    with torch.autocast(x.device.type, enabled=False):
        return cast(Tensor, output(x.to(output.weight.dtype)))


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        UpConvolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


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
            _same(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            _same(channels, channels), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, channels, h, w) to ones of the same shape."""
        return F.relu_(x + self.body(x))


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
            nn.ReLU(inplace=True),
        )
        self.body = nn.Sequential(*(_up(self.top >> i, self.top >> (i + 1)) for i in range(steps)))
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        initialise_gan(self)

    def forward(self, r: Tensor) -> Tensor:
        """Generate images (B, C, size, size) in [-1, 1] from r (B, v + n)."""
        x = self.start(r).unflatten(1, (self.top, BASE, BASE))
        return torch.tanh(_precisely(self.output, self.body(x)))


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
            nn.Sequential(nn.Conv2d(channels, w2, 3, padding=1), nn.ReLU(inplace=True))
            if finest
            else down(channels, w2, nn.ReLU(inplace=True), norm=False)
        )
        self.encode = nn.Sequential(
            first,
            down(w2, w4, nn.ReLU(inplace=True), norm=True),
            down(w4, w8, nn.ReLU(inplace=True), norm=True),
        )
        self.join = nn.Sequential(
            JoinConvolution(w8, representation, w8), nn.BatchNorm2d(w8), nn.ReLU(inplace=True)
        )
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
        joined = self.join[1:](self.join[0](self.encode(small), r))
        x = _precisely(self.output, self.body(self.residual(joined)))
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
            down(a, b, _leaky(), norm=i > 1) for i, (a, b) in enumerate(pairwise(ladder))
        ]
        top = ladder[-1]
        while top > w8:
            layers += [_same(top, top // 2), nn.BatchNorm2d(top // 2), _leaky()]
            top //= 2
        self.image = nn.Sequential(*layers)
        self.joint = nn.Sequential(
            JoinConvolution(top, condition, w8),
            nn.BatchNorm2d(w8),
            _leaky(),
            nn.Conv2d(w8, 1, BASE),
        )
        initialise_gan(self)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return a logit for each pair, (B,).

        Args:
            image: Images (B, C, size, size) in [-1, 1].
            condition: Conditions (B, c).
        """
        return self.judge(self.look(image), condition)

    def look(self, image: Tensor) -> Tensor:
        """Return what D sees in images, (B, 8 * width, 4, 4), which one image's pairs can share."""
        join: Any = self.joint[0]
        seen: Tensor = join.over(self.image(image))
        return seen

    def judge(self, seen: Tensor, condition: Tensor) -> Tensor:
        """Return the logits (B,) of pairs of what D has seen and a condition (B, c)."""
        join: Any = self.joint[0]
        logits: Tensor = self.joint[1:](join.beside(seen, condition))
        return logits.flatten()
