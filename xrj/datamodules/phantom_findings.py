"""What the frontal picture shows beside the anatomy: fluid, nodules and devices."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xrj.datamodules.phantom_anatomy import Acquisition, Patient, Side
from xrj.datamodules.phantom_physics import SUBPIXEL_BITS, Ellipse, Plane, ramp, to_pixels


@dataclass(frozen=True)
class Marks:
    """Planes (H, W) that findings add to a picture.

    Attributes:
        fluid: Share of the lung that fluid replaces, 0 to 1.
        tissue: Soft tissue in place of lung, cm.
        calcium: Bone, cm.
        metal: Metal, cm.
    """

    fluid: Plane
    tissue: Plane
    calcium: Plane
    metal: Plane


def _signs(side: Side) -> tuple[int, ...]:
    return {"": (), "left": (1,), "right": (-1,), "bilateral": (-1, 1)}[side]


def draw_findings(
    patient: Patient, acquisition: Acquisition, x: Plane, y: Plane, size: int
) -> Marks:
    """Draw the findings of a patient for the frontal picture with the positions `x` and `y`."""
    found, reach = patient.findings, patient.thorax
    # The places belong to the patient and do not depend on which other findings there are.
    place = np.random.default_rng((patient.key, 1)).uniform(size=(4, 3))
    nothing = np.zeros((y.size, x.size), np.float32)
    fluid, tissue, calcium = nothing, nothing, nothing
    for sign in _signs(found.effusion):
        angle = (
            patient.dome - acquisition.expiration + (patient.dome_step if sign > 0 else 0.0) + 3.4
        )
        rise = ramp((sign * x / reach - 0.35) / 0.6)
        surface = angle + 0.4 - found.effusion_size * (0.45 + 1.0 * rise * rise)
        fluid = np.maximum(fluid, ramp((y - surface) / 1.0) * (sign * x > 0.3 * reach))
    for sign in _signs(found.nodule):
        a, b, c = place[0]
        spot = Ellipse(
            sign * reach * (0.52 + 0.2 * a), 5.5 + 6.5 * b, 0.8 + 0.4 * c, 0.75 + 0.4 * c, 1.6
        )
        tissue = tissue + spot.thickness(x, y)
    for sign in _signs(found.opacity):
        a, b, c = place[1]
        blob = ((x - sign * reach * (0.6 + 0.1 * a)) / 2.4) ** 2 + (
            (y - (patient.dome - 2.2 - 1.5 * b)) / 1.7
        ) ** 2
        tissue = tissue + (3.5 + 2 * c) * np.exp(-blob)
    for sign in _signs(found.granuloma):
        a, b, _ = place[2]
        spot = Ellipse(sign * reach * (0.5 + 0.25 * a), 4.5 + 9 * b, 0.42, 0.4, 0.6)
        calcium = calcium + spot.thickness(x, y)
    return Marks(fluid, tissue, calcium, _devices(patient, acquisition, size))


def _devices(patient: Patient, acquisition: Acquisition, size: int) -> Plane:
    """Draw the side marker, pacemakers, sternal wires and lines; return the metal, cm."""
    found, canvas = patient.findings, np.zeros((size, size), np.uint8)
    front = float(6.0 * np.sin(acquisition.rotation))

    def line(points: npt.ArrayLike, value: int, width_cm: float) -> None:
        pixels = to_pixels(np.asarray(points, np.float64), acquisition, size)
        width = max(1, round(width_cm * size / acquisition.field))
        cv2.polylines(canvas, [pixels], False, value, width, cv2.LINE_AA, SUBPIXEL_BITS)

    if acquisition.marker:
        corner = np.array(
            [0.455 * acquisition.field - acquisition.shift_x, acquisition.shift_y - 5.2]
        )
        line(corner + np.array([(-0.35, -0.6), (-0.35, 0.6), (0.4, 0.6)]), 255, 0.25)
    for sign in _signs(found.pacemaker):
        x, y = sign * 0.62 * patient.thorax, 4.6
        turn = np.linspace(0, 2 * np.pi, 25)
        case = np.stack([x + 2.1 * np.cos(turn), y + 1.8 * np.sin(turn)], axis=1)
        cv2.fillPoly(canvas, [to_pixels(case, acquisition, size)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        apex = (0.42 * 2 * patient.thorax * patient.ctr, patient.dome - 2.5)
        path = [
            (x, y - 1.5),
            (sign * 4.0, 2.8),
            (-1.4, 4.5),
            (-2.2, 8.5),
            (-2.0, 13.5),
            (0.5, 16.8),
            apex,
        ]
        line(_smooth(path), 150, 0.16)
    if found.sternotomy:
        for y in np.arange(4.5, 17.5, 2.4):
            turn = np.linspace(0.4, 2 * np.pi, 16)
            line(np.stack([front + 0.75 * np.cos(turn), y + 0.4 * np.sin(turn)], axis=1), 130, 0.1)
    for sign in _signs(found.catheter):
        line(
            _smooth([(sign * 9.5, 0.5), (sign * 5.5, 2.6), (-1.2, 4.2), (-2.3, 7.5), (-2.3, 10.8)]),
            75,
            0.2,
        )
    result: Plane = canvas.astype(np.float32) * np.float32(0.13 / 255)
    return result


def _smooth(points: list[tuple[float, float]]) -> npt.NDArray[np.float64]:
    """Round the corners of a line (three steps of Chaikin's corner cutting)."""
    line = np.asarray(points)
    for _ in range(3):
        cut = np.stack(
            [0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1
        )
        line = np.vstack([line[:1], cut.reshape(-1, 2), line[-1:]])
    return line
