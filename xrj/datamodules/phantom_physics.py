"""The physics of the phantom: lengths of tissue along each ray, then what a film shows of them.

Rays are parallel to `z`. A ray with lengths l of soft tissue and bone transmits exp(-sum mu l)
(Beer-Lambert); scattered radiation is a blurred share of the transmitted one; photons are counted
with quantum noise; the film answers to the logarithm with its S-shaped curve.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from xrj.datamodules.phantom_anatomy import Acquisition

Plane = npt.NDArray[Any]  # float32 (H, W), or a row or a column of it

MU_SOFT = 0.19  # per cm, effective for 120 kV behind the patient
MU_BONE = 0.44  # what bone adds to the soft tissue in its place
MU_METAL = 9.0
LUNG_DENSITY = 0.27  # of soft tissue
PHOTONS = 9.0e4  # behind air, per pixel of 1.3 mm
SUBPIXEL_BITS = 4  # of the drawing functions of OpenCV
TOP = -7.2  # y of the upper edge of the picture, cm


@dataclass(frozen=True)
class Ellipse:
    """An ellipsoid seen along z: semi-axes `a`, `b` (turned by `tilt`) and `c` in depth."""

    x: float
    y: float
    a: float
    b: float
    c: float
    tilt: float = 0.0

    def thickness(self, x: Plane, y: Plane) -> Plane:
        """Length of the rays inside, cm."""
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        wide, high = math.hypot(self.a * cos, self.b * sin), math.hypot(self.a * sin, self.b * cos)
        x0, x1 = np.searchsorted(x[0], (self.x - wide, self.x + wide))
        y0, y1 = np.searchsorted(y[:, 0], (self.y - high, self.y + high))
        dx, dy = x[:, x0:x1] - self.x, y[y0:y1] - self.y
        u, v = (dx * cos + dy * sin) * (1 / self.a), (dy * cos - dx * sin) * (1 / self.b)
        whole = np.zeros((y.size, x.size), np.float32)
        whole[y0:y1, x0:x1] = 2 * self.c * root(1 - u * u - v * v)
        return whole


def root(value: Plane) -> Plane:
    """Square root of the positive part."""
    result = np.maximum(value, 0)
    return np.sqrt(result, out=result)


def ramp(value: Plane) -> Plane:
    """Cubic step from 0 to 1 over [0, 1]."""
    t = np.clip(value, 0, 1)
    result = t * -2
    result += 3
    result *= t
    result *= t
    return result


def grid(acquisition: Acquisition, size: int) -> tuple[Plane, Plane]:
    """Return x as a (1, size) row and y as a (size, 1) column, in cm."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(acquisition.field / size)
    return (
        (steps - np.float32(acquisition.field / 2 + acquisition.shift_x))[None, :],
        (steps + np.float32(TOP - acquisition.shift_y))[:, None],
    )


def to_pixels(
    points: npt.NDArray[np.float64], acquisition: Acquisition, size: int
) -> npt.NDArray[np.int32]:
    """Turn positions in cm, (..., 2), into fixed-point pixels for drawing."""
    offset = np.array([acquisition.field / 2 + acquisition.shift_x, acquisition.shift_y - TOP])
    pixels = (points + offset) * (size / acquisition.field) - 0.5
    result: npt.NDArray[np.int32] = np.round(pixels * 2**SUBPIXEL_BITS).astype(np.int32)
    return result


def film(soft: Plane, bone: Plane, metal: Plane, acquisition: Acquisition) -> npt.NDArray[np.uint8]:
    """Turn lengths of tissue (cm) into a film: transmission, scatter, noise, S-curve.

    Returns:
        uint8 (H, W), bright where little radiation arrives.
    """
    size = soft.shape[0]
    primary = np.exp(-(MU_SOFT * soft + MU_BONE * bone + MU_METAL * metal))
    small = cv2.resize(primary, (36, 36), interpolation=cv2.INTER_AREA)
    haze = cv2.GaussianBlur(np.minimum(small, 0.35), (0, 0), 2.6)
    signal = primary + np.float32(acquisition.scatter) * cv2.resize(
        haze, (size, size), interpolation=cv2.INTER_LINEAR
    )
    rng = np.random.default_rng(acquisition.key)
    photons = PHOTONS * (288.0 / size) ** 2
    signal += np.sqrt(signal * np.float32(1 / photons)) * rng.standard_normal(
        signal.shape, dtype=np.float32
    )
    signal = cv2.GaussianBlur(signal, (0, 0), 0.55 * size / 288 + 0.1)
    density = np.log(np.maximum(signal, 1e-4))
    # The display's local contrast: part of the coarse brightness is taken back.
    coarse = cv2.GaussianBlur(
        cv2.resize(density, (48, 48), interpolation=cv2.INTER_AREA), (0, 0), 3.0
    )
    density += np.float32(0.30) * (
        density - cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    )
    # The automatic exposure looks at the upper lungs, so the size of the heart cannot change it.
    chamber = density[size * 2 // 9 : size * 4 // 9, size // 5 : size * 4 // 5]
    middle = np.float32(np.mean(chamber) + 0.22 + acquisition.exposure)
    value = 1 / (1 + np.exp((density - middle) * np.float32(1.55 * acquisition.contrast)))
    result: npt.NDArray[np.uint8] = np.clip(value * 262 - 2, 0, 255).astype(np.uint8)
    return result
