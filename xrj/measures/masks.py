"""What masks of heart and lungs say: components, widths, overlap. Masks are shares in [0, 1]."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]  # float32 (H, W)

INSIDE = 0.5
"""Share from which on a pixel counts as inside."""


@dataclass(frozen=True)
class Width:
    """The widest extent of a mask, as shares of the picture.

    Attributes:
        left: Left end, a share of the picture's width.
        right: Right end.
        row: Mean of the two ends' rows, a share of its height.
    """

    left: float
    right: float
    row: float

    @property
    def length(self) -> float:
        """From end to end, a share of the picture's width."""
        return self.right - self.left


def components(mask: Plane, count: int) -> tuple[Plane, list[int]]:
    """Keep the largest connected components of a mask.

    Args:
        mask: (H, W).
        count: How many to keep.

    Returns:
        The mask, 0 outside of these components and of the half-filled pixels around them; and the
        areas of all components in pixels, the largest first.
    """
    number, labels, table, _ = cv2.connectedComponentsWithStats(
        (mask > INSIDE).astype(np.uint8), connectivity=4
    )
    areas = table[1:number, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    kept = np.isin(labels, 1 + order[:count]).astype(np.uint8)
    near = cv2.dilate(kept, np.ones((3, 3), np.uint8)) > 0
    others = (labels > 0) & (kept == 0)
    return np.where(near & ~others, mask, 0).astype(np.float32), areas[order].tolist()


def width_of(mask: Plane) -> Width | None:
    """Return the widest extent of a mask; None where nothing is inside.

    The ends lie where the largest share of a column crosses `INSIDE`, between two pixels.
    """
    height, width = mask.shape
    profile = np.pad(mask.max(axis=0), 1)
    inside = np.flatnonzero(profile > INSIDE)
    if not len(inside):
        return None
    first, last = int(inside[0]), int(inside[-1])
    rows = [int(mask[:, column - 1].argmax()) for column in (first, last)]
    return Width(
        left=(first - 0.5 - _beyond(profile[first], profile[first - 1])) / width,
        right=(last - 0.5 + _beyond(profile[last], profile[last + 1])) / width,
        row=(sum(rows) / 2 + 0.5) / height,
    )


def _beyond(inside: float, outside: float) -> float:
    """How far beyond the middle of the last pixel inside the mask ends, in pixels."""
    return float((inside - INSIDE) / (inside - outside))


def dice(mask: Plane, other: Plane) -> float:
    """Return the overlap of two masks (Dice 1945): 1 for equal ones, 0 where they do not touch."""
    a, b = mask > INSIDE, other > INSIDE
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))
