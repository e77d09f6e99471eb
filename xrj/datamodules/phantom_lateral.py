"""The side view of the phantom: the front of the body on the left, the spine on the right."""

import math

import numpy as np
import numpy.typing as npt

from xrj.datamodules.phantom_anatomy import Acquisition, Patient
from xrj.datamodules.phantom_physics import LUNG_DENSITY, Ellipse, Plane, film, grid, ramp, root

HARDER = np.float32(0.8)  # attenuation against the frontal picture: a higher tube voltage


def render_lateral(patient: Patient, acquisition: Acquisition, size: int) -> npt.NDArray[np.uint8]:
    """Render a left lateral picture.

    Returns:
        uint8 (size, size), bone bright and lungs dark.
    """
    x, y = grid(acquisition, size)
    depth = patient.depth + 2.3
    # The back bulges with the kyphosis; the front falls away above and, in women, bulges.
    back = depth - 0.8 + 1.5 * np.sin(np.clip((y + 8) / 36, 0, 1) * math.pi)
    front = -depth - 0.6 + 6.5 * ramp((9 - y) / 16) - 0.8 * ramp((y - 8) / 12)
    front = front - patient.breast * 0.8 * np.exp(-(((y - 16) / 4.5) ** 2))
    body = _trunk(patient, x, y, front, back)
    chest_front = -depth + 1.5 + 3.6 * ramp((10 - y) / 11)
    chest_back = back - 1.9
    air, edge = _lungs(patient, acquisition, x, y, chest_front, chest_back)
    trachea = (
        1.6
        * root(1 - ((x - 0.6 - 0.12 * y) / 0.95) ** 2)
        * ramp((11 - y) / 1.5)
        * ramp((y + 8) / 2)
    )
    bone = _bones(patient, x, y, chest_front, chest_back, edge)
    soft = np.maximum(body - (1 - LUNG_DENSITY) * air - trachea, 0).astype(np.float32)
    return film(HARDER * soft, HARDER * bone, np.zeros_like(soft), acquisition)


def _trunk(patient: Patient, x: Plane, y: Plane, front: Plane, back: Plane) -> Plane:
    """Length of the trunk and of the raised arms along the rays."""
    u = (x - (back + front) / 2) / ((back - front) / 2)
    width = 2 * (patient.thorax + patient.wall) * (0.55 + 0.3 * ramp((y + 8) / 10))
    arms = 10 * root(1 - ((x + 6.5 + 1.1 * (y + 6)) / 5.5) ** 2) * ramp((0.5 - y) / 5)
    result: Plane = np.maximum(width * root(1 - u * u * np.abs(u)), arms).astype(np.float32)
    return result


def _lungs(
    patient: Patient, acquisition: Acquisition, x: Plane, y: Plane, front: Plane, back: Plane
) -> tuple[Plane, Plane]:
    """Length of lung along the rays, and where they are between front (-1) and back (1)."""
    edge = (x - (back + front) / 2) / ((back - front) / 2)
    top = np.clip(1 - y / 9, 0, 1)
    across = edge * edge / np.maximum(1 - top**2.4, 1e-3)
    air = (
        2
        * patient.thorax
        * 0.80
        * np.sqrt(root(1 - across * across))
        * (0.45 + 0.55 * ramp(y / 8))
        * (y > 0)
    )
    low = patient.dome - acquisition.expiration
    hidden = np.zeros_like(air)
    for lower in (0.0, patient.dome_step):
        dome = low + lower + (x + 3.0) ** 2 * np.where(x > -3.0, 0.040, 0.03)
        hidden += 0.5 * np.sqrt(np.clip((y - dome) / 1.2, 0, 1))
    width = 2 * patient.thorax * patient.ctr
    heart = Ellipse(
        -0.55 * patient.depth + 0.22 * (width - 12),
        low + 2.6 - 0.38 * width,
        0.36 * width,
        0.45 * width,
        3.6,
        -0.5,
    )
    blocked = heart.thickness(x, y)
    for part in (
        Ellipse(-0.6, 8.0, 2.6, 7.0, 1.8, -0.15),
        Ellipse(-3.6, 11.5, 2.6, 5.0, 2.0, -0.3),
        Ellipse(0.6, 12.0, 1.6, 1.9, 1.7),
        Ellipse(0.4, 5.9, 3.6, 2.0, 1.4, 0.2),
    ):
        blocked = np.hypot(blocked, part.thickness(x, y))
    return np.maximum(air * (1 - hidden) - blocked * (air > 0), 0), edge


def _bones(patient: Patient, x: Plane, y: Plane, front: Plane, back: Plane, edge: Plane) -> Plane:
    """Bone of spine, sternum and ribs."""
    spine = back - 2.3
    dx = x - spine
    f = y / 2.35
    f = f - np.floor(f) - 0.5
    half = 1.5 + 0.25 * np.abs(f)
    inside = np.clip((half - np.abs(dx)) / 0.35, 0, 1)
    block = inside * (0.35 + 0.75 * ramp((0.44 - np.abs(f)) / 0.05))
    block = block + inside * 0.7 * np.exp(-(((np.abs(f) - 0.42) / 0.05) ** 2))
    arch = 0.8 * np.exp(-(((dx - 2.5) / 0.6) ** 2) - ((f - 0.1) / 0.28) ** 2)
    sternum = (
        1.1
        * root(1 - ((x - front + 0.5) / 0.6) ** 2)
        * ramp((y - 2.5) / 1.5)
        * ramp((17 - y) / 1.5)
    )
    ribs = np.zeros_like(edge)
    back_by = spine - x
    for shift, strength in ((0.0, 1.0), (1.1, 0.7)):
        k = (y - 0.42 * back_by - 0.012 * back_by**2 - shift + 2) / 2.35
        d2 = ((k - np.floor(k) - 0.5) / 0.2) ** 2
        tube = root(1 - d2) - 0.7 * root(0.6 - d2)
        ribs = ribs + strength * tube * (k > 0) * ramp(10 - k)
    ribs = ribs * ramp((1.0 - np.abs(edge)) * 8) * ramp((edge + 0.75) * 3) * 0.3
    result: Plane = ((block + arch + sternum + ribs) * patient.bone).astype(np.float32)
    return result
