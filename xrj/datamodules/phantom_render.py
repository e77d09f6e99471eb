"""The frontal picture of the phantom: lung, soft tissue, bone and metal along each ray."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xrj.datamodules.phantom_anatomy import Acquisition, Patient
from xrj.datamodules.phantom_findings import draw_findings
from xrj.datamodules.phantom_physics import (
    LUNG_DENSITY,
    SUBPIXEL_BITS,
    Ellipse,
    Plane,
    film,
    grid,
    ramp,
    root,
    to_pixels,
)


@dataclass(frozen=True)
class Truth:
    """What is measured on a frontal picture: positions as shares of its width or height."""

    ctr: float
    heart_left: float
    heart_right: float
    thorax_left: float
    thorax_right: float


def _heart(patient: Patient, acquisition: Acquisition) -> tuple[Ellipse, Ellipse, Ellipse]:
    """Return left ventricle, right atrium and outflow; the first two end at the true borders."""
    width = 2 * patient.thorax * patient.ctr
    centre = _heart_shift(acquisition)
    right, left = centre - patient.heart_right * width, centre + (1 - patient.heart_right) * width
    floor = patient.dome + patient.dome_step - acquisition.expiration
    grown = width / 12.0
    a, b = 0.50 * width, 0.40 * width / grown**0.12
    tilt = patient.heart_tilt - 0.15 * (grown - 1)
    half = math.hypot(a * math.cos(tilt), b * math.sin(tilt))
    drop = math.hypot(a * math.sin(tilt), b * math.cos(tilt))
    ventricle = Ellipse(left - half, floor + 2.6 - drop, a, b, 0.36 * width, tilt)
    radius = 0.26 * width
    atrium = Ellipse(right + radius, floor - 2.4 - 0.14 * width, radius, 0.36 * width, 0.34 * width)
    # The upper left border, between the pulmonary trunk and the ventricle.
    top, foot = (patient.pedicle - 0.6, 9.8), (ventricle.x + 0.3 * a, ventricle.y - 0.02 * b)
    slant = math.atan2(foot[1] - top[1], foot[0] - top[0])
    reach = math.dist(top, foot) / 2 + 0.8
    middle = ((top[0] + foot[0]) / 2, (top[1] + foot[1]) / 2)
    return ventricle, atrium, Ellipse(*middle, reach, 0.5 * b, 3.2, slant)


def heart_thickness(patient: Patient, acquisition: Acquisition, x: Plane, y: Plane) -> Plane:
    """Length of the heart along the rays; its outline reaches exactly from border to border."""
    ventricle, atrium, outflow = (part.thickness(x, y) for part in _heart(patient, acquisition))
    return np.hypot(np.hypot(ventricle, atrium), outflow)


def _heart_shift(acquisition: Acquisition) -> float:
    """How far turning the patient moves the heart, which lies in front of the axis."""
    return float(3.5 * math.sin(acquisition.rotation))


def frontal_truth(patient: Patient, acquisition: Acquisition) -> Truth:
    """Return the true borders of heart and inner thorax in the picture and their ratio."""

    def place(x: float) -> float:
        return (x + acquisition.field / 2 + acquisition.shift_x) / acquisition.field

    width, middle = 2 * patient.thorax * patient.ctr, _heart_shift(acquisition)
    left, right = half_widths(patient)
    return Truth(
        ctr=patient.ctr,
        heart_left=place(middle - patient.heart_right * width),
        heart_right=place(middle + (1 - patient.heart_right) * width),
        thorax_left=place(-right),
        thorax_right=place(left),
    )


def half_widths(patient: Patient) -> tuple[float, float]:
    """Return the largest inner half widths of the left and of the right half of the thorax."""
    return patient.thorax * (1 + patient.asymmetry), patient.thorax * (1 - patient.asymmetry)


def render_frontal(patient: Patient, acquisition: Acquisition, size: int) -> npt.NDArray[np.uint8]:
    """Render a frontal (PA) picture.

    Returns:
        uint8 (size, size), bone bright and lungs dark.
    """
    x, y = grid(acquisition, size)
    rng = np.random.default_rng(patient.key)
    left, right = half_widths(patient)
    half = np.where(x > 0, np.float32(left), np.float32(right))

    profile = wall_profile(patient, y)
    u = np.abs(x) / (half * np.maximum(profile, np.float32(1e-3)))
    u2 = u * u

    air = _lungs(patient, acquisition, x, y, u2, profile)
    marks = draw_findings(patient, acquisition, x, y, size)
    air = air * (1 - marks.fluid)
    lung = air > 0
    heart = heart_thickness(patient, acquisition, x, y)
    vessels = great_vessels(patient, acquisition, x, y)
    tree = _vessel_tree(acquisition, size, rng) * (1.5 * patient.vessels)
    air = np.maximum(air - np.maximum(heart, vessels) - (tree + marks.tissue) * lung, 0)

    body = _body(patient, x, y)
    trachea = (
        np.float32(1.5)
        * root(1 - ((x + 0.2) / 0.95) ** 2)
        * ramp((9.6 - y) / 1.5)
        * ramp((y + 7.5) / 2)
    )
    stomach = Ellipse(
        5.4,
        patient.dome + patient.dome_step + patient.stomach * 0.6 + 1.0,
        patient.stomach * 1.5 + 0.01,
        patient.stomach * 0.7 + 0.01,
        2.5,
    )
    soft = body - (1 - LUNG_DENSITY) * air - trachea
    soft -= stomach.thickness(x, y)
    if patient.breast:
        for side in (-1, 1):
            breast = Ellipse(side * 0.55 * patient.thorax, 13.0, 6.4, 7.4, 0.5, side * -0.3)
            profile_up = ramp((y - 9) / 8)
            soft += np.float32(patient.breast) * profile_up * np.sqrt(breast.thickness(x, y))
    bone = (
        _ribs(patient, x, y, u2, profile)
        + _girdle(patient, acquisition, x, y)
        + _spine(patient, acquisition, x, y)
        + marks.calcium
    )
    return film(np.maximum(soft, 0), bone * np.float32(patient.bone), marks.metal, acquisition)


def wall_profile(patient: Patient, y: Plane) -> Plane:
    """Return the thorax's inner half width at the heights `y`, a share of the largest.

    The inner wall is a dome at the apex, widest at `widest`, slightly narrower below it.
    """
    t = y / np.float32(patient.widest)
    above = np.clip(1 - np.abs(1 - np.minimum(t, 1)) ** np.float32(2.4), 0, 1) ** np.float32(0.42)
    below = 1 - 0.09 * np.maximum(t - 1, 0) - 1.2 * np.maximum(t - 1, 0) ** 2
    profile: Plane = np.where(t < 1, above, below).astype(np.float32)
    return profile


def diaphragm(patient: Patient, acquisition: Acquisition, x: Plane) -> Plane:
    """Return the height of the diaphragm's domes at the places `x`, cm."""
    step = np.where(x > 0, np.float32(patient.dome_step), np.float32(0))
    centre = np.where(x > 0, np.float32(0.50 * patient.thorax), np.float32(-0.47 * patient.thorax))
    dome = (
        np.float32(patient.dome - acquisition.expiration)
        + step
        + np.where(np.abs(x) < np.abs(centre), 0.03, 0.075) * (x - centre) ** 2
    )
    result: Plane = dome.astype(np.float32)
    return result


def _lungs(
    patient: Patient, acquisition: Acquisition, x: Plane, y: Plane, u2: Plane, profile: Plane
) -> Plane:
    """Length of lung along the rays, without the heart: cut by mediastinum and diaphragm."""
    deep = np.float32(2 * (patient.depth - 2.6)) * np.minimum(profile * 1.05, 1)
    across = root(1 - u2 * u2)
    medial = np.clip((np.abs(x - 0.2) - 1.7) / 3.6, 0, 1)
    air = deep * across * root(1 - (1 - medial) ** 2)
    dome = diaphragm(patient, acquisition, x)
    hidden = np.sqrt(np.clip((y - dome) * (1 / (1.35 * patient.recess)), 0, 1))
    result: Plane = air * (1 - hidden) ** 2 * (y > 0)
    return result


def great_vessels(patient: Patient, acquisition: Acquisition, x: Plane, y: Plane) -> Plane:
    """Upper mediastinum, aortic knob, pulmonary trunk and hila."""
    x = x - np.float32(0.5 * _heart_shift(acquisition))
    base = _heart(patient, acquisition)[0].y
    p = patient.pedicle
    reach = ramp((y - 6.5) / 5.0)
    edge_left, edge_right = p + 0.5 * reach, p + 0.4 + 0.5 * reach
    edge = np.where(x > 0, edge_left, edge_right).astype(np.float32)
    thickness = (
        11 * np.maximum(1 - (x / edge) ** 2, 0) ** np.float32(0.75) * ramp((base + 1 - y) / 4)
    )
    knob = Ellipse(p + 0.75, 7.4, patient.aorta, patient.aorta * 1.1, 2.6)
    descending = (
        3.2
        * root(1 - ((x - 1.6) / (0.9 + 0.55 * np.float32(patient.aorta))) ** 2)
        * ramp((y - 7.0) / 2)
    )
    parts = [
        knob.thickness(x, y),
        descending,
        Ellipse(p + 0.55, 10.5, 1.6, 2.1, 2.0).thickness(x, y),
        Ellipse(-3.4, 12.3, 1.3, 2.6, 0.9, 0.3).thickness(x, y),
        Ellipse(3.9, 11.4, 1.3, 2.0, 0.9, -0.3).thickness(x, y),
    ]
    for part in parts:
        thickness = np.maximum(thickness, part)
    return thickness


def _vessel_tree(acquisition: Acquisition, size: int, rng: np.random.Generator) -> Plane:
    """Thickness of the vessels that leave the hila, cm: tapering curves with side branches."""
    canvas = np.zeros((size, size), np.uint8)
    steps = np.linspace(0, 1, 9)
    for side, hilum in ((-1, np.array((-3.7, 12.0))), (1, np.array((4.0, 11.3)))):
        # Row 0 of each array: the main vessels; rows 1 to 3: a branch from each of them.
        starts = np.array((0.0, 0.3, 0.5, 0.68))[:, None]
        angles = np.linspace(-1.25, 1.35, 11) + rng.normal(0, 0.06, 11)
        lengths, bends = rng.uniform(7, 10.5, 11), rng.normal(0.12, 0.12, 11)
        turns = rng.choice((-1, 1), (4, 11)) * rng.uniform(0.35, 0.7, (4, 11)) * (starts > 0)
        reaches = lengths * (1 - starts) * np.where(starts > 0, rng.uniform(0.7, 1.0, (4, 11)), 1.0)
        headings = (angles + turns)[..., None] + bends[:, None] * steps
        along = (
            np.stack([side * np.cos(headings), np.sin(headings)], axis=-1)
            * reaches[..., None, None]
        )
        roots = starts * lengths * np.stack([side * np.cos(angles), np.sin(angles)])[:, None]
        points = hilum + np.moveaxis(roots, 0, -1)[:, :, None] + along * steps[:, None]
        pixels = to_pixels(points, acquisition, size)
        for girth, vessels in zip((5, 3, 3, 3), pixels, strict=True):
            for part, share in ((slice(3, 9), 0.45), (slice(0, 5), 1.0)):
                width = max(1, round(girth * share * size / 900))
                value = int(38 * girth * share)
                cv2.polylines(
                    canvas, list(vessels[:, part]), False, value, width, cv2.LINE_AA, SUBPIXEL_BITS
                )
    blurred = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), size / 480)
    result: Plane = blurred / np.float32(190.0)
    return result


def _body(patient: Patient, x: Plane, y: Plane) -> Plane:
    """Length of the body along the rays: trunk, shoulders, neck and arms."""
    ax = np.abs(x)
    chest = np.float32(patient.thorax + patient.wall)
    flare = 7.5 * ramp((8.5 - y) / 8.5)
    half = chest + flare + np.float32(0.25) * patient.wall * ramp((y - 20) / 10)
    slope = 0.6 * patient.shoulder - 6.2 + 4.6 * ramp((ax - 4.0) / 14)
    rise = np.sqrt(np.clip((y - slope) / 7.0, 0, 1))
    trunk = (
        np.float32(2 * patient.depth)
        * np.sqrt(root(1 - (ax / half) ** 4))
        * (0.35 + 0.65 * rise)
        * (rise > 0)
    )
    neck = 11.5 * root(1 - (x / 5.6) ** 2) * (y < 2)
    # The upper arm, a capsule held away from the trunk.
    px, py = ax - np.float32(chest + 3.2), y - 2.0
    along = np.clip(px * 0.36 + py * 0.93, 0, 30)
    distance2 = (px - along * 0.36) ** 2 + (py - along * 0.93) ** 2
    arm = 2 * root(np.float32((3.3 + 0.5 * patient.wall) ** 2) * 0.72 - distance2)
    result: Plane = np.maximum(np.maximum(trunk, neck), arm)
    return result


def _ribs(patient: Patient, x: Plane, y: Plane, u2: Plane, profile: Plane) -> Plane:
    """Bone of the ribs: tilted rings, seen behind and in front, brighter where tangential."""
    inside = root(1 - u2)
    drop = np.float32(patient.rib_drop) * np.minimum(profile, 1)
    tangent = 1 / np.maximum(inside, np.float32(0.42))
    wall = ramp((1.075 - np.sqrt(u2)) * 25) * ramp((np.abs(x) - 1.0) / 1.5)
    total = np.zeros_like(u2)
    for sign, strength, ends in ((-1, 1.0, None), (1, 0.62, 0.42)):
        level = y - drop * (1 + sign * inside) * np.float32(0.5) - np.float32(patient.rib_first)
        if sign < 0:
            level = level + np.float32(1.0) * inside * np.sqrt(u2)
        s, k = np.float32(patient.rib_spacing), np.float32(0.03)
        index = (np.sqrt(np.maximum(s * s + 4 * k * level, 0)) - s) / (2 * k)
        f = (index - np.floor(index) - 0.5) * np.float32(1 / 0.25)
        f2 = f * f
        tube = root(1 - f2) - 0.72 * root(0.60 - f2)
        part = tube * (index > 0) * ramp(10.9 - index) * np.float32(strength)
        if ends is not None:
            part = part * ramp((np.sqrt(u2) - ends) / 0.15) * (index < 7)
        total += part
    result: Plane = total * wall * tangent * np.float32(0.58) * (y > -1.5)
    return result


def _girdle(patient: Patient, acquisition: Acquisition, x: Plane, y: Plane) -> Plane:
    """Bone of clavicles, scapulae and upper arms."""
    shift = np.float32(7 * math.sin(acquisition.rotation))
    ax = np.abs(x - shift * ramp((6 - np.abs(x)) / 4))
    t = np.clip((ax - 2.0) / 13.5, 0, 1)
    centre = (
        np.float32(3.6 + patient.shoulder * 0.5)
        - 4.0 * t
        - 0.75 * np.sin(t * np.float32(2 * np.pi))
    )
    width = 0.62 + 0.25 * (1 - t) ** 4 + 0.15 * t
    d2 = ((y - centre) / width) ** 2
    clavicle = (
        (root(1 - d2) - 0.7 * root(0.5 - d2))
        * ramp((ax - 1.9) / 0.5)
        * ramp((15.6 - ax) / 0.8)
        * np.float32(1.25)
    )
    xs = np.float32(patient.thorax + 1.0)
    blade_edge = xs - 2.2 + 0.10 * (y - 2)
    blade = (
        ramp((ax - blade_edge) / 0.25)
        * (0.16 + 0.5 * ramp(1 - (ax - blade_edge) / 0.7))
        * ramp((15.5 - y - (ax - blade_edge) * 2.6) / 1.0)
        * ramp((y - 0.2) / 1.5)
    )
    head = Ellipse(float(xs) + 3.6, 2.2, 2.3, 2.4, 0.8)
    hx = ax - np.float32(xs + 3.4)
    shaft = hx - (y - 3.5) * 0.40
    s2 = (shaft / 1.15) ** 2
    humerus = (root(1 - s2) - 0.75 * root(0.5 - s2)) * ramp((y - 3.0) / 2) * 1.5
    result: Plane = (
        clavicle + blade * np.float32(0.8) + np.maximum(head.thickness(ax, y) * 0.7, humerus)
    )
    return result


def _spine(patient: Patient, acquisition: Acquisition, x: Plane, y: Plane) -> Plane:
    """Bone of the spine: bodies, discs, pedicles and spinous processes along a curve."""
    curve = patient.findings.scoliosis * np.sin((y - 2) * (math.pi / 13)) - 3.75 * math.sin(
        acquisition.rotation
    )
    dx = x - curve
    spacing = np.float32(2.35)
    f = y / spacing
    f = f - np.floor(f) - 0.5
    half = (
        1.55
        + 0.25 * np.abs(f) * 2
        + 0.02 * np.maximum(y, 0)
        + 0.35 * patient.findings.degenerative * (np.abs(f) > 0.36)
    )
    across = ramp((half + 0.2 - np.abs(dx)) / 0.8)
    endplate = np.exp(-(((np.abs(f) - 0.42) / 0.05) ** 2))
    level = 0.75 * ramp((0.46 - np.abs(f)) / 0.06) + 0.55 * endplate
    rim = np.exp(-(((np.abs(dx) - half + 0.25) / 0.18) ** 2))
    pedicle = 0.6 * np.exp(-(((np.abs(dx) - 1.05) / 0.28) ** 2) - ((f + 0.18) / 0.14) ** 2)
    process = 0.5 * np.exp(-((dx / 0.28) ** 2) - ((f - 0.2) / 0.22) ** 2)
    result: Plane = (across * (0.3 + level) + 0.35 * rim + pedicle + process).astype(
        np.float32
    ) * np.float32(0.5)
    return result
