"""Whether masks of heart and lungs are those of a frontal chest X-ray.

A net that knows hearts and lungs finds something like them in many a picture. In a frontal chest
X-ray one bright heart lies between two dark lungs, low in them, whole and as large as a chest can
have it. The limits lie beyond nearly all of the frontal X-rays of three sources, sick ones too, so
what they refuse is something else; `Chest.confident` asks for far more.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xrj.datamodules.decoding import UInt8
from xrj.measures.masks import INSIDE, Plane, dice

HEART, LUNGS = (0.03, 0.28), (0.06, 0.55)
"""Shares of the picture that the heart and both lungs can fill."""
OTHER_LUNG = 0.1
"""Least area of the smaller lung, of the larger one's."""
EITHER_SIDE = 0.15
"""Least share of all lung on either side of the heart."""
ACROSS, DOWN = (0.36, 0.76), (0.5, 0.92)
"""Where the heart's middle lies between the lungs' ends, from the left and from above."""
HEART_TOP = 0.6
"""Lowest place of the heart's upper end in the height of the lungs, from above."""
DARKER = 0.4
"""Least difference of heart and lungs in brightness, in standard deviations of the picture."""
CUT_ABOVE, CUT_BELOW, CUT_BESIDE, HEART_CUT = 0.4, 0.12, 0.5, 0.35
"""Largest share of the picture's edges, above, below, left or right, along which it cuts lungs;
and of the lower one along which it cuts the heart."""
STRAY = 0.3
"""Largest share of what is read as heart, or as lung, outside of one heart and two lungs."""
SPREAD, OVERLAP = 0.15, 0.78
"""Largest deviation of the cardiothoracic ratio between readings, least overlap (Dice) of each."""


def is_frontal(
    seen: UInt8,
    readings: Plane,
    masks: tuple[Plane, Plane],
    areas: tuple[Sequence[int], Sequence[int]],
    spread: float,
) -> bool:
    """Return whether a picture shows one heart between two lungs as a frontal chest X-ray does.

    Args:
        seen: The picture as the net saw it, (R, R).
        readings: Of the net, (readings, 2, R, R): heart and lungs.
        masks: Heart and lungs as `components` leaves them, (R, R) each; neither is empty.
        areas: Of all components of each, as `components` gives them.
        spread: Largest deviation of the ratio between the readings.
    """
    heart, lungs = (mask > INSIDE for mask in masks)
    (left, right), (top, bottom) = (_ends(lungs, axis) for axis in (0, 1))
    across, down = (
        (np.mean(_ends(heart, axis)) - first) / (last - first)
        for axis, (first, last) in ((0, (left, right)), (1, (top, bottom)))
    )
    highest = (_ends(heart, 1)[0] - top) / (bottom - top)
    beside, middle = lungs.sum(axis=0), int(np.mean(_ends(heart, 0)))
    either = [part.sum() / beside.sum() for part in (beside[:middle], beside[middle:])]
    stray = [1 - sum(one[:kept]) / sum(one) for one, kept in zip(areas, (1, 2), strict=True)]
    edges = lungs[1], lungs[-2], lungs[:, 1], lungs[:, -2]
    above, below, *sides = (float(edge.mean()) for edge in edges)
    mean = readings.mean(axis=0)
    overlaps = [dice(one[part], mean[part]) for one in readings for part in (0, 1)]
    contrast = (float(seen[heart].mean()) - float(seen[lungs].mean())) / max(float(seen.std()), 1.0)
    return bool(
        HEART[0] < heart.mean() < HEART[1]
        and LUNGS[0] < lungs.mean() < LUNGS[1]
        and len(areas[1]) > 1
        and areas[1][1] > OTHER_LUNG * areas[1][0]
        and min(either) > EITHER_SIDE
        and ACROSS[0] < across < ACROSS[1]
        and DOWN[0] < down < DOWN[1]
        and highest < HEART_TOP
        and contrast > DARKER
        and above < CUT_ABOVE
        and below < CUT_BELOW
        and max(sides) < CUT_BESIDE
        and heart[-2].mean() < HEART_CUT
        and max(stray) < STRAY
        and spread < SPREAD
        and min(overlaps) > OVERLAP
    )


def _ends(mask: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """Return the first column (axis 0) or row (axis 1) with any of a mask, and the one after."""
    inside = np.flatnonzero(mask.any(axis=axis))
    return int(inside[0]), int(inside[-1]) + 1
