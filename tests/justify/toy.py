"""A model that is no net of this package: everything about it can be worked out by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xrj.datamodules.images import Frame, UInt8, resize, to_tensor
from xrj.justify.protocol import SaliencyMap

EMBEDDING, NOISE = 2, 3


def patterns(size: int) -> Tensor:
    """Return orthonormal pictures (v + n, size * size), each a wave, so that none is saturated."""
    place = (torch.arange(size) + 0.5) / size * torch.pi
    waves = [torch.outer((a * place).cos(), (b * place).cos()) for a, b in WAVES]
    return F.normalize(torch.stack(waves).flatten(1), dim=1)


WAVES = ((0, 1), (1, 0), (1, 1), (2, 0), (0, 2))


@dataclass(frozen=True)
class Toy:
    """Pictures are sums of waves; the first two decide which of three sectors is the diagnosis."""

    sizes: tuple[int, int] = (16, 64)
    labels: tuple[str, ...] = ("left", "right", "upper")
    judge: Callable[[Tensor], Tensor] | None = None
    identity: Mapping[str, Any] = field(default_factory=lambda: {"name": "toy"})

    def view(self, picture: UInt8, size: int) -> UInt8:
        return resize(picture, size)

    def frame(self, shape: tuple[int, int]) -> Frame:
        return Frame(0, 0, *shape)

    def to_images(self, pictures: UInt8) -> Tensor:
        return to_tensor(pictures)

    def encode(self, images: Tensor) -> Tensor:
        return 4 / self.sizes[0] * images.flatten(1) @ patterns(self.sizes[0]).T

    def split(self, r: Tensor) -> tuple[Tensor, Tensor]:
        return r[:, :EMBEDDING], r[:, EMBEDDING:]

    def label_logits(self, r: Tensor) -> Tensor:
        angles = torch.tensor([7 / 6, 11 / 6, 1 / 2]) * torch.pi
        return 20 * r[:, :EMBEDDING] @ torch.stack([angles.cos(), angles.sin()])

    def unlike(self, images: Tensor) -> Sequence[str | None]:
        return [None] * len(images)

    def captions(self, r: Tensor) -> list[tuple[str, list[str]]]:
        chosen = self.label_logits(r).argmax(dim=1).tolist()
        return [(self.labels[label], ["towards", self.labels[label]]) for label in chosen]

    def generate(self, r: Tensor) -> Tensor:
        size = self.sizes[0]
        return (size / 4 * r @ patterns(size)).unflatten(1, (1, size, size))

    def draw(self, r: Tensor) -> tuple[Tensor, Tensor]:
        small = self.generate(r)
        return small, F.interpolate(small, self.sizes[1:] * 2, mode="bilinear")

    def classify(self, images: Tensor) -> Tensor | None:
        return None if self.judge is None else self.judge(images)

    def saliency(self, images: Tensor, targets: Sequence[str]) -> list[tuple[SaliencyMap, ...]]:
        return [()] * len(images)


def picture(*r: float, size: int = 64) -> UInt8:
    """Return the X-ray of a representation, 0 to 255."""
    image = Toy().draw(torch.tensor([r]))[1][0, 0]
    return resize(np.rint((image.numpy() + 1) * 127.5).astype(np.uint8), size)
