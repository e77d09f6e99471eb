"""What changes between pictures: distances, and how a heart differs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from xrj.datamodules.images import UInt8, to_tensor
from xrj.measures.ctr import Chest, measure_chest
from xrj.measures.images import structural_similarity
from xrj.measures.masks import Width

BORDER = 0.03
"""Width of the border around the heart, a share of the picture's side: about 1 cm."""
STAYS = 0.03
"""Change of the cardiothoracic ratio up to which a heart stays as it is."""
CTR_PIXELS = 64
"""Smallest picture in which the heart can be measured."""


@dataclass(frozen=True)
class Distance:
    """How far two pictures lie apart, grey values in [-1, 1].

    Attributes:
        l1: Mean absolute difference.
        l2: Mean square difference.
        ssim: Structural similarity (Wang et al. 2004) on grey values in [0, 1]; 1 for equal ones.
    """

    l1: float
    l2: float
    ssim: float


@dataclass(frozen=True)
class Ruler:
    """The two widths that were measured with confidence in a picture.

    Attributes:
        heart: Of the heart.
        thorax: Of the thorax.
    """

    heart: Width
    thorax: Width

    @classmethod
    def of(cls, chest: Chest) -> "Ruler | None":
        """Return a chest's widths; None where they are not certain."""
        if not (chest.confident and chest.heart_width and chest.thorax_width):
            return None
        return cls(chest.heart_width, chest.thorax_width)

    @property
    def ctr(self) -> float:
        """The cardiothoracic ratio."""
        return self.heart.length / self.thorax.length


@dataclass(frozen=True)
class CtrChange:
    """The cardiothoracic ratio in three pictures; None where it is not measured with confidence.

    Attributes:
        original: In the X-ray itself.
        reconstruction: In G(r).
        alternative: In G(r').
        direction: 1 where it should grow from G(r) to G(r'), -1 where it should shrink, 0 where it
            should stay, None where nothing is asked of it.
    """

    original: Ruler | None
    reconstruction: Ruler | None
    alternative: Ruler | None
    direction: int | None

    @property
    def confident(self) -> bool:
        """Whether it is measured in both generated pictures."""
        return self.change is not None

    @property
    def change(self) -> float | None:
        """Change from G(r) to G(r')."""
        if self.reconstruction is None or self.alternative is None:
            return None
        return self.alternative.ctr - self.reconstruction.ctr

    @property
    def gain(self) -> float | None:
        """The change in the direction that is asked for; None where none is asked or measured."""
        if self.change is None or not self.direction:
            return None
        return self.change * self.direction

    @property
    def towards(self) -> bool | None:
        """Whether it moves as the alternative diagnosis says; None where that cannot be said."""
        if self.direction == 0 and self.change is not None:
            return abs(self.change) <= STAYS
        return None if self.gain is None else self.gain > 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        rulers = {
            name: getattr(self, name) for name in ("original", "reconstruction", "alternative")
        }
        return {
            **{name: ruler and ruler.ctr for name, ruler in rulers.items()},
            "change": self.change,
            "confident": self.confident,
            "direction": self.direction,
            "towards": self.towards,
            "widths": {name: ruler and asdict(ruler) for name, ruler in rulers.items()},
        }


def distances(pictures: UInt8, others: UInt8) -> list[Distance]:
    """Return the distance between each two of (B, H, W); at least 6 pixels a side."""
    a, b = to_tensor(pictures), to_tensor(others)
    difference = (a - b).flatten(1)
    # The similarity's term of luminance is made for grey values from 0.
    similar = structural_similarity((a + 1) / 2, (b + 1) / 2)
    columns = (difference.abs().mean(dim=1), difference.square().mean(dim=1), similar)
    return [Distance(*row) for row in torch.stack(columns, dim=1).tolist()]


def unexplained_share(originals: UInt8, reconstructions: UInt8) -> NDArray[np.float64]:
    """Return mean square error over variance of each X-ray, (B,); 1 is as far off as plain grey."""
    a, b = (
        pictures.reshape(len(pictures), -1) / 255.0 for pictures in (originals, reconstructions)
    )
    share: NDArray[np.float64] = ((a - b) ** 2).mean(axis=1) / np.maximum(a.var(axis=1), 1e-6)
    return share


@dataclass(frozen=True)
class HeartChange:
    """How a heart changes from G(r) to G(r').

    Attributes:
        ctr: None where the pictures are too small to measure.
        share: Of the change, that lies inside the heart and its border; None where the heart is
            not found with confidence in both pictures or nothing changes.
        frontal: Whether the X-ray shows a frontal chest; None where it is too small to say.
    """

    ctr: CtrChange | None
    share: float | None
    frontal: bool | None = None


def weigh_hearts(
    originals: UInt8,
    reconstructions: UInt8,
    alternatives: UInt8,
    directions: Sequence[int | None],
) -> list[HeartChange]:
    """Measure how hearts change, and which share of all change lies there.

    A heart's region is that of both generated pictures together, widened by `BORDER`.

    Args:
        originals: The X-rays, (B, H, W).
        reconstructions: G(r), (B, H, W).
        alternatives: G(r'), (B, H, W).
        directions: For each as `CtrChange.direction`.
    """
    if min(originals.shape[1:]) < CTR_PIXELS:
        return [HeartChange(None, None) for _ in originals]
    chests = measure_chest([*originals, *reconstructions, *alternatives])
    count = len(originals)
    groups = (chests[:count], chests[count : 2 * count], chests[2 * count :])
    return [
        HeartChange(
            CtrChange(Ruler.of(original), Ruler.of(before), Ruler.of(after), direction),
            _share_inside(before, after, cv2.absdiff(*pictures)),
            original.frontal,
        )
        for original, before, after, direction, *pictures in zip(
            *groups, directions, reconstructions, alternatives, strict=True
        )
    ]


def _share_inside(before: Chest, after: Chest, change: UInt8) -> float | None:
    if not (before.confident and after.confident and change.any()):
        return None
    reach = round(BORDER * change.shape[1])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    region = cv2.dilate((before.region | after.region).astype(np.uint8), disc).astype(bool)
    return float(change[region].sum() / change.sum())
