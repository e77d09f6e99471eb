"""Where heart and lungs of the phantom lie, from the anatomy that draws the picture."""

import numpy as np
import numpy.typing as npt

from xrj.datamodules.images import resize
from xrj.datamodules.phantom_anatomy import Acquisition, Patient
from xrj.datamodules.phantom_physics import grid
from xrj.datamodules.phantom_render import (
    diaphragm,
    great_vessels,
    half_widths,
    heart_thickness,
    wall_profile,
)

FINE = 3
"""Samples a pixel and direction: a mask holds the share of each pixel that lies inside."""
VESSEL = 2.0
"""Thickness of the great vessels, cm, from which on they hide the lung."""


def frontal_masks(
    patient: Patient, acquisition: Acquisition, size: int
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the masks of heart and lungs in a frontal picture.

    The heart's reaches exactly from border to border, the lungs' to the inner wall of the thorax:
    its widths are those of `frontal_truth`. Fluid and other findings hide nothing of the lungs,
    heart, great vessels and diaphragm do.

    Returns:
        "heart" and "lungs", uint8 (size, size): 255 where a pixel lies inside, shares between.
    """
    x, y = grid(acquisition, size * FINE)
    left, right = half_widths(patient)
    half = np.where(x > 0, np.float32(left), np.float32(right))
    inside = np.abs(x) < half * wall_profile(patient, y)
    heart = heart_thickness(patient, acquisition, x, y) > 0
    lungs = inside & (y > 0) & (np.abs(x - 0.2) > 1.7) & (y < diaphragm(patient, acquisition, x))
    lungs &= ~heart & (great_vessels(patient, acquisition, x, y) < VESSEL)
    return {
        name: resize(mask.astype(np.uint8) * np.uint8(255), size)
        for name, mask in (("heart", heart), ("lungs", lungs))
    }
